"""Messages to nodes that answer late, out of order, in parts, or never: no network, and a clock of the test's."""

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.federation import exchange as module
from fedrec.federation.exchange import Exchange, Pace
from fedrec.federation.local_grid import LocalGrid


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def pace(self, poll: float = 2.0) -> Pace:
        return Pace(poll=poll, now=lambda: self.now, sleep=self.sleep)


class Slow(LocalGrid):
    """A grid whose node n has answered `delay(n)` seconds after it was asked; an id that was answered is gone."""

    def __init__(self, clock: Clock, delay: Callable[[int], float], *, nodes: int) -> None:
        app = ClientApp()

        @app.train()
        def train(message: Message, _: Any) -> Message:
            return Message(RecordDict(), reply_to=message)

        super().__init__(app, clients=nodes)
        self._clock, self._delay = clock, delay
        self._sent: dict[str, float] = {}
        self.pulled: list[int] = []
        self.most_held = 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = list(super().push_messages(messages))
        self._sent |= dict.fromkeys(ids, self._clock.now)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        ids = list(message_ids)
        self.pulled.append(len(ids))
        assert all(message_id in self._sent for message_id in ids), "asked again for what was answered"
        ready = [each for each in ids if self._clock.now >= self._sent[each] + self._delay(self._node(each))]
        for message_id in ready:
            del self._sent[message_id]
        self.most_held = max(self.most_held, len(ready))
        return [reply for message_id in ready for reply in super(Slow, self).pull_messages([message_id])]

    def _node(self, message_id: str) -> int:
        return self._waiting[message_id].metadata.dst_node_id - 2


def messages(count: int) -> list[Message]:
    return [Message(RecordDict(), 2 + node, "train", group_id="1") for node in range(count)]


def asked(grid: LocalGrid, count: int, *, timeout: float, pace: Pace) -> list[int]:
    return [place for place, reply in Exchange(grid, pace).ask(messages(count), timeout=timeout) if reply is not None]


def test_replies_are_handed_on_as_they_arrive_and_late_ones_are_left_out() -> None:
    clock = Clock()
    grid = Slow(clock, lambda node: [9.0, 1.0, 3.0, 1000.0][node], nodes=4)
    assert asked(grid, 4, timeout=20, pace=clock.pace()) == [1, 2, 0]
    assert clock.now == 1020.0


def test_whoever_has_all_replies_waits_no_longer() -> None:
    clock = Clock()
    assert asked(Slow(clock, lambda _: 3.0, nodes=3), 3, timeout=500, pace=clock.pace()) == [0, 1, 2]
    assert clock.now == 1004.0


def test_the_last_sleep_ends_with_the_deadline() -> None:
    clock = Clock()
    assert asked(Slow(clock, lambda _: 5.0, nodes=1), 1, timeout=5, pace=clock.pace(poll=60.0)) == []
    assert clock.slept == [5.0]


def test_a_batch_at_a_time_is_asked_for_and_held_however_many_nodes_there_are() -> None:
    clock = Clock()
    grid = Slow(clock, lambda _: 0.0, nodes=100)
    assert asked(grid, 100, timeout=10, pace=clock.pace()) == list(range(100))
    assert max(grid.pulled) == grid.most_held == module._BATCH
    assert not clock.slept


def test_silent_nodes_of_a_batch_do_not_hold_up_the_next_ones() -> None:
    clock = Clock()
    grid = Slow(clock, lambda node: 1e9 if node < 40 else 0.0, nodes=60)
    assert asked(grid, 60, timeout=6, pace=clock.pace()) == list(range(40, 60))


def test_one_that_stops_listening_leaves_the_rest_unread() -> None:
    clock = Clock()
    grid = Slow(clock, lambda _: 0.0, nodes=50)
    for place, _ in Exchange(grid, clock.pace()).ask(messages(50), timeout=10):
        if place == 2:
            break
    assert len(grid.pulled) <= 3


class Choosy(Slow):
    """A SuperLink that takes no message for odd nodes: they are gone."""

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = super().push_messages(messages)
        return ["" if number % 2 else message_id for number, message_id in enumerate(ids)]


class Full(Slow):
    """A SuperLink that finds a request too large and takes nothing of it."""

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        list(messages)
        return []


def test_a_message_that_was_not_taken_is_told() -> None:
    clock = Clock()
    found = list(Exchange(Choosy(clock, lambda _: 0.0, nodes=4), clock.pace()).ask(messages(4), timeout=5))
    assert [(place, reply is None) for place, reply in found] == [(1, True), (3, True), (0, False), (2, False)]
    everything = list(Exchange(Full(clock, lambda _: 0.0, nodes=3), clock.pace()).ask(messages(3), timeout=5))
    assert everything == [(0, None), (1, None), (2, None)]


def test_what_nobody_asked_for_is_forgotten_with_the_next_round() -> None:
    clock = Clock()
    grid = Slow(clock, lambda _: 1e9, nodes=30)
    asked(grid, 30, timeout=1, pace=clock.pace())
    assert len(grid._waiting) == 30
    grid.push_messages([Message(RecordDict(), 2, "train", group_id="2")])
    assert len(grid._waiting) == 1
