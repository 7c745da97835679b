"""The rounds of a run, the same under every engine.

draw the cohort -> ask -> sum what is sound -> write the ledger -> step -> publish -> commit.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fedrec.config import FederationConfig
from fedrec.errors import UnsafeUpdateError, VerificationError
from fedrec.privacy.accounting import spending_by_client, worst_epsilon
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.aggregation import ServerState, UpdateSum
from fedrec.training.client import Instruction, Reply
from fedrec.training.run_folder import RunFolder

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
class Recipe:
    """What the server holds constant over a run.

    run_id: tells this run's rounds from any other's. guarantee: whether noise is secret.
    """

    federation: FederationConfig
    plan: PrivacyPlan | None
    layout: str
    run_id: str
    seed: int
    guarantee: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a run does around its rounds.

    measure: validation metrics of a state, or None when none are due. publish: writes a
    release of a state. report: told every record.
    """

    measure: Callable[[ServerState], dict[str, Any] | None]
    publish: Callable[[ServerState, str], None]
    report: Callable[[dict[str, Any]], None]


def run_rounds(folder: RunFolder, engine: Engine, recipe: Recipe, start: ServerState, hooks: Hooks) -> ServerState:
    """Run, or go on with, all rounds of a recipe; returns the final state."""
    state = folder.state() or start
    with Ledger(folder.ledger) as ledger:
        _require_whole(ledger, folder)
        while state.round < recipe.federation.rounds:
            began = time.monotonic()
            outcome = _ask(folder, engine, recipe, state, ledger)
            _pay(ledger, recipe, outcome)
            state, norm = _step(state, outcome, recipe.federation)
            if state.round % recipe.federation.release_every == 0 or state.round == recipe.federation.rounds:
                hooks.publish(state, ledger.head)
            record = {
                "round": state.round,
                "asked": len(outcome.cohort),
                "replies": outcome.total.count,
                "failures": dict(outcome.failures),
                "update_norm": norm,
                "seconds": time.monotonic() - began,
                "epsilon": _epsilon(ledger, recipe.plan),
                "ledger_head": ledger.head,
                "guarantee": recipe.plan is not None and recipe.guarantee,
                "validation": hooks.measure(state),
            }
            folder.commit(state, record)
            hooks.report(record)
    return state


