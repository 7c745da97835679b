"""What the front serves to devices: bytes as they were published, in parts, and nothing else."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedrec.pointer import read_pointer
from fedrec.registry.ranges import wanted_span
from fedrec.registry.registry import Registry
from fedrec.release import SIGNATURE, verify_release
from tests.registry.presses import Press
from tests.registry.serving import listening, releases_app


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}", artifacts=f"file://{tmp_path / 'artifacts'}") as opened:
        yield opened


@pytest.fixture
def server(registry: Registry) -> Iterator[httpx.Client]:
    with listening(releases_app(registry)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


@pytest.fixture
def index(registry: Registry, press: Press) -> bytes:
    """A file of a published release."""
    press.publish(registry, 1)
    return (press.release(1) / "index.int8.safetensors").read_bytes()


def _blob(content: bytes) -> str:
    return f"/v1/releases/blobs/{hashlib.sha256(content).hexdigest()}"


def test_the_pointer_is_the_signers_and_an_etag_spares_the_rest(
    registry: Registry, press: Press, server: httpx.Client
) -> None:
    assert server.get("/v1/releases/films/current").status_code == 404
    row = press.publish(registry, 1)
    pointer = registry.promote("films", row.id, key=press.key, now=1)
    answer = server.get("/v1/releases/films/current")
    assert read_pointer(answer.content, press.key.public_key()) == pointer
    again = server.get("/v1/releases/films/current", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    registry.promote("films", press.publish(registry, 2).id, key=press.key, now=2)
    assert (
        server.get("/v1/releases/films/current", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 200
    )


def test_no_cache_keeps_a_pointer_and_every_cache_may_keep_a_file(
    registry: Registry, press: Press, server: httpx.Client, index: bytes
) -> None:
    registry.promote("films", registry.releases("films")[0].id, key=press.key, now=1)
    assert "no-cache" in server.get("/v1/releases/films/current").headers["Cache-Control"]
    assert "immutable" in server.get(_blob(index)).headers["Cache-Control"]


def test_a_manifest_and_its_signature_come_byte_for_byte(
    registry: Registry, press: Press, server: httpx.Client
) -> None:
    row = press.publish(registry, 1)
    folder, path = press.release(1), f"/v1/releases/films/{row.manifest_hash}"
    manifest = verify_release(folder, press.key.public_key())
    assert server.get(f"{path}/manifest.json").content == manifest.content()
    assert server.get(f"{path}/manifest.sig").content == (folder / SIGNATURE).read_bytes()
    assert server.get(f"/v1/releases/books/{row.manifest_hash}/manifest.json").status_code == 404


def test_a_file_comes_whole_or_from_where_it_broke_off(server: httpx.Client, index: bytes) -> None:
    whole = server.get(_blob(index))
    assert (whole.status_code, whole.content) == (200, index)
    rest = server.get(_blob(index), headers={"Range": "bytes=1000-", "If-Range": whole.headers["ETag"]})
    assert (rest.status_code, rest.content) == (206, index[1000:])
    assert rest.headers["Content-Range"] == f"bytes 1000-{len(index) - 1}/{len(index)}"


def test_a_part_of_another_file_than_this_is_answered_with_all_of_it(server: httpx.Client, index: bytes) -> None:
    answer = server.get(_blob(index), headers={"Range": "bytes=1000-", "If-Range": '"another"'})
    assert (answer.status_code, answer.content) == (200, index)


def test_a_part_behind_the_end_is_refused(server: httpx.Client, index: bytes) -> None:
    answer = server.get(_blob(index), headers={"Range": f"bytes={len(index)}-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(index)}")


@given(header=st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True) | st.text(max_size=30))
def test_a_wanted_part_lies_within_the_file(header: str) -> None:
    span = wanted_span(header, 500)
    assert span is None or 0 <= span.start < span.end <= 500


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(first=st.integers(0, 4000), last=st.integers(0, 4000))
@example(first=0, last=4000)
def test_parts_are_those_of_the_file(server: httpx.Client, index: bytes, first: int, last: int) -> None:
    answer = server.get(_blob(index), headers={"Range": f"bytes={first}-{last}"})
    if answer.status_code == 206:
        assert answer.content == index[first : last + 1]
    else:
        # A part that ends before it begins is no part, and one that leaves nothing out neither: all is the answer.
        whole = last < first or (first == 0 and last >= len(index) - 1)
        assert answer.status_code == (200 if whole else 416)
        assert not whole or answer.content == index


@pytest.mark.parametrize(
    "path",
    [
        "/v1/releases",
        "/v1/releases/",
        "/v1/releases/blobs",
        "/v1/releases/films",
        "/v1/releases/blobs/..%2f..%2fregistry.db",
        "/v1/releases/..%2fkeys/current",
        "/v1/releases/FILMS/current",
        f"/v1/releases/{'a' * 5000}/current",
        f"/v1/releases/blobs/{'0' * 64}",
        f"/v1/releases/blobs/{'0' * 63}%00",
        f"/v1/releases/films/{'0' * 64}/manifest.json",
        f"/v1/releases/films/{'0' * 64}/index.int8.safetensors",
        "/v1/releases/films/current%0a",
    ],
)
def test_what_was_not_published_is_not_there(server: httpx.Client, index: bytes, path: str) -> None:
    assert index
    assert server.get(path).status_code == 404


def test_what_lies_in_the_artifacts_but_in_no_release_is_not_served(
    registry: Registry, server: httpx.Client, tmp_path: Path
) -> None:
    secret = tmp_path / "early"
    secret.write_bytes(b"not released yet")
    registry.artifacts.put(secret, sha256=hashlib.sha256(secret.read_bytes()).hexdigest())
    assert server.get(_blob(secret.read_bytes())).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed_from_outside(server: httpx.Client, index: bytes, method: str) -> None:
    for path in ("/v1/releases/films/current", _blob(index)):
        assert server.request(method, path).status_code == 405


def test_the_directory_comes_as_it_was_signed(registry: Registry, server: httpx.Client) -> None:
    assert server.get("/v1/releases/films/directory").status_code == 404
    registry.keep_document("directory/films", b"signed", serial=1)
    answer = server.get("/v1/releases/films/directory")
    assert answer.content == b"signed"
    held = {"If-None-Match": answer.headers["ETag"]}
    assert server.get("/v1/releases/films/directory", headers=held).status_code == 304


def test_a_file_that_is_gone_from_the_artifacts_is_a_fault_of_today_not_of_the_device(
    registry: Registry, server: httpx.Client, index: bytes
) -> None:
    registry.artifacts.remove(hashlib.sha256(index).hexdigest())
    answer = server.get(_blob(index))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")


def test_a_file_that_is_gone_comes_back_with_the_next_publication(
    registry: Registry, press: Press, server: httpx.Client, index: bytes
) -> None:
    registry.artifacts.remove(hashlib.sha256(index).hexdigest())
    press.publish(registry, 1)
    assert server.get(_blob(index)).content == index
