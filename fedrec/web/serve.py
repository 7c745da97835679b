"""The agent as a running service: on 127.0.0.1 and nowhere else, with no log of who asked for what."""

import asyncio
import socket
from collections.abc import Callable
from typing import Self

import uvicorn
from fastapi import FastAPI

from fedrec.errors import DataError
from fedrec.web.connections import ACCEPTED_AT_ONCE, Connection
from fedrec.web.faults import LoopFaults

LOOPBACK = "127.0.0.1"
_WAITING = 1024


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


def serve(app: FastAPI, listening: socket.socket, *, ready: Callable[[], None] = lambda: None) -> None:
    """Answer requests until a signal says stop; `ready` is called once requests are taken."""
    Server.of(app, ready).run(sockets=[listening])


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is there."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @classmethod
    def of(cls, app: FastAPI, ready: Callable[[], None]) -> Self:
        """A server of the agent that logs nothing of what it is asked."""
        config = uvicorn.Config(
            app,
            # The plain ones: what a small computer has, whatever else is installed here.
            loop="asyncio",
            http=Connection,
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
        return cls(config, ready)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests, then say so."""
        asyncio.get_running_loop().set_exception_handler(LoopFaults())
        await super().startup(sockets)
        # asyncio accepts as many in one turn as may wait: few in a turn, but many may wait for theirs.
        for taken in sockets or ():
            taken.listen(_WAITING)
        self._ready()
