"""A server's answers to a knock: admitted, not admitted, or nothing that can be relied on."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.proto.fleet_pb2 import ActivateNodeResponse, DeactivateNodeResponse

from fedrec.errors import DataError, VerificationError
from fedrec.federation.hidden_files import hidden_files
from fedrec.federation.knocking import knock
from fedrec.ondevice.enrolment import DeviceKeys
from fedrec.ondevice.loopback import loopback_identity

Answer = tuple[int, bytes]
KEYS = DeviceKeys(ec.generate_private_key(ec.SECP384R1()), Ed25519PrivateKey.generate())
UNKNOWN: Answer = (412, json.dumps({"code": 2004, "detail": "Failed to activate SuperNode."}).encode())
ADMITTED: Answer = (200, ActivateNodeResponse(node_id=2**64 - 2).SerializeToString())
DONE: Answer = (200, DeactivateNodeResponse().SerializeToString())


@contextmanager
def a_server(answer: Callable[[str], Answer], asked: list[str]) -> Iterator[tuple[str, bytes]]:
    """A server that answers as told; its address, and the certificate that vouches for it."""
    identity = loopback_identity()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            what = self.path.rpartition("/")[2]
            asked.append(what)
            status, content = answer(what)
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf" if status == 200 else "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with hidden_files({"certificate": identity.certificate, "key": identity.key}) as files:
        context.load_cert_chain(files.paths["certificate"], files.paths["key"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", identity.certificate
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def knocked(tmp_path: Path, answers: dict[str, Answer], *, node: int | None = None) -> tuple[int | None, list[str]]:
    """The result, and what the server was asked."""
    asked: list[str] = []
    authority = tmp_path / "ca.crt"
    with a_server(lambda what: answers[what], asked) as (address, certificate):
        authority.write_bytes(certificate)
        return knock(address, authority=authority, keys=KEYS, node=node), asked


def test_a_device_that_is_admitted_learns_its_node_and_leaves_it_free_to_connect(tmp_path) -> None:
    found, asked = knocked(tmp_path, {"activate-node": ADMITTED, "deactivate-node": DONE})
    assert found == 2**64 - 2
    assert asked == ["activate-node", "deactivate-node"]


def test_one_that_is_not_admitted_is_told_nothing_else(tmp_path) -> None:
    assert knocked(tmp_path, {"activate-node": UNKNOWN}) == (None, ["activate-node"])


def test_a_node_of_an_earlier_time_is_signed_off_first_whatever_the_server_says_to_that(tmp_path) -> None:
    for signed_off in (DONE, (401, b"{}"), (412, b"{}")):
        answers = {"activate-node": ADMITTED, "deactivate-node": signed_off}
        found, asked = knocked(tmp_path, answers, node=5)
        assert found == 2**64 - 2
        assert asked == ["deactivate-node", "activate-node", "deactivate-node"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, b'{"detail": "Invalid SuperNode authentication"}'), "clocks"),
        ((502, b"<html>"), "HTTP 502"),
        ((404, b""), "HTTP 404"),
        ((200, b"\xff\xff no protobuf"), "does not answer"),
        ((200, b""), "does not answer"),
    ],
)
def test_an_answer_that_decides_nothing_is_a_fault_that_may_pass(tmp_path, answer, said) -> None:
    with pytest.raises(DataError, match=said):
        knocked(tmp_path, {"activate-node": answer})


def test_a_server_that_another_authority_vouches_for_learns_nothing(tmp_path) -> None:
    asked: list[str] = []
    authority = tmp_path / "ca.crt"
    authority.write_bytes(loopback_identity().certificate)
    with a_server(lambda _: ADMITTED, asked) as (address, _), pytest.raises(VerificationError, match="vouched"):
        knock(address, authority=authority, keys=KEYS)
    assert asked == []
