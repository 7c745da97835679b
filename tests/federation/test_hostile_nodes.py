"""Nodes that answer twice, late, for others, or what nobody asked: a round has one update of each client it asked."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.federation.grid_engine import GridEngine
from fedrec.federation.handlers import build_client_app
from fedrec.federation.identified_nodes import IdentifiedNodes
from fedrec.federation.local_grid import LocalGrid
from fedrec.federation.messages import TRAIN, pack_reply
from fedrec.training.aggregation import UpdateSum
from fedrec.training.client import Instruction, Reply
from fedrec.training.collecting import Collected, Until, ask
from tests.federation.test_grid_engine import Scripted, an_instruction

SIZE = 5
CLIENTS = 4
# Turns the replies that are there into those that a hostile part of the network delivers.
Delivery = Callable[[list[Message], list[Message]], Iterable[Message]]


class Delivering(LocalGrid):
    """A grid whose replies pass through `deliver`, together with all that was ever replied."""

    def __init__(self, app: ClientApp, deliver: Delivery) -> None:
        super().__init__(app, clients=CLIENTS)
        self._deliver = deliver
        self.sent: list[Message] = []
        self.asked: Counter[int] = Counter()

    def push_messages(self, messages: Iterable[Message]) -> Sequence[str]:
        given = list(messages)
        self.asked.update(message.metadata.dst_node_id for message in given if message.metadata.message_type == TRAIN)
        return super().push_messages(given)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = list(super().pull_messages(message_ids))
        if not replies or replies[0].metadata.message_type != TRAIN:
            return replies
        delivered = list(self._deliver(replies, self.sent))
        self.sent += replies
        return delivered


def rounds(deliver: Delivery, *, count: int = 2, timeout: float = 10) -> tuple[list[Collected], Delivering]:
    """What comes of rounds in which every client replies with its number plus one and the round's."""

    def client_of(context: Any) -> Any:
        number = int(context.node_config["partition-id"])

        def reply(instruction: Instruction) -> Reply:
            return Reply(client=-1, update=np.full(SIZE, 1 + number + 10 * instruction.round, np.float32), attempts=1)

        return Scripted(reply)

    grid = Delivering(build_client_app(client_of), deliver)
    engine = GridEngine(grid, IdentifiedNodes(grid, clients=CLIENTS, timeout=5))
    collected = []
    for number in range(count):
        total = UpdateSum(SIZE)
        instruction = an_instruction(round=number, token=f"token {number}", plan=None)
        until = Until(timeout=timeout, enough=CLIENTS)
        collected.append(ask(engine, instruction, range(CLIENTS), total=total, until=until))
    return collected, grid


def sums(collected: Iterable[Collected]) -> list[float]:
    return [float(each.total.value[0]) for each in collected]


HONEST = [1.0 + 2 + 3 + 4, 11.0 + 12 + 13 + 14]


def about(message: Message, *, question: str | None = None, node: int | None = None) -> Message:
    """The same reply with another claim about what it answers, or who it is."""
    copy = Message(message.content, reply_to=Message(RecordDict(), message.metadata.src_node_id, TRAIN))
    copy.metadata.__dict__.update(message.metadata.__dict__)
    if question is not None:
        copy.metadata.__dict__["_reply_to_message_id"] = question
    if node is not None:
        copy.metadata.__dict__["_src_node_id"] = node
    return copy


def poisoned(message: Message) -> Message:
    """An answer to the same question, by the same node, with other numbers."""
    other = about(message)
    other.content = pack_reply(Reply(client=0, update=np.full(SIZE, 1e6, np.float32), attempts=1))
    return other


HOSTILE: dict[str, Delivery] = {
    "honest": lambda now, _: now,
    "each reply twice": lambda now, _: now + now,
    "each reply a thousand times": lambda now, _: now * 1000,
    "all of the last round again": lambda now, before: before + now,
    "a second answer of the same node": lambda now, _: [*now, *map(poisoned, now)],
    "an answer to a question that nobody asked": lambda now, _: [*(about(each, question="none") for each in now), *now],
    "an answer to no question": lambda now, _: [*(about(each, question="") for each in now), *now],
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_replayed_or_repeated_reply_counts_once_in_its_own_round(hostile: str) -> None:
    collected, _ = rounds(HOSTILE[hostile])
    assert sums(collected) == HONEST
    assert [each.total.count for each in collected] == [CLIENTS, CLIENTS]
    assert [dict(each.failures) for each in collected] == [{}, {}]


def test_an_answer_for_another_node_counts_for_nobody() -> None:
    def impersonate(now: list[Message], _: list[Message]) -> Iterable[Message]:
        return [about(each, node=9) if each.metadata.src_node_id == 2 else each for each in now]

    (first,), _ = rounds(impersonate, count=1)
    assert sums([first]) == [HONEST[0] - 1]
    assert dict(first.failures) == {"malformed": 1}


def test_a_node_gets_one_message_a_round_however_often_it_answers() -> None:
    _, grid = rounds(HOSTILE["each reply a thousand times"], count=3)
    assert set(grid.asked.values()) == {3}


def test_silence_of_a_few_is_a_code_and_the_round_ends() -> None:
    (first,), _ = rounds(lambda now, _: [each for each in now if each.metadata.src_node_id != 3], count=1, timeout=0.5)
    assert dict(first.failures) == {"timeout": 1}
    assert sums([first]) == [HONEST[0] - 2]
