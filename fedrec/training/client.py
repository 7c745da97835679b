"""A client's side of a round: check, pay, train, keep the reply, answer.

The client's ledger is the authority on what this client has spent. A reply is stored
before it is sent: asked again for the same round it is re-sent byte for byte and counts
once. Training that was interrupted after it was paid for is paid for again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.config import TrainingConfig
from fedrec.data.sequences import Floats, Ints
from fedrec.errors import BudgetError, FedrecError, RefusedError
from fedrec.model.layout import FlatAdapter, require_layout
from fedrec.privacy.budget import Budget, EpsilonOf
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.randomness import RandomSource
from fedrec.privacy.spends import Spend
from fedrec.training.blocks import Block, Task, blocks_of
from fedrec.training.client_records import ClientRecords
from fedrec.training.contribution import clipped_update, popularity_vector
from fedrec.training.examples import Example
from fedrec.training.learner import Learner, LocalTask

# Far above any adapter that was trained, far below what makes float32 overflow.
_LARGEST_ENTRY = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What the server sends: everything in it is public.

    token: names this attempt at this round; a stored reply is found by it. run: tells the
    rounds of one run, whose noise may be correlated, from those of another.
    plan: what the server believes the client will do; the client holds its own.
    task: what the reply's vector is. prior: (N,) log popularity where one was released.
    """

    run: str
    round: int
    token: str
    adapter: FlatAdapter
    layout: str
    plan: PrivacyPlan | None
    negatives_seed: int
    task: Task = "update"
    prior: Floats | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """What several clients answer at once: a row of `updates` (C, P) each. attempts: (C,), see `Reply`."""

    clients: Ints
    updates: npt.NDArray[np.float32]
    attempts: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client: its examples, its own privacy plan and budget, and its records.

    examples: made when asked for. source_for: the randomness of a round, used in `local`
    mode. epsilon_of: of a list of spends, asked for by the budget. now: UTC seconds.
    """

    id: int
    learner: Learner
    training: TrainingConfig
    examples: Callable[[], Sequence[Example]]
    plan: PrivacyPlan | None
    source_for: Callable[[int], RandomSource]
    records: ClientRecords
    epsilon_of: EpsilonOf
    budget: Budget | None = None
    now: Callable[[], float] = time.time

    def reply(self, instruction: Instruction) -> Reply:
        """Take part in a round.

        Raises RefusedError, BudgetError or LayoutError where it must not take part and has
        spent nothing on this round; a fault after spending is a reply without an update.
        """
        self.require_sound(instruction)
        if self.plan is not None and self.plan.secure_sum is not None:
            raise RefusedError("The server asks for an update in clear. This client takes part under masks alone.")
        if self.plan is None:
            return Reply(client=self.id, update=self.learner.update(self.examples(), _task(instruction), self.training))
        if stored := self.records.reply(instruction.token):
            return Reply(client=self.id, update=stored[0], attempts=stored[1])
        source = self.source_for(instruction.round) if self.plan.mode == "local" else None
        try:
            attempts = self.pay(instruction, guarantee=source.guarantee if source else None)
            update = self.contribution(instruction, source)
            self.records.keep(instruction.token, update, attempts=attempts)
        except FedrecError as error:
            # What was paid for is told even when nothing comes of it, so that the server charges it too.
            if attempts := self.attempts(instruction.token):
                return Reply(client=self.id, code=error.code, attempts=attempts)
            raise
        return Reply(client=self.id, update=update, attempts=attempts)

    def require_willing(self, instruction: Instruction) -> None:
        """Refuse, before it trains, a round that it would not pay for."""
        require_layout(self.learner.layout.hash, instruction.layout)
        if instruction.plan != self.plan:
            raise RefusedError("The server's privacy plan is not the one that this client agreed to. Ask the operator.")
        if self.plan is not None:
            spends = [block.spend for block in self._blocks(self.plan, instruction.task)]
            self._require_room(self.plan, instruction, self.records.spent(), spends)

    def require_sound(self, instruction: Instruction) -> None:
        """Refuse, before anything is paid for it, what the server alone decides."""
        require_sound(instruction, self.plan, self.learner)

    def contribution(self, instruction: Instruction, source: RandomSource | None) -> FlatAdapter:
        """What is sent; as if without data where making it fails, as the kind of a fault could tell of the data."""
        try:
            return self._vector(instruction, source, self.examples())
        except Exception:
            return self._vector(instruction, source, [])

    def _vector(
        self, instruction: Instruction, source: RandomSource | None, examples: Sequence[Example]
    ) -> FlatAdapter:
        plan, task = self._own_plan(), _task(instruction)
        if instruction.task == "popularity" and plan.popularity:
            return popularity_vector(examples, catalogue=self.learner.catalogue_size, items=plan.popularity.items)
        if plan.mode == "local":
            return self.learner.update(examples, task, self.training, plan=plan, source=source)
        return clipped_update(self.learner, examples, task, self.training, plan)

    def attempts(self, token: str) -> int:
        """How often an attempt at a round was paid for."""
        return len([event for event in self.records.spent() if event["token"] == token and event["kind"] != "metrics"])

    def pay(self, instruction: Instruction, *, guarantee: bool | None) -> int:
        """Write what this participation spends, and return which attempt at this round it is."""
        plan = self._own_plan()
        blocks = self._blocks(plan, instruction.task)
        with self.records.open_ledger() as ledger:
            entries = ledger.entries
            self._require_room(plan, instruction, entries, [block.spend for block in blocks])
            attempts = 1 + len([e for e in entries if e["token"] == instruction.token and e["kind"] == blocks[0].kind])
            if attempts > 1 and plan.secure_sum is not None:
                # Other words under the masks of the first would lay both open.
                raise RefusedError("This client masked an input in this round already. It stays out of this round.")
            for block in blocks:
                ledger.append(
                    {
                        **plan.event(block.spend, kind=block.kind, clip_norm=block.clip_norm),
                        "run": instruction.run,
                        "round": instruction.round,
                        "token": instruction.token,
                        "attempt": attempts,
                        "guarantee": guarantee,
                        "time": int(self.now()),
                        "bytes": 4 * block.size,
                    }
                )
        return attempts

    def _own_plan(self) -> PrivacyPlan:
        if self.plan is None:
            raise RefusedError("Without a privacy plan nothing is paid for.")
        return self.plan

    def _blocks(self, plan: PrivacyPlan, task: Task) -> list[Block]:
        size = self.learner.catalogue_size if task == "popularity" else self.learner.layout.size
        return blocks_of(plan, task, size=size)

    def _require_room(
        self,
        plan: PrivacyPlan,
        instruction: Instruction,
        entries: Sequence[Mapping[str, Any]],
        spends: Sequence[Spend],
    ) -> None:
        """Raise BudgetError unless cap, separation, rate limits and lifetime budget all allow it."""
        taken = [entry for entry in entries if entry["kind"] == instruction.task]
        cap = plan.limits.cap if instruction.task == "update" else 1
        if len(taken) >= cap:
            raise BudgetError(f"This client has taken part {len(taken)} times, its cap. It takes part no more.")
        rounds = [entry["round"] for entry in taken if entry["run"] == instruction.run]
        rests = plan.limits.separation
        if rests > 1 and any(abs(instruction.round - each) < rests for each in rounds):
            raise BudgetError(f"This client takes part every {rests} rounds at most. Ask it again later.")
        if self.budget:
            self.budget.require_room(entries, spends, now=self.now(), epsilon_of=self.epsilon_of)


def _task(instruction: Instruction) -> LocalTask:
    return LocalTask(adapter=instruction.adapter, negatives_seed=instruction.negatives_seed)


def require_sound(instruction: Instruction, plan: PrivacyPlan | None, learner: Learner) -> None:
    """Refuse what no client of this plan answers, and take over the prior that the others come with."""
    require_layout(learner.layout.hash, instruction.layout)
    if instruction.plan != plan:
        raise RefusedError("The server's privacy plan is not the one that this client agreed to. Ask the operator.")
    noised = plan is not None and plan.mode == "central"  # by the server, which local mode has not
    if instruction.task == "popularity" and not (noised and plan and plan.popularity):
        raise RefusedError("The server asks for a popularity release that is not in the plan. Ask the operator.")
    if np.abs(learner.layout.fitting(instruction.adapter)).max(initial=0.0) > _LARGEST_ENTRY:
        raise RefusedError(f"The server's adapter has entries over {_LARGEST_ENTRY:g}. Ask the operator.")
    if instruction.prior is not None:
        learner.set_prior(instruction.prior)
