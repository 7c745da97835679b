"""A client's side of a round: check, pay, train, keep the reply, answer.

The client's ledger is the authority on what this client has spent. A reply is stored
before it is sent: asked again for the same round it is re-sent byte for byte and counts
once. Training that was interrupted after it was paid for is paid for again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrec.config import TrainingConfig
from fedrec.errors import BudgetError, FedrecError, RefusedError
from fedrec.files import write_atomically
from fedrec.model.adapter import AdaptedModel, FlatAdapter, require_layout
from fedrec.privacy.ledger import Ledger, read_events
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.training.examples import Example
from fedrec.training.local import LocalTask, local_update

# Far above any adapter that was trained, far below what makes float32 overflow.
_LARGEST_ENTRY = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What the server sends: everything in it is public.

    token: names this round of this run; a stored reply is found by it.
    plan: what the server believes the client will do; the client holds its own.
    """

    round: int
    token: str
    adapter: FlatAdapter
    layout: str
    plan: PrivacyPlan | None
    negatives_seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a client answers: one vector of fixed size, or a code that says why not.

    attempts: how often this round's noise was paid for (over 1 after an interruption).
    Neither field depends on what people did.
    """

    client: int
    update: FlatAdapter | None = None
    code: str = ""
    attempts: int = 0


class ClientStore:
    """What a client keeps between rounds: its ledger and its last noised reply."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger.jsonl"
        self._reply = folder / "reply.bin"

    def reply(self, token: str) -> tuple[FlatAdapter, int] | None:
        """The stored update for a round and its attempts, if that round was answered."""
        if not self._reply.exists():
            return None
        head, _, body = self._reply.read_bytes().partition(b"\n")
        about = json.loads(head)
        return (np.frombuffer(body, dtype="<f4"), about["attempts"]) if about["token"] == token else None

    def keep(self, token: str, update: FlatAdapter, *, attempts: int) -> None:
        """Put a reply on the disk before it is sent."""
        head = json.dumps({"token": token, "attempts": attempts}).encode()
        write_atomically(self._reply, head + b"\n" + update.astype("<f4").tobytes(), mode=0o600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client: its examples, its own privacy plan, and its store.

    examples: made when asked for. source_for: the randomness of a round. store: only a
    client that pays for noise needs one.
    """

    id: int
    model: AdaptedModel
    training: TrainingConfig
    examples: Callable[[], Sequence[Example]]
    plan: PrivacyPlan | None
    source_for: Callable[[int], RandomSource]
    store: ClientStore

    def reply(self, instruction: Instruction) -> Reply:
        """Take part in a round.

        Raises RefusedError, BudgetError or LayoutError where it must not take part and has
        spent nothing on this round; a fault after spending is a reply without an update.
        """
        require_layout(self.model.layout.hash, instruction.layout)
        if instruction.plan != self.plan:
            raise RefusedError("The server's privacy plan is not the one that this client agreed to. Ask the operator.")
        # What the server alone decides is refused before anything is paid for it.
        self.model.load(instruction.adapter)
        if np.abs(instruction.adapter).max(initial=0.0) > _LARGEST_ENTRY:
            raise RefusedError(f"The server's adapter has entries over {_LARGEST_ENTRY:g}. Ask the operator.")
        task = LocalTask(adapter=instruction.adapter, negatives_seed=instruction.negatives_seed)
        if self.plan is None:
            return Reply(client=self.id, update=local_update(self.model, self.examples(), task, self.training))
        if stored := self.store.reply(instruction.token):
            return Reply(client=self.id, update=stored[0], attempts=stored[1])
        source = self.source_for(instruction.round)
        try:
            attempts = self._pay(self.plan, instruction, guarantee=source.guarantee)
            update = self._private_update(task, self.plan, source)
        except FedrecError as error:
            # What was paid for is told even when nothing comes of it, so that the server charges it too.
            if attempts := self._attempts(instruction.token):
                return Reply(client=self.id, code=type(error).__name__, attempts=attempts)
            raise
        self.store.keep(instruction.token, update, attempts=attempts)
        return Reply(client=self.id, update=update, attempts=attempts)

    def _private_update(self, task: LocalTask, plan: PrivacyPlan, source: RandomSource) -> FlatAdapter:
        """The noised update; noise alone where training fails, as the kind of a fault could tell of the data."""
        try:
            return local_update(self.model, self.examples(), task, self.training, plan=plan, source=source)
        except Exception:
            return local_update(self.model, [], task, self.training, plan=plan, source=source)

    def _attempts(self, token: str) -> int:
        return len([event for event in read_events(self.store.ledger) if event["token"] == token])

    def _pay(self, plan: PrivacyPlan, instruction: Instruction, *, guarantee: bool) -> int:
        with Ledger(self.store.ledger) as ledger:
            spent = ledger.entries
            if len(spent) >= plan.participation_cap:
                raise BudgetError(f"This client has taken part {len(spent)} times, its cap. It takes part no more.")
            attempts = 1 + len([event for event in spent if event["token"] == instruction.token])
            ledger.append(
                {
                    **plan.participation.as_event(),
                    "unit": plan.unit,
                    "clip_norm": plan.clip_norm,
                    "round": instruction.round,
                    "token": instruction.token,
                    "attempt": attempts,
                    "guarantee": guarantee,
                }
            )
        return attempts
