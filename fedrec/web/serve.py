"""A service that runs: on 127.0.0.1 and nowhere else, with no log of who asked for what."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from fedrec.errors import DataError
from fedrec.web.connections import ACCEPTED_AT_ONCE, MOST, Connection
from fedrec.web.faults import LoopFaults

LOOPBACK = "127.0.0.1"
_WAITING = 1024


def _nothing() -> None:
    """What happens where nobody asked for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a running service is to its surroundings.

    service: its name, before each line of its faults. most: connections at once; what is
    public needs more of them than one person's page. ready: called once requests are taken.
    closing: called when it is told to stop, before it waits for answers that are under way.
    """

    service: str
    most: int = MOST
    ready: Callable[[], None] = _nothing
    closing: Callable[[], None] = _nothing


def listen(port: int) -> socket.socket:
    """A socket on loopback; port 0 takes a free one. Raises DataError if the port is taken."""
    # TCP by name: without it asyncio leaves Nagle's algorithm on, and each further answer of a connection waits 40 ms.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((LOOPBACK, port))
        made.listen()
    except OSError as error:
        made.close()
        raise DataError(
            f"Port {port} cannot be used ({error.strerror}). Choose another, or 0 for a free one."
        ) from None
    return made


def serve(app: ASGIApp, listening: socket.socket, *, running: Running) -> None:
    """Answer requests until a signal says stop."""
    Server.of(app, running).run(sockets=[listening])


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is there and when it ends."""

    def __init__(self, config: uvicorn.Config, running: Running) -> None:
        super().__init__(config)
        self._running = running

    @classmethod
    def of(cls, app: ASGIApp, running: Running) -> Self:
        """A server of an application that logs nothing of what it is asked."""
        config = uvicorn.Config(
            app,
            # The plain ones: what a small computer has, whatever else is installed here.
            loop="asyncio",
            http=type("Connection", (Connection,), {"most": running.most}),
            backlog=ACCEPTED_AT_ONCE,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="critical",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        return cls(config, running)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests, then say so."""
        asyncio.get_running_loop().set_exception_handler(LoopFaults(service=self._running.service))
        await super().startup(sockets)
        # asyncio accepts as many in one turn as may wait: few in a turn, but many may wait for theirs.
        for taken in sockets or ():
            taken.listen(_WAITING)
        self._running.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what would go on for ever, then wait for the answers that are under way."""
        self._running.closing()
        await super().shutdown(sockets)
