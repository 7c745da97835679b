"""What the server's benchmark works on: packed replies, and a device that takes part."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedrec.federation.messages import TRAIN, pack_instruction, pack_reply, unpack_reply
from fedrec.model.layout import FlatAdapter
from fedrec.model.linear import released_layout
from fedrec.ondevice.releases import active
from fedrec.privacy.plan import Limits, PrivacyPlan
from fedrec.training.client import Instruction, Reply

PLAN = PrivacyPlan(
    mode="central", unit="USER", clip_norm=0.5, noise_multiplier=2.0, delta=1e-6, limits=Limits(cap=10, rounds=10)
)


def packed_replies(size: int, *, count: int, norm: float = 1.0) -> list[Message]:
    """Different replies as they come off the wire, each update of about this norm."""
    _inside_a_task()
    draw = np.random.default_rng(5)
    updates = (draw.normal(size=(count, size)) * (norm / size**0.5)).astype(np.float32)
    return [Message(pack_reply(Reply(client=0, update=update, attempts=1)), 1, TRAIN) for update in updates]


class Arriving:
    """An engine whose clients' replies come off the wire one after the other, again and again the same ones."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def clients(self) -> Sequence[int]:
        """Nobody is drawn here."""
        return []

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:  # noqa: ARG002
        """One reply of each client, read out of its message as it comes."""
        arriving = islice(cycle(self._messages), len(cohort))
        for client, message in zip(cohort, arriving, strict=True):
            yield unpack_reply(client, message)


class Fresh(Arriving):
    """As above, of one reply that is packed anew for every client, so that nothing of it is there before or after."""

    def __init__(self, update: FlatAdapter) -> None:
        _inside_a_task()
        self._update = update

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterator[Reply]:  # noqa: ARG002
        """One reply of each client."""
        for client in cohort:
            reply = Reply(client=client, update=self._update, attempts=1)
            yield unpack_reply(client, Message(pack_reply(reply), 1, TRAIN))


def an_instruction(size: int, *, plan: PrivacyPlan | None, layout: str = "", number: int = 1) -> Instruction:
    """What a server asks in a round of this number."""
    return Instruction(
        run="bench",
        round=number,
        token=f"round {number}",
        adapter=np.zeros(size, dtype=np.float32),
        layout=layout,
        plan=plan,
        negatives_seed=0,
    )


def questions(device: Path, *, count: int) -> list[Message]:
    """Messages that each ask this device to take part anew."""
    _inside_a_task()
    layout = released_layout(active(device).manifest)
    rounds = [an_instruction(layout.size, plan=PLAN, layout=layout.hash, number=1 + number) for number in range(count)]
    return [Message(pack_instruction(instruction), 1, TRAIN) for instruction in rounds]


def context_of(device: Path) -> Context:
    """The context that a SuperNode of this device hands to its app."""
    return Context(
        run_id=1,
        node_id=1,
        node_config={"device": str(device), "partition-id": 0},
        state=RecordDict(),
        run_config={},
    )


def _inside_a_task() -> None:
    """Flower builds a message only inside a task."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
