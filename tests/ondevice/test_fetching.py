"""A device fetches what its signer tells it to use, from a server that it does not trust."""

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import Message, Receive, Scope, Send

from fedrec.data.store.locks import held
from fedrec.errors import ConfigError, DataError, FedrecError, RefusedError, VerificationError
from fedrec.ondevice import release_server, releases
from fedrec.ondevice.fetching import FETCHED, fetch
from fedrec.ondevice.installed import Installed
from fedrec.ondevice.seen import CHANNELS, read_seen
from fedrec.pointer import Pointer, signed_pointer
from fedrec.registry.registry import Registry
from fedrec.release import MANIFEST, id_of, signing_key, verify_release
from fedrec.service.certificates import make_certificates
from fedrec.service.folder import ServiceFolder
from tests.registry.serving import listening, releases_app

from .device_worlds import World, a_release, a_world, signed_again

Change = Callable[[str, bytes], bytes]


@dataclass
class Wire:
    """Between the devices and the registry: counts bytes, and lies or breaks off where a test says so.

    change: what becomes of an answer's body. break_after: of the next bodies, so many bytes come.
    """

    app: Callable[[Scope, Receive, Send], Awaitable[None]]
    change: Change = lambda _path, body: body
    break_after: list[int] = field(default_factory=list)
    bodies: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def bytes_of_files(self) -> int:
        """What travelled of files."""
        return sum(size for path, _, size in self.bodies if "/blobs/" in path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        start, body = messages[0], b"".join(message.get("body", b"") for message in messages[1:])
        changed = self.change(scope["path"], body)
        if changed is not body:
            start["headers"] = [each for each in start["headers"] if each[0] != b"content-length"]
        length = self.break_after.pop(0) if self.break_after and "/blobs/" in scope["path"] else None
        sent = changed if length is None else changed[:length]
        self.bodies.append((scope["path"], start["status"], len(sent)))
        await send(start)
        await send({"type": "http.response.body", "body": sent, "more_body": length is not None})
        if length is not None:
            raise ConnectionError("the test cuts this answer")


@dataclass(frozen=True, kw_only=True)
class Service:
    """A signer, its registry, and the server in front of it."""

    folder: Path
    registry: Registry
    world: World
    wire: Wire
    url: str

    def publish(self, round_number: int, *, world: World | None = None, run: str = "run-1") -> str:
        folder = a_release(self.folder, world or self.world, round_number=round_number, run=run)
        return self.take(folder)

    def take(self, folder: Path) -> str:
        key = signing_key(self.folder / "signing.key")
        return self.registry.publish("films", folder, manifest=verify_release(folder, key.public_key())).manifest_hash

    def promote(self, manifest_hash: str) -> Pointer:
        return self.registry.promote("films", manifest_hash, key=signing_key(self.folder / "signing.key"), now=1)

    def release(self, round_number: int, **more: object) -> Pointer:
        return self.promote(self.publish(round_number, **more))  # type: ignore[arg-type]

    def roll_back(self) -> Pointer:
        return self.registry.roll_back("films", key=signing_key(self.folder / "signing.key"), now=2)


@pytest.fixture(scope="module")
def world() -> World:
    return a_world(60, width=8)


@pytest.fixture
def service(tmp_path: Path, world: World) -> Iterator[Service]:
    place = tmp_path / "service"
    place.mkdir()
    signing_key(place / "signing.key")
    with Registry.open(f"sqlite:///{place / 'registry.db'}", artifacts=f"file://{place / 'artifacts'}") as registry:
        wire = Wire(app=releases_app(registry))
        with listening(wire) as port:
            url = f"http://127.0.0.1:{port}"
            yield Service(folder=place, registry=registry, world=world, wire=wire, url=url)


@pytest.fixture
def device(tmp_path: Path, service: Service) -> Path:
    """A device that trusts the signer and holds nothing yet."""
    releases.pin_signer(tmp_path / "device", service.folder / "signing.pub")
    return tmp_path / "device"


def take(device: Path, service: Service, *, by_person: bool = False) -> Installed | None:
    return fetch(device, service.url, catalogue="films", by_person=by_person)


def test_a_device_recommends_with_what_its_signer_promoted(device: Path, service: Service) -> None:
    pointer = service.release(1)
    installed = take(device, service)
    assert installed
    assert (installed.id, installed.round) == (pointer.release, 1)
    assert releases.active(device) == installed
    assert not (device / FETCHED).exists()


def test_what_is_published_and_not_promoted_reaches_nobody(device: Path, service: Service) -> None:
    service.publish(1)
    with pytest.raises(DataError, match="no such release or catalogue"):
        take(device, service)


def test_nothing_new_costs_an_empty_answer(device: Path, service: Service) -> None:
    service.release(1)
    take(device, service)
    service.wire.bodies.clear()
    assert take(device, service) is None
    assert service.wire.bodies == [("/v1/releases/films/current", 304, 0)]


def test_only_the_files_that_changed_travel(device: Path, service: Service) -> None:
    service.release(1)
    take(device, service)
    service.wire.bodies.clear()
    service.release(2)
    assert take(device, service)
    adapter = releases.active(device).folder / "adapter/adapter_model.safetensors"
    assert service.wire.bytes_of_files == adapter.stat().st_size


@pytest.mark.slow
def test_an_adapter_of_a_large_catalogue_is_some_hundred_kilobytes(device: Path, service: Service) -> None:
    world = a_world(20_000, width=384, ranks={"history_proj": 64}, topics=8)
    service.release(1, world=world)
    take(device, service)
    first = service.wire.bytes_of_files
    service.wire.bodies.clear()
    service.release(2, world=world)
    take(device, service)
    assert first > 7_000_000
    assert sum(size for _, _, size in service.wire.bodies) < 300_000


def test_a_changed_catalogue_brings_its_index(device: Path, service: Service) -> None:
    service.release(1)
    take(device, service)
    service.wire.bodies.clear()
    pointer = service.release(2, world=a_world(61, width=8))
    take(device, service)
    assert service.wire.bytes_of_files == sum(pointer.sizes.values())


def test_a_roll_back_fetches_nothing_that_is_still_here(device: Path, service: Service) -> None:
    for number in (1, 2):
        service.release(number)
        take(device, service)
    service.wire.bodies.clear()
    service.roll_back()
    installed = take(device, service)
    assert installed
    assert installed.round == 1
    assert service.wire.bytes_of_files == 0


def test_what_only_training_reads_does_not_travel(device: Path, service: Service) -> None:
    folder = a_release(service.folder, service.world, round_number=1)
    (folder / "index.safetensors").write_bytes(b"float16" * 100)
    digest = hashlib.sha256(b"float16" * 100).hexdigest()
    signed_again(
        folder,
        service.folder / "signing.key",
        lambda manifest: manifest["files"].update({"index.safetensors": digest}),
    )
    _with_right_id(folder, service)
    service.promote(service.take(folder))
    assert take(device, service)
    assert digest not in "".join(path for path, _, _ in service.wire.bodies)


def test_a_broken_download_goes_on_where_it_broke(device: Path, service: Service) -> None:
    pointer = service.release(1)
    service.wire.break_after = [1000, 500]
    assert take(device, service)
    assert service.wire.bytes_of_files == sum(pointer.sizes.values())
    assert 206 in [status for _, status, _ in service.wire.bodies]


def test_a_download_that_nothing_comes_of_is_gone_on_with_by_the_next_update(device: Path, service: Service) -> None:
    pointer = service.release(1)
    service.wire.break_after = [1000, 0, 0, 0]
    with pytest.raises(DataError, match="goes on from there"):
        take(device, service)
    assert releases.installed(device) == []
    service.wire.break_after = []
    assert take(device, service)
    assert service.wire.bytes_of_files == sum(pointer.sizes.values())


def test_a_part_that_was_spoilt_on_the_disk_is_fetched_anew(device: Path, service: Service) -> None:
    service.release(1)
    service.wire.break_after = [1000, 0]
    with pytest.raises(DataError):
        take(device, service)
    service.wire.break_after = []
    (part,) = (device / FETCHED).glob("*.part")
    part.write_bytes(b"\0" * 1000)
    assert take(device, service)


def test_an_active_release_that_was_damaged_is_mended(device: Path, service: Service) -> None:
    service.release(1)
    installed = take(device, service)
    assert installed
    (installed.folder / "catalogue.safetensors").write_bytes(b"rot")
    service.wire.bodies.clear()
    assert take(device, service) == installed
    assert releases.active(device) == installed
    assert len([path for path, _, _ in service.wire.bodies if "/blobs/" in path]) == 1


@pytest.mark.parametrize("what", ["current", "manifest.json", "manifest.sig", "blobs/"])
@pytest.mark.parametrize("how", ["flipped", "longer", "empty", "other"])
def test_no_answer_of_a_hostile_server_is_used(device: Path, service: Service, what: str, how: str) -> None:
    def change(path: str, body: bytes) -> bytes:
        if what not in path:
            return body
        flipped = body[:40] + bytes([body[40] ^ 1]) + body[41:] if len(body) > 40 else body
        return {"flipped": flipped, "longer": body + b"\0" * 2_000_000, "empty": b"", "other": b"{}"}[how]

    service.release(1)
    service.wire.change = change
    # More after a file's own bytes is not read at all: the file is the signed one.
    if (what, how) == ("blobs/", "longer"):
        assert take(device, service)
        return
    with pytest.raises((VerificationError, DataError)):
        take(device, service)
    assert releases.installed(device) == []


def test_after_a_hostile_server_an_honest_one_serves(device: Path, service: Service) -> None:
    service.release(1)
    service.wire.change = lambda path, body: body[::-1] if "blobs" in path else body
    with pytest.raises(VerificationError, match="another file"):
        take(device, service)
    service.wire.change = lambda _path, body: body
    assert take(device, service)


def test_the_pointer_of_another_signer_is_refused(device: Path, service: Service, tmp_path: Path) -> None:
    pointer = service.release(1)
    foreign = signed_pointer(replace(pointer, serial=9), signing_key(tmp_path / "foreign.key"))
    service.wire.change = lambda path, body: foreign if path.endswith("current") else body
    with pytest.raises(VerificationError, match="signature"):
        take(device, service)
    assert read_seen(device) == {}


def test_a_pointer_that_was_seen_before_a_newer_one_is_refused(device: Path, service: Service) -> None:
    service.release(1)
    old = service.registry.current_document("films")
    service.release(2)
    take(device, service)
    service.wire.change = lambda path, body: (old or b"") if path.endswith("current") else body
    with pytest.raises(VerificationError, match="has seen 2"):
        _forget_etag(device)
        take(device, service)
    assert releases.active(device).round == 2


def test_a_pointer_counts_as_seen_even_if_its_release_does_not_come(device: Path, service: Service) -> None:
    service.release(1)
    old = service.registry.current_document("films")
    service.release(2)
    service.wire.break_after = [0] * 9
    with pytest.raises(DataError):
        take(device, service)
    service.wire.break_after = []
    service.wire.change = lambda path, body: (old or b"") if path.endswith("current") else body
    with pytest.raises(VerificationError, match="has seen 2"):
        take(device, service)


def test_two_pointers_of_one_serial_are_told(device: Path, service: Service) -> None:
    pointer = service.release(1)
    take(device, service)
    key = signing_key(service.folder / "signing.key")
    twin = signed_pointer(replace(pointer, issued_at=99), key)
    service.wire.change = lambda path, body: twin if path.endswith("current") else body
    _forget_etag(device)
    with pytest.raises(VerificationError, match="two different pointers"):
        take(device, service)


def test_the_pointer_of_another_catalogue_is_refused(device: Path, service: Service) -> None:
    pointer = service.release(1)
    key = signing_key(service.folder / "signing.key")
    other = signed_pointer(replace(pointer, catalogue="books"), key)
    service.wire.change = lambda path, body: other if path.endswith("current") else body
    with pytest.raises(VerificationError, match="another catalogue"):
        take(device, service)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "C:\\x", "adapter/./x"])
