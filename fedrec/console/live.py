"""One stream of what changes: server-sent events for a few listeners, who are looked at as they are told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedrec.errors import FedrecError
from fedrec.web.refusals import FullError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """listeners: at once. look: seconds between two looks. beat: seconds between two signs of life."""

    listeners: int = 8
    look: float = 1.0
    beat: float = 15.0


@dataclass(slots=True)
class Live:
    """Tells every listener the same. look: what there is to tell, read in a thread of its own, once for all of them."""

    look: Callable[[], Any]
    pace: Pace = field(default_factory=Pace)
    _listening: int = 0
    _closed: bool = False
    _seen: bytes = b""
    _seen_at: float = float("-inf")
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def close(self) -> None:
        """Every stream ends within a look, and no other begins."""
        self._closed = True

    def listen(self, *, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The events for one listener, until it is not allowed any more.

        Raises FullError where there are as many as there may be.
        """
        if self._listening >= self.pace.listeners:
            raise FullError(f"{self._listening} pages listen already. Close one of them.")
        return self._events(allowed)

    async def _events(self, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        told, beat = b"", time.monotonic()
        # Here and not above: what never began never ends, and would be counted for ever.
        self._listening += 1
        try:
            while not self._closed and allowed():
                seen = await self._latest()
                if seen != told:
                    told, beat = seen, time.monotonic()
                    yield seen
                elif time.monotonic() - beat >= self.pace.beat:
                    beat = time.monotonic()
                    yield event("beat", {})
                await asyncio.sleep(self.pace.look)
            yield event("end", {})
        finally:
            self._listening -= 1

    async def _latest(self) -> bytes:
        """What there is to tell, at most one look old; a look that fails tells why."""
        async with self._looking:
            if time.monotonic() - self._seen_at >= self.pace.look:
                self._seen = await asyncio.to_thread(self._told)
                self._seen_at = time.monotonic()
            return self._seen

    def _told(self) -> bytes:
        try:
            return event("state", self.look())
        except FedrecError as error:
            return event("trouble", {"error": str(error)})


def event(name: str, content: Mapping[str, Any]) -> bytes:
    """One server-sent event.

    >>> event("beat", {})
    b'event: beat\\ndata: {}\\n\\n'
    """
    return f"event: {name}\ndata: {json.dumps(content, allow_nan=False, separators=(',', ':'))}\n\n".encode()
