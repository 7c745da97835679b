"""Asking a cohort and adding up what is sound: one attempt at one round."""

import hashlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from fedrec.errors import OverNormError, UnsafeUpdateError
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.aggregation import UpdateSum
from fedrec.training.client import Instruction, Reply

# A client that says so has spent nothing; any other silence may have been paid for.
UNSPENT_CODES = frozenset({"BudgetError", "RefusedError", "LayoutError"})


class Engine(Protocol):
    """How clients are reached: a loop in this process, or Flower."""

    def clients(self) -> Sequence[int]:
        """Who can be drawn."""
        ...

    def collect(self, instruction: Instruction, cohort: Sequence[int], *, timeout: float) -> Iterable[Reply]:
        """The replies of a cohort, in its order where the engine has one; late ones are left out."""
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
    failures: Counter[str] = Counter()
    spent = set(cohort)
    answered: set[int] = set()
    interrupted: list[tuple[int, int]] = []
    replies: dict[int, str] = {}
    with _heard(engine.collect(instruction, cohort, timeout=until.timeout)) as heard:
        for reply in heard:
            code = _take(reply, total, answered, spent)
            if not code and reply.update is not None:
                replies[reply.client] = _digest(reply.update, instruction.plan)
            if code:
                failures[code] += 1
            if reply.attempts > 1 and reply.client in spent and code != "duplicate":
                interrupted += [(reply.client, attempt) for attempt in range(1, _believable(reply, instruction.plan))]
            if code in UNSPENT_CODES and not reply.attempts:
                spent.discard(reply.client)
            if total.count >= until.enough:
                break
    if silent := len(cohort) - len(answered):
        failures["not_needed" if total.count >= until.enough else "timeout"] = silent
    if total.empty_groups:
        failures["empty_group"] = total.empty_groups
    return Collected(
        round=instruction.round,
        token=instruction.token,
        cohort=cohort,
        total=total,
        failures=failures,
        spent=sorted(spent),
        interrupted=interrupted,
        replies=replies,
    )


@contextmanager
def _heard(replies: Iterable[Reply]) -> Iterator[Iterable[Reply]]:
    """The replies; who hands them on is told at once when nobody listens any more."""
    try:
        yield replies
    finally:
        if isinstance(replies, Generator):
            replies.close()


def _believable(reply: Reply, plan: PrivacyPlan | None) -> int:
    """The attempts that a reply claims, at most what an honest client would make."""
    return min(reply.attempts, plan.limits.cap) if plan else 0


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