def _require_whole(ledger: Ledger, folder: RunFolder) -> None:
    """Raise VerificationError if the ledger lacks what it held when the last round was finished."""
    records = folder.rounds()
    if records and records[-1]["ledger_head"] not in ledger.hashes:
        raise VerificationError(
            f"{folder.ledger} lacks what round {records[-1]['round']} paid: entries were cut off. "
            "Restore the ledger from a copy; this run cannot go on without it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    round: int
    token: str
    cohort: Sequence[int]
    total: UpdateSum
    failures: Counter[str]
    spent: Sequence[int]
    interrupted: Sequence[tuple[int, int]]
    replies: Mapping[int, str]


def _ask(folder: RunFolder, engine: Engine, recipe: Recipe, state: ServerState, ledger: Ledger) -> _Outcome:
    number = state.round + 1
    pending = folder.pending(number)
    if pending is None:
        cohort = _draw(recipe, number, _eligible(engine.clients(), recipe.plan, ledger))
        pending = {"round": number, "token": _token(recipe, number), "cohort": cohort}
        folder.begin(pending)
    instruction = Instruction(
        round=number,
        token=pending["token"],
        adapter=state.adapter,
        layout=recipe.layout,
        plan=recipe.plan,
        negatives_seed=_draw_seed(recipe.seed, "negatives", number),
    )
    total = UpdateSum(len(state.adapter))
    failures: Counter[str] = Counter()
    spent = set(pending["cohort"])
    answered: set[int] = set()
    interrupted: list[tuple[int, int]] = []
    replies: dict[int, str] = {}
    for reply in engine.collect(instruction, pending["cohort"], timeout=recipe.federation.timeout):
        code = _take(reply, total, answered, spent)
        if not code and reply.update is not None:
            replies[reply.client] = hashlib.sha256(reply.update.tobytes()).hexdigest()[:16]
        failures.update([code] if code else [])
        if reply.client in spent and code != "duplicate":
            interrupted += [(reply.client, attempt) for attempt in range(1, _believable(reply, recipe.plan))]
        if code in UNSPENT_CODES and not reply.attempts:
            spent.discard(reply.client)
    silent = len(pending["cohort"]) - len(answered)
    if silent:
        failures["timeout"] = silent
    return _Outcome(
        round=number,
        token=pending["token"],
        cohort=pending["cohort"],
        total=total,
        failures=failures,
        spent=sorted(spent),
        interrupted=interrupted,
        replies=replies,
    )


def _believable(reply: Reply, plan: PrivacyPlan | None) -> int:
    """The attempts that a reply claims, at most what an honest client would make."""
    return min(reply.attempts, plan.participation_cap) if plan else 0


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
        total.add(reply.update)
    except UnsafeUpdateError:
        return "unsound"
    return ""


def _pay(ledger: Ledger, recipe: Recipe, outcome: _Outcome) -> None:
    """Write what the round spent, once per token, and each attempt that an interruption wasted."""
    if recipe.plan is None:
        return
    event = {
        **recipe.plan.participation.as_event(),
        "unit": recipe.plan.unit,
        "clip_norm": recipe.plan.clip_norm,
        "round": outcome.round,
        "token": outcome.token,
        "guarantee": recipe.guarantee,
    }
    written = {(entry["token"], entry.get("client"), entry.get("attempt")) for entry in ledger.entries}
    for client, attempt in outcome.interrupted:
        if (outcome.token, client, attempt) not in written:
            ledger.append(
                {
                    **event,
                    "participants": [client],
                    "client": client,
                    "attempt": attempt,
                    "released": "nothing: interrupted",
                }
            )
    rounds = [entry for entry in ledger.entries if entry["token"] == outcome.token and "attempt" not in entry]
    charged = {client for entry in rounds for client in entry["participants"]}
    seen = {(int(client), digest) for entry in rounds for client, digest in entry["replies"].items()}
    told = {client for client, _ in seen} & outcome.replies.keys()
    # A client that refused before an interruption may have taken part after it; and another reply
    # to the same round is other noise, as from a client that lost what it had stored.
    owing = [
        client
        for client in outcome.spent
        if client not in charged or (client in told and (client, outcome.replies.get(client)) not in seen)
    ]
    if owing or not rounds:
        replies = {str(client): digest for client, digest in outcome.replies.items() if client in owing}
        released = f"adapter of round {outcome.round}"
        ledger.append({**event, "participants": owing, "replies": replies, "released": released})


def _epsilon(ledger: Ledger, plan: PrivacyPlan | None) -> float | None:
    """What the client that spent most has spent so far."""
    if plan is None:
        return None
    return worst_epsilon(spending_by_client(ledger.entries).values(), delta=plan.delta)


def _step(state: ServerState, outcome: _Outcome, federation: FederationConfig) -> tuple[ServerState, float]:
    if outcome.total.count < federation.min_replies:
        return state.skip(), 0.0
    mean = outcome.total.mean(expected=min(federation.cohort, max(len(outcome.cohort), 1)))
    advanced = state.advance(mean, federation)
    if not np.isfinite(advanced.adapter).all():
        # Finite entries can still overflow together: such a round moves nothing.
        outcome.failures["overflow"] += 1
        return state.skip(), 0.0
    return advanced, float(np.linalg.norm(mean))


def _eligible(clients: Sequence[int], plan: PrivacyPlan | None, ledger: Ledger) -> list[int]:
    if plan is None:
        return list(clients)
    taken = Counter(client for entry in ledger.entries for client in entry["participants"])
    return [client for client in clients if taken[client] < plan.participation_cap]


def _draw(recipe: Recipe, number: int, eligible: Sequence[int]) -> list[int]:
    generator = np.random.default_rng(_draw_seed(recipe.seed, "cohort", number))
    size = min(recipe.federation.cohort, len(eligible))
    return [int(client) for client in generator.choice(np.array(eligible, dtype=np.int64), size=size, replace=False)]


def _draw_seed(seed: int, *labels: object) -> int:
    digest = hashlib.sha256("\x1f".join(map(str, (seed, *labels))).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _token(recipe: Recipe, number: int) -> str:
    return hashlib.sha256(f"{recipe.run_id}|{recipe.layout}|{number}".encode()).hexdigest()[:32]
