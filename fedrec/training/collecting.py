"""Asking a cohort and adding up what is sound: one attempt at one round."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

from fedrec.errors import OverNormError, UnsafeUpdateError
from fedrec.model.layout import FlatAdapter
from fedrec.privacy.accounting import Spending, spending_by_client
from fedrec.privacy.budget import Budget
from fedrec.privacy.plan import GaussianSpend, PrivacyPlan
from fedrec.privacy.statement import composed_epsilon
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
class Collected:
    """What came of asking a cohort.

    total: of the sound replies. spent: clients that are charged. interrupted: client and
    number of each attempt that it paid for and that gave nothing. replies: a hash of each
    counted one that was noised by its client, an empty text for any other.
    """

    round: int
    token: str
    cohort: Sequence[int]
    total: UpdateSum
    failures: Counter[str]
    spent: Sequence[int]
    interrupted: Sequence[tuple[int, int]]
    replies: Mapping[int, str]


def ask(
    engine: Engine, instruction: Instruction, cohort: Sequence[int], *, total: UpdateSum, timeout: float
) -> Collected:
    """Collect the replies of a cohort into `total`; no reply, however odd, stops the others."""
    failures: Counter[str] = Counter()
    spent = set(cohort)
    answered: set[int] = set()
    interrupted: list[tuple[int, int]] = []
    replies: dict[int, str] = {}
    for reply in engine.collect(instruction, cohort, timeout=timeout):
        code = _take(reply, total, answered, spent)
        if not code and reply.update is not None:
            replies[reply.client] = _digest(reply.update, instruction.plan)
        failures.update([code] if code else [])
        if reply.client in spent and code != "duplicate":
            interrupted += [(reply.client, attempt) for attempt in range(1, _believable(reply, instruction.plan))]
        if code in UNSPENT_CODES and not reply.attempts:
            spent.discard(reply.client)
    if silent := len(cohort) - len(answered):
        failures["timeout"] = silent
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


def draw_cohort(eligible: Sequence[int], *, size: int, seed: int, labels: Sequence[object]) -> list[int]:
    """A cohort without repetition, of `size` where so many are eligible."""
    if not len(eligible):
        return []
    generator = np.random.default_rng(draw_seed(seed, *labels))
    chosen = generator.choice(np.array(eligible, dtype=np.int64), size=min(size, len(eligible)), replace=False)
    return [int(client) for client in chosen]


def draw_seed(seed: int, *labels: object) -> int:
    """A seed for everything that is public about a round."""
    digest = hashlib.sha256("\x1f".join(map(str, (seed, *labels))).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def eligible(
    clients: Sequence[int], plan: PrivacyPlan | None, entries: Sequence[Mapping[str, Any]], *, round_number: int
) -> list[int]:
    """The clients that cap and separation leave, by the server's own count.

    That count also catches a device that was restored from a backup and forgot what it spent.
    """
    if plan is None:
        return list(clients)
    taken: Counter[int] = Counter()
    last: dict[int, int] = {}
    for entry in entries:
        if entry["kind"] == "update":
            taken.update(entry["participants"])
            last.update(dict.fromkeys(entry["participants"], entry["round"]))
    rests = plan.limits.separation if plan.limits.separation > 1 else 0
    return [
        client
        for client in clients
        if taken[client] < plan.limits.cap and round_number - last.get(client, round_number - rests) >= rests
    ]


def within_budget(
    clients: Sequence[int], entries: Sequence[dict[str, Any]], more: Sequence[GaussianSpend], budget: Budget
) -> list[int]:
    """The clients whose lifetime budget has room for `more`, by the server's own count."""
    spent = spending_by_client(entries)

    @cache
    def fits(spending: Spending) -> bool:
        spends = [spend for spend, count in spending for _ in range(count)]
        return budget.room_for([*spends, *more], epsilon_of=composed_epsilon)

    return [client for client in clients if fits(spent.get(client, ()))]


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
