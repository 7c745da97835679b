"""A service's connections: few at once, each request whole within seconds, strangers dropped first.

Whoever is on this machine can connect. Without these bounds a stranger who sends nothing, or a
byte now and then, would take every file descriptor and much memory of a small computer.
"""

from asyncio import BaseTransport, TimerHandle
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Open at once; with what is accepted in three turns of the loop, well under the 256 files of the smallest limit.
MOST = 64
ACCEPTED_AT_ONCE = 32
REQUEST_SECONDS = 10.0
# Set in a request's scope by the guard, for a caller with the token or a session.
LET_IN = "let_in"


class Connection(H11Protocol):
    """uvicorn's connection, with a deadline for each request that comes in, and a place among few."""

    most = MOST
    seconds = REQUEST_SECONDS

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.since = self.loop.time()
        self.dropped = False
        self._let_in = False
        self._deadline: TimerHandle | None = None

    @property
    def let_in(self) -> bool:
        """Whether a request of this connection came with the token or with a session."""
        return self._let_in or (self.scope is not None and bool(self.scope["state"].get(LET_IN)))

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: BaseTransport) -> None:
        """Take a place; where all are taken, one is dropped for it."""
        super().connection_made(cast(Any, transport))
        there = [cast(Connection, each) for each in self.connections]
        if sum(not each.dropped for each in there) > self.most:
            self._drop_one(there)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on, and see whether the request is whole."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The next request, which may have begun already, has a deadline of its own."""
        self._let_in = self.let_in
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._forget_deadline()
        super().connection_lost(exc)

    def drop(self) -> None:
        """End at once, whatever was still to be read or sent."""
        self.dropped = True
        self.transport.abort()

    def _drop_one(self, there: "list[Connection]") -> None:
        """The oldest stranger goes first, then the oldest that asks nothing; no answer to a known caller is cut."""
        line = [each for each in there if not each.dropped and (each is self or not (each.let_in and each.busy))]
        min(line, key=lambda each: (each is self, each.let_in, each.since)).drop()

    def _watch(self) -> None:
        """A request that is still coming in has a deadline; nothing else has one."""
        state, (begun, _) = self.conn.their_state, self.conn.trailing_data
        coming = state is h11.SEND_BODY or (state is h11.IDLE and (self.cycle is None or bool(begun)))
        if not coming:
            self._forget_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.seconds, self.drop)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