def test_a_signed_manifest_with_a_path_outside_writes_nothing(device: Path, service: Service, name: str) -> None:
    pointer = service.release(1)
    folder = next(service.folder.glob("00001-*"))
    signed_again(folder, service.folder / "signing.key", lambda manifest: manifest["files"].update({name: "0" * 64}))
    content = (folder / MANIFEST).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    aimed = replace(pointer, serial=2, manifest_hash=digest, sizes=pointer.sizes | {name: 1})
    document = signed_pointer(aimed, signing_key(service.folder / "signing.key"))
    signature = (folder / "manifest.sig").read_bytes()
    before = _tree(device.parent)

    async def hostile(scope: Scope, _receive: Receive, send: Send) -> None:
        body = {"current": document, "manifest.json": content, "manifest.sig": signature}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.get(scope["path"].rpartition("/")[2], b"x")})

    with listening(hostile) as port, pytest.raises(VerificationError, match="outside its folder"):
        fetch(device, f"http://127.0.0.1:{port}", catalogue="films")
    added = _tree(device.parent) - before
    assert all(path.is_relative_to(device) for path in added)
    assert releases.installed(device) == []


@pytest.mark.parametrize("stated", [None, 1 << 50])
def test_an_endless_answer_is_read_as_far_as_it_may_be_large(
    device: Path, service: Service, stated: int | None
) -> None:
    service.release(1)
    sent: list[int] = []

    def endless(answer: BaseHTTPRequestHandler) -> None:
        if stated is not None:
            answer.send_header("Content-Length", str(stated))
        answer.end_headers()
        while sum(sent) < 1 << 30:
            sent.append(answer.wfile.write(b"\0" * (1 << 16)))

    with odd_server(service, endless) as url, pytest.raises(VerificationError):
        fetch(device, url, catalogue="films")
    # What the system holds of a connection is some megabytes; nobody read the rest.
    assert sum(sent) < 1 << 26
    assert releases.installed(device) == []


