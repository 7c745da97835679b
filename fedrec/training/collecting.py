"""Asking a cohort and adding up what is sound: one attempt at one round."""

import hashlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fedrec.data.sequences import Ints
from fedrec.errors import OverNormError, UnsafeUpdateError
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.aggregation import UpdateSum
from fedrec.training.client import Instruction, Replies, Reply

# A client that says so has spent nothing; any other silence may have been paid for.
UNSPENT_CODES = frozenset({"BudgetError", "RefusedError", "LayoutError"})


class Engine(Protocol):
    """How clients are reached: a loop in this process, or Flower."""

    def clients(self, number: int) -> Sequence[int] | Ints:
        """Who can be drawn for the round of a number."""
        ...

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterable[Reply | Replies]:
        """The replies of a cohort, one by one or many at once; late ones are left out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An attempt at a round as its ledger is charged for it.

    spent: clients that are charged. interrupted: client and number of each attempt that it paid for
    and that gave nothing. replies: a hash of each counted one that was noised by its client, an
    empty text for any other.
    """

    round: int
    token: str
    cohort: Sequence[int]
    spent: Sequence[int]
    interrupted: Sequence[tuple[int, int]]
    replies: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected(Asked):
    """What came of asking a cohort. total: of the sound replies."""

    total: UpdateSum
    failures: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """When a round stops listening: after `timeout` seconds, or once `enough` sound replies came."""

    timeout: float
    enough: int


def ask(
    engine: Engine, instruction: Instruction, cohort: Sequence[int], *, total: UpdateSum, until: Until
) -> Collected:
    """Collect the replies of a cohort into `total`; no reply, however odd, stops the others.

    Whoever has not replied when enough others have may have paid all the same, and is charged.
    """
    heard = _Heard(instruction=instruction, total=total, spent=set(cohort))
    with closing_replies(engine.collect(instruction, cohort, timeout=until.timeout)) as replies:
        for reply in replies:
            if isinstance(reply, Replies):
                heard.take_all(reply, most=until.enough - total.count)
            else:
                heard.take(reply)
            if total.count >= until.enough:
                break
    if silent := len(cohort) - len(heard.answered):
        heard.failures["not_needed" if total.count >= until.enough else "timeout"] = silent
    if total.empty_groups:
        heard.failures["empty_group"] = total.empty_groups
    return Collected(
        round=instruction.round,
        token=instruction.token,
        cohort=cohort,
        total=total,
        failures=heard.failures,
        spent=sorted(heard.spent),
        interrupted=heard.interrupted,
        replies=heard.replies,
    )


@dataclass(slots=True, kw_only=True)
class _Heard:
    """What came so far. spent: who may have paid."""

    instruction: Instruction
    total: UpdateSum
    spent: set[int]
    answered: set[int] = field(default_factory=set)
    failures: Counter[str] = field(default_factory=Counter)
    interrupted: list[tuple[int, int]] = field(default_factory=list)
    replies: dict[int, str] = field(default_factory=dict)

    def take(self, reply: Reply) -> None:
        """Add a sound reply, and note what any other says."""
        code = _take(reply, self.total, self.answered, self.spent)
        if not code and reply.update is not None:
            self.replies[reply.client] = _digest(reply.update, self.instruction.plan)
        if code:
            self.failures[code] += 1
        if reply.client in self.spent and code != "duplicate":
            self._note_attempts(reply.client, reply.attempts)
        if code in UNSPENT_CODES and not reply.attempts:
            self.spent.discard(reply.client)

    def take_all(self, many: Replies, *, most: int) -> None:
        """Add the sound ones of the first `most` replies; whoever is not among these is not heard."""
        clients, updates, attempts = many.clients[:most], many.updates[:most], many.attempts[:most]
        new = [client in self.spent and client not in self.answered for client in clients.tolist()]
        if not all(new):
            clients, updates, attempts = clients[new], updates[new], attempts[new]
        sound = self.total.add_all(updates, clients=clients)
        self.answered.update(clients.tolist())
        if lost := int((~sound).sum()):
            self.failures["unsound"] += lost
        for place in np.flatnonzero(attempts > 1).tolist():
            self._note_attempts(int(clients[place]), int(attempts[place]))
        plan = self.instruction.plan
        for place in np.flatnonzero(sound).tolist():
            self.replies[int(clients[place])] = _digest(updates[place], plan)

    def _note_attempts(self, client: int, attempts: int) -> None:
        if attempts > 1:
            believed = _believable(attempts, self.instruction.plan)
            self.interrupted += [(client, attempt) for attempt in range(1, believed)]


@contextmanager
def closing_replies(replies: Iterable[Reply | Replies]) -> Iterator[Iterable[Reply | Replies]]:
    """The replies; who hands them on is told at once when nobody listens any more."""
    try:
        yield replies
    finally:
        if isinstance(replies, Generator):
            replies.close()


def _believable(attempts: int, plan: PrivacyPlan | None) -> int:
    """The attempts that a reply claims, at most what an honest client would make."""
    return min(attempts, plan.limits.cap) if plan else 0


def _digest(update: FlatAdapter, plan: PrivacyPlan | None) -> str:
    """Tells one noised reply from another; of an update without noise even a hash would tell."""
    if plan is None or plan.mode != "local":
        return ""
    return hashlib.sha256(update.tobytes()).hexdigest()[:16]


def _take(reply: Reply, total: UpdateSum, answered: set[int], asked: Iterable[int]) -> str:
    """Add a sound reply; returns a code for one that is not counted."""
    if reply.client not in asked:
        return "not_asked"
    if reply.client in answered:
        return "duplicate"
    answered.add(reply.client)
    if reply.update is None:
        return reply.code or "empty"
    if reply.code:
        return "contradictory"
    try:
        total.add(reply.update, client=reply.client)
    except OverNormError:
        return "over_norm"
    except UnsafeUpdateError:
        return "unsound"
    return ""
