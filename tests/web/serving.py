"""An application that really listens: in a thread of the tests, on a port of loopback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from threading import Event, Thread

from starlette.types import ASGIApp

from fedrec.web.serve import Running, Server

_START_SECONDS = 30


@contextmanager
def served(
    app: ASGIApp, taken: socket, *, service: str, closing: Callable[[], None] = lambda: None
) -> Iterator[Server]:
    """The application answers on a socket; it has stopped when the block ends."""
    ready = Event()
    server = Server.of(app, Running(service=service, ready=ready.set, closing=closing))
    thread = Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    try:
        assert ready.wait(_START_SECONDS)
        yield server
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)
        assert not thread.is_alive()
