"""Messages to nodes and their replies as they arrive, so that memory does not grow with the number of nodes."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from flwr.app import Message
from flwr.serverapp import Grid

from fedrec.federation.inbox import Inbox, Source, inbox_of

# Flower drops an answer that its device's clock dates past the message's end, and clocks are wrong by minutes.
CLOCK_SKEW = 3600.0
# One request to the SuperLink is about so many messages; so many replies are held at once.
_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a grid is asked what came. now: seconds of a clock that never jumps."""

    poll: float = 0.5
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Exchange:
    """Sends messages over a grid and hands on the replies, one round of them after the other."""

    def __init__(self, grid: Grid, pace: Pace) -> None:
        self._grid = grid
        self._pace = pace
        self._source = inbox_of(grid, now=pace.now)
        self._unread: list[str] = []

    def ask(self, messages: Iterable[Message], *, timeout: float) -> Iterator[tuple[int, Message | None]]:
        """Send messages and hand on each reply within `timeout` seconds, with the place of its message.

        None stands for the reply to a message that could not be sent. Whoever stops listening
        early leaves the rest unread.
        """
        self._discard_unread()
        ends = self._pace.now() + timeout
        waiting: dict[str, int] = {}
        try:
            for place, message_id in _push(self._grid, messages):
                if message_id:
                    waiting[message_id] = place
                else:
                    yield place, None
            yield from self._replies(waiting, ends)
        finally:
            self._unread += waiting

    def _replies(self, waiting: dict[str, int], ends: float) -> Iterator[tuple[int, Message]]:
        pace = self._pace
        while waiting:
            before = len(waiting)
            for batch in _batches(list(waiting)):
                for reply in _pull(self._source, batch, still=lambda: pace.now() < ends):
                    place = waiting.pop(reply.metadata.reply_to_message_id, -1)
                    if place >= 0:
                        yield place, reply
            if not waiting or pace.now() >= ends:
                return
            if before == len(waiting):
                pace.sleep(min(pace.poll, max(0.0, ends - pace.now())))

    def _discard_unread(self) -> None:
        """What came too late for the round before is forgotten by the SuperLink, too: it would fill its disk."""
        if isinstance(self._source, Inbox):
            for batch in _batches(self._unread):
                self._source.discard(batch)
        self._unread.clear()


def _push(grid: Grid, messages: Iterable[Message]) -> Iterator[tuple[int, str]]:
    """The id of each message by its place; an empty one where it was not taken."""
    place = 0
    rest = iter(messages)
    while batch := list(islice(rest, _BATCH)):
        taken = list(grid.push_messages(batch))
        for message_id in taken + [""] * (len(batch) - len(taken)):
            yield place, message_id or ""
            place += 1


def _pull(source: Source, batch: Sequence[str], *, still: Callable[[], bool]) -> Iterator[Message]:
    """What came for a batch; asked again as long as more comes."""
    left = list(batch)
    while left and still():
        came = set()
        for reply in source.pull_messages(left):
            came.add(reply.metadata.reply_to_message_id)
            yield reply
        if not came:
            return
        # Asked again for what was delivered, the SuperLink answers that it is lost.
        left = [message_id for message_id in left if message_id not in came]


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]
