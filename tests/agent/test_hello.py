"""A port that an agent left behind: nobody who takes it is told anything."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest

from fedrec.agent.client import AgentClient
from fedrec.agent.running import PORT_FILE
from fedrec.agent.tokens import agent_token, running_token
from fedrec.data.events import Kind
from fedrec.errors import DataError, VerificationError
from fedrec.ondevice.engine import Engine
from fedrec.web.proofs import proof
from fedrec.web.serve import listen
from tests.agent.serving import listening
from tests.ondevice.device_worlds import an_event

SAID = "my secret illness"
Answering = Callable[[str], bytes]


class Squatter(HTTPServer):
    """Somebody else's service on the agent's port; it keeps all that it is told."""

    def __init__(self, answering: Answering) -> None:
        super().__init__(("127.0.0.1", 0), Listening)
        self.answering = answering
        self.told: list[str] = []


class Listening(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Squatter

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.told.append(f"{self.requestline}\n{self.headers}\n{self.rfile.read(length).decode()}")
        content = self.server.answering(parse_qs(urlsplit(self.path).query).get("nonce", [""])[0])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def squatter(request: pytest.FixtureRequest) -> Iterator[Squatter]:
    made = Squatter(request.param)
    thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def a_proof(given: object) -> Answering:
    return lambda _: json.dumps(given).encode()


WRONG: list[Answering] = [
    lambda _: b"",
    lambda _: b"[" * 4000,
    a_proof([]),
    a_proof({}),
    a_proof({"proof": None}),
    a_proof({"proof": "\ud800"}),
    a_proof({"proof": "0" * 64}),
    lambda nonce: json.dumps({"proof": proof("", port=0, nonce=nonce)}).encode(),
]


@pytest.mark.parametrize("squatter", WRONG, indirect=True)
def test_who_cannot_prove_to_be_the_agent_is_told_nothing(squatter: Squatter, tmp_path: Path) -> None:
    token = agent_token(tmp_path)
    (tmp_path / PORT_FILE).write_text(f"{squatter.server_port}\n")
    with pytest.raises(DataError, match=f"No agent runs for {tmp_path}"):
        AgentClient.of(tmp_path).record([an_event(None, Kind.SEARCH, text=SAID)])
    assert len(squatter.told) == 1
    assert squatter.told[0].startswith("GET /hello?nonce=")
    assert token not in squatter.told[0]
    assert SAID not in squatter.told[0]


def test_the_answer_of_another_agent_cannot_be_passed_on(engine: Engine) -> None:
    with listening(engine) as (port, _):

        def passed_on(nonce: str) -> bytes:
            content: bytes = urlopen(f"http://127.0.0.1:{port}/hello?nonce={nonce}", timeout=10).read()
            return content

        between = Squatter(passed_on)
        thread = Thread(target=between.handle_request)
        thread.start()
        with pytest.raises(DataError, match="No agent runs"):
            AgentClient(between.server_port, token=running_token(engine.device)).settings()
        thread.join()
        between.server_close()
        assert len(between.told) == 1


def test_a_port_taken_between_two_requests_is_noticed(engine: Engine) -> None:
    with listening(engine) as (port, _):
        client = AgentClient(port, token=running_token(engine.device))
        assert client.settings()
    with listen(port) as taken:
        heard: list[bytes] = []

        def hear() -> None:
            end, _ = taken.accept()
            with end:
                heard.append(end.recv(65536))

        thread = Thread(target=hear)
        thread.start()
        with pytest.raises(DataError, match="No agent runs"):
            client.record([an_event(None, Kind.SEARCH, text=SAID)])
        thread.join()
    assert running_token(engine.device).encode() not in heard[0]
    assert SAID.encode() not in heard[0]


def test_a_connection_that_is_closed_after_the_proof_is_not_opened_again(tmp_path: Path) -> None:
    """Else what follows the proof would go to whoever listens by then."""
    token = agent_token(tmp_path)
    with listen(0) as taken:
        port = int(taken.getsockname()[1])
        came: list[bytes] = []

        def answer_once() -> None:
            end, _ = taken.accept()
            with end:
                asked = end.recv(65536)
                came.append(asked)
                nonce = asked.split(b"nonce=")[1].split()[0].decode()
                content = json.dumps({"proof": proof(token, port=port, nonce=nonce)})
                head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
                end.sendall((head + content).encode())
            taken.settimeout(0.5)
            try:
                came.append(taken.accept()[0].recv(65536))
            except TimeoutError:
                return

        thread = Thread(target=answer_once)
        thread.start()
        with pytest.raises(DataError, match="No agent runs"):
            AgentClient(port, token=token).settings()
        thread.join()
    assert len(came) == 1


def test_a_token_that_others_can_read_proves_nothing(tmp_path: Path) -> None:
    agent_token(tmp_path)
    (tmp_path / PORT_FILE).write_text("1\n")
    (tmp_path / "agent.token").chmod(0o644)
    with pytest.raises(VerificationError, match="can be read by others"):
        AgentClient.of(tmp_path)