@pytest.mark.parametrize("where", ["headers", "body"])
def test_a_server_that_drips_is_left(
    device: Path, service: Service, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    service.release(1)
    monkeypatch.setattr(release_server, "_ANSWER_SECONDS", 0.5)

    def drip(answer: BaseHTTPRequestHandler) -> None:
        if where == "body":
            answer.end_headers()
        for number in range(10_000):
            answer.wfile.write(b"X" if where == "body" else f"X-{number}: y\r\n".encode()[:1])
            answer.wfile.flush()
            time.sleep(0.05)

    with odd_server(service, drip) as url, pytest.raises(DataError, match="too long"):
        fetch(device, url, catalogue="films")


@contextmanager
def odd_server(service: Service, files: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that answers as the registry does, but for files, where it does as it likes."""

    class Odd(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            name = self.path.rpartition("/")[2]
            self.send_response(200)
            if "/blobs/" in self.path:
                with suppress(OSError):
                    files(self)
                return
            manifest_hash = self.path.split("/")[-2]
            parts = service.registry.manifest("films", manifest_hash) or (b"", b"")
            known = {
                "current": service.registry.current_document("films"),
                "manifest.json": parts[0],
                "manifest.sig": parts[1],
            }
            body = known[name] or b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_server_is_known_by_its_own_authority(device: Path, service: Service, tmp_path: Path) -> None:
    service.release(1)
    keys = ServiceFolder(tmp_path / "tls")
    make_certificates(keys, names=["localhost"], now=datetime.now(UTC))
    with listening(service.wire, tls=(keys.server_certificate, keys.server_key)) as port:
        url = f"https://localhost:{port}"
        with pytest.raises(DataError, match="no certificate that this device trusts"):
            fetch(device, url, catalogue="films")
        assert service.wire.bodies == []
        assert fetch(device, url, catalogue="films", ca=keys.ca_certificate)


def test_a_certificate_of_another_name_does_not_count(device: Path, service: Service, tmp_path: Path) -> None:
    certificate, key = certificate_for("elsewhere.example", tmp_path)
    with listening(service.wire, tls=(certificate, key)) as port, pytest.raises(DataError, match="trusts"):
        fetch(device, f"https://localhost:{port}", catalogue="films", ca=certificate)


def test_an_authority_that_is_none_is_refused(device: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing of the kind")
    for name in ("ca.crt", "missing.crt"):
        with pytest.raises(ConfigError, match="holds no certificate"):
            fetch(device, "https://localhost:9", catalogue="films", ca=tmp_path / name)


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "odd.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "odd.key").write_bytes(private)
    return folder / "odd.crt", folder / "odd.key"


@pytest.mark.parametrize("status", [301, 302, 307, 403, 418, 500, 503])
def test_an_answer_that_is_no_release_is_one_line(device: Path, status: int) -> None:
    async def odd(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"location", b"http://127.0.0.1:1/elsewhere")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"odd"})

    with listening(odd) as port, pytest.raises(DataError) as told:
        fetch(device, f"http://127.0.0.1:{port}", catalogue="films")
    assert "\n" not in str(told.value)


def test_what_the_person_went_back_from_is_not_fetched_again(device: Path, service: Service) -> None:
    for number in (1, 2):
        service.release(number)
        take(device, service)
    releases.roll_back(device)
    assert take(device, service) is None
    _forget_etag(device)
    with pytest.raises(RefusedError, match="rolled back from"):
        take(device, service)
    assert releases.active(device).round == 1
    again = take(device, service, by_person=True)
    assert again
    assert again.round == 2


def test_another_run_is_the_persons_choice(device: Path, service: Service) -> None:
    service.release(5)
    take(device, service)
    service.release(1, run="run-2")
    with pytest.raises(RefusedError, match="another run"):
        take(device, service)
    assert service.wire.bytes_of_files == sum(path.stat().st_size for path in _files(releases.active(device)))
    assert take(device, service, by_person=True)


def test_a_catalogue_has_serials_of_its_own(device: Path, service: Service) -> None:
    service.release(1)
    take(device, service)
    with pytest.raises(DataError):
        fetch(device, service.url, catalogue="books")
    assert list(read_seen(device)) == ["films"]


def test_two_updates_at_once_are_one(device: Path, service: Service) -> None:
    service.release(1)
    with held(device / ".fetch.lock", wait=0.0), pytest.raises(RefusedError, match="in use"):
        take(device, service)
    assert take(device, service)


def test_a_server_that_is_not_there_is_one_line(device: Path) -> None:
    with pytest.raises(DataError, match="cannot be reached"):
        fetch(device, "http://127.0.0.1:9", catalogue="films")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "https://user:word@example.org",
        "https://example.org/?a=b",
        "https://example.org:99999",
        "https://exa mple.org\r\nX: y",
        "",
    ],
)
def test_an_address_that_is_no_https_server_is_refused(device: Path, url: str) -> None:
    with pytest.raises(ConfigError) as told:
        fetch(device, url, catalogue="films")
    assert "word" not in str(told.value)


@pytest.mark.parametrize("name", ["../x", "", "FILMS", "a b", "a/../../current?"])
def test_a_catalogue_that_cannot_be_one_is_not_asked_for(device: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no name of a catalogue"):
        fetch(device, "http://127.0.0.1:9", catalogue=name)


def test_a_device_without_a_signer_fetches_nothing(tmp_path: Path, service: Service) -> None:
    service.release(1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="trusts no signer"):
        fetch(tmp_path / "empty", service.url, catalogue="films")


def test_a_damaged_memory_of_the_channel_is_no_leave_to_go_back(device: Path, service: Service) -> None:
    service.release(1)
    take(device, service)
    (device / CHANNELS).write_text("{not json")
    with pytest.raises(VerificationError, match="no longer knows"):
        take(device, service)


def test_bytes_at_random_are_refused_and_never_a_traceback(device: Path, service: Service) -> None:
    service.release(1)
    draw = np.random.default_rng(3)
    service.wire.change = lambda _path, body: draw.bytes(int(draw.integers(0, 2000))) if draw.random() < 0.7 else body
    for _ in range(30):
        try:
            take(device, service)
        except FedrecError as error:
            assert "\n" not in str(error)
    service.wire.change = lambda _path, body: body
    take(device, service)
    assert releases.active(device).round == 1


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_release_or_the_new(device: Path, service: Service) -> None:
    service.release(1, world=a_world(20_000, width=64))
    take(device, service)
    service.release(2, world=a_world(20_001, width=64))
    start, draw = get_context("spawn"), np.random.default_rng(1)
    for _ in range(8):
        process = start.Process(target=fetch, args=(device, service.url), kwargs={"catalogue": "films"})
        process.start()
        process.join(float(draw.uniform(0.8, 2.0)))
        process.kill()
        process.join()
        assert releases.active(device).round in (1, 2)
    take(device, service)
    assert releases.active(device).round == 2
    assert not (device / FETCHED).exists()


def _forget_etag(device: Path) -> None:
    table = json.loads((device / CHANNELS).read_text())
    table["films"]["etag"] = None
    (device / CHANNELS).write_text(json.dumps(table))


def _with_right_id(folder: Path, service: Service) -> None:
    signed_again(
        folder,
        service.folder / "signing.key",
        lambda manifest: manifest.update(id=id_of(manifest["files"], manifest["lineage"])),
    )


def _files(installed: Installed) -> list[Path]:
    return [installed.folder / name for name in installed.manifest.files]


def _tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))
