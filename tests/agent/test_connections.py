"""Strangers on the machine who connect and stay: the agent goes on, and its memory and its output stay small."""

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fedrec.agent.client import AgentClient
from fedrec.agent.tokens import running_token
from fedrec.ondevice.engine import Engine
from fedrec.web.connections import MOST, Connection
from fedrec.web.faults import LoopFaults
from tests.agent.serving import listening

SECONDS = 0.4


@pytest.fixture
def port(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of an agent that is soon impatient."""
    monkeypatch.setattr(Connection, "seconds", SECONDS)
    with listening(engine) as (port, _):
        yield port


def stranger(port: int, sent: bytes = b"") -> socket.socket:
    """Somebody who connected, said this, and waits."""
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.sendall(sent)
    return made


def said(port: int, request: str, *headers: str, body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{request} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def is_over(connection: socket.socket) -> bool:
    """Whether the agent ends a connection within ten seconds."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


UNFINISHED: list[Callable[[int], bytes]] = [
    lambda _: b"",
    lambda _: b"GET / HT",
    lambda port: said(port, "POST /session", "Content-Length: 4000", body=b"{"),
    lambda port: said(port, "POST /session", "Content-Length: 1048576", body=b"{" * 1000),
    # Behind a whole request, so that no byte comes in while it is waited for.
    lambda port: said(port, "GET /") + said(port, "POST /session", "Content-Length: 40", body=b"{"),
]


@pytest.mark.parametrize("sent", UNFINISHED)
def test_a_request_that_does_not_end_is_dropped_soon(port: int, sent: Callable[[int], bytes]) -> None:
    with stranger(port, sent(port)) as waiting:
        began = time.monotonic()
        assert is_over(waiting)
        assert time.monotonic() - began < 5


def test_a_byte_now_and_then_gains_no_time(port: int) -> None:
    with stranger(port, b"GET / HTTP/1.1\r\nX: ") as slow:
        end = time.monotonic() + 20 * SECONDS
        with pytest.raises(ConnectionError):
            while time.monotonic() < end:
                slow.sendall(b"y")
                time.sleep(SECONDS / 8)


def test_who_asks_again_within_the_time_is_answered_again(port: int) -> None:
    with stranger(port) as caller:
        for _ in range(4):
            caller.sendall(said(port, "HEAD /"))
            assert caller.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(SECONDS / 2)
        assert time.monotonic() > SECONDS


def test_a_crowd_of_strangers_does_not_keep_a_product_out(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    with listening(engine) as (port, _), ExitStack() as crowd:
        client = AgentClient(port, token=running_token(engine.device))
        for _ in range(6 * MOST):
            crowd.enter_context(stranger(port, b"GET / HT"))
        assert client.settings()
        assert len(client.recommend(3).items) == 3
    assert "".join(capfd.readouterr()) == ""


def test_strangers_are_dropped_before_a_caller_with_the_token(engine: Engine) -> None:
    with listening(engine) as (port, _), ExitStack() as crowd:
        known = crowd.enter_context(stranger(port))
        request = said(port, "HEAD /openapi.json", f"Authorization: Bearer {running_token(engine.device)}")
        for _ in range(2):
            known.sendall(request)
            assert known.recv(65536).startswith(b"HTTP/1.1 200")
            for _ in range(2 * MOST):
                crowd.enter_context(stranger(port))


def test_the_agent_needs_few_files_whoever_comes(engine: Engine) -> None:
    """Under the smallest limit of files that a system gives: asyncio's own accepting must not pass it."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listening(engine) as (port, _), ExitStack() as crowd:
        others = [crowd.enter_context(socket.socket()) for _ in range(6 * MOST)]
        try:
            # The sockets of the test are open already: what is left is the agent's.
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(s.fileno() for s in others) + 3 * MOST, limits[1]))
            for other in others:
                other.connect(("127.0.0.1", port))
            assert AgentClient(port, token=running_token(engine.device)).settings()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_faults_of_the_loop_are_one_line_a_minute_without_data(capfd: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(LoopFaults(service="agent", clock=lambda: now[0]))
    for _ in range(1000):
        loop.call_exception_handler({"message": "accepting", "exception": OSError("a title")})
    now[0] = 61.0
    loop.call_exception_handler({"message": "a title"})
    loop.close()
    assert capfd.readouterr().err == "agent: OSError\nagent: a fault\n"
    assert logging.getLogger("asyncio").handlers == []
