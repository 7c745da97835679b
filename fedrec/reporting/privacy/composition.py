"""What a run spent in all, with the runs before it, and what that leaves of its budget."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrec.errors import ConfigError, RefusedError
from fedrec.privacy.accounting import Spending, composed, epsilon_of
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.statement import most_spent, participations
from fedrec.reporting.figures import rounded_down, rounded_up
from fedrec.reporting.privacy.assumptions import secret_noise
from fedrec.reporting.privacy.evidence import Event, Evidence, is_interrupted, read_evidence
from fedrec.reporting.privacy.spending import Spent, together, worst_of

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """A run on the same people, bounded by the most that anybody spent in it in each kind of spend."""

    evidence: Evidence
    spending: Spending

    @property
    def guarantee(self) -> bool:
        """Whether all of its noise was secret."""
        return secret_noise(self.evidence).state == "met"


def earlier_runs(evidence: Evidence, also: Iterable[Path]) -> list[EarlierRun]:
    """The runs that were named, here or in the settings of the run, verified as the run itself is.

    Raises ConfigError for a run that is named twice or has another unit, RefusedError for one
    without noise: nothing bounds the two together.
    """
    plan = evidence.plan
    seen = {evidence.head}
    found = []
    for path in dict.fromkeys([*map(Path, evidence.scenario.budget.earlier_runs), *also]):
        other = read_evidence(path)
        if plan is None or other.plan is None:
            raise RefusedError(f"{path} has no noise, or this run has none: no epsilon bounds the two together.")
        if other.plan.unit != plan.unit:
            raise ConfigError(
                f"{path} protects a {other.plan.unit}, this run a {plan.unit}: their epsilons cannot be added."
            )
        if other.head in seen:
            raise ConfigError(f"{path} has the ledger of a run that is counted already. Name each run once.")
        seen.add(other.head)
        found.append(EarlierRun(evidence=other, spending=composed(most_spent(other.events))))
    return found


def composition(
    evidence: Evidence, plan: PrivacyPlan, spendings: Sequence[Spending], earlier: Sequence[EarlierRun], *, spent: Spent
) -> Facts:
    """Every kind of entry, the earlier runs, and what is spent and left at the run's delta."""
    total = _total(spendings, earlier, delta=plan.delta) if earlier else spent
    return {
        "entries": entry_kinds(evidence.events),
        "counts": _counts(evidence.events),
        "earlier_runs": [_earlier(run, delta=plan.delta) for run in earlier],
        "tuning": (
            "charged only where its runs are named: what is named is in the table of earlier runs"
            if earlier
            else "no run is named: trials with other settings on the same people are not in this epsilon"
        ),
        "spent": {
            "epsilon": rounded_up(total.epsilon.value, 4),
            "replace_one": rounded_up(total.epsilon.replace_one, 4),
            "with_earlier_runs": bool(earlier),
        },
        **_budget(evidence, plan, earlier, spent=total.epsilon.value),
    }


def entry_kinds(events: Iterable[Event]) -> list[Facts]:
    """How many entries of each kind and noise the ledger holds, and how many participations they charge."""
    groups: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for event in events:
        what = f"{event['kind']}, {_outcome(event)}"
        noise = tuple(event[name] for name in ("noise_multiplier", "clip_norm", "sampling_rate", "steps"))
        groups[what, *noise].append(event)
    return [
        {
            "what": what,
            "entries": len(group),
            "charges": sum(len(event["participants"]) for event in group),
            "noise_multiplier": noise,
            "clip_norm": clip_norm,
            "sampling_rate": rate,
            "steps": steps,
        }
        for (what, noise, clip_norm, rate, steps), group in groups.items()
    ]


def _counts(events: Sequence[Event]) -> Facts:
    """How often the ledger was charged for each thing beside the training itself; 0 is told too."""
    return {
        "popularity": sum(event["kind"] == "popularity" for event in events),
        "metrics": sum(event["kind"] == "metrics" for event in events),
        "interrupted": sum("attempt" in event for event in events),
        "dropped": sum(is_interrupted(event) and "attempt" not in event for event in events),
    }


def _outcome(event: Event) -> str:
    if not is_interrupted(event):
        return "released"
    return "interrupted attempt" if "attempt" in event else "nothing released: too few replies"


def _total(spendings: Sequence[Spending], earlier: Sequence[EarlierRun], *, delta: float) -> Spent:
    """Somebody who spent the most in every earlier run, whoever that was, and took part in this one."""
    before = together(run.spending for run in earlier)
    return worst_of([together([before, own]) for own in spendings or [()]], delta=delta)


def _earlier(run: EarlierRun, *, delta: float) -> Facts:
    return {
        "run": run.evidence.path.resolve().name,
        "scenario": run.evidence.scenario.name,
        "ledger_head": run.evidence.head,
        "entries": len(run.evidence.events),
        "epsilon": rounded_up(epsilon_of(run.spending, delta=delta), 4),
        "guarantee": run.guarantee,
    }


def _budget(evidence: Evidence, plan: PrivacyPlan, earlier: Sequence[EarlierRun], *, spent: float) -> Facts:
    taken = max(participations(evidence.events).values(), default=0)
    limit = evidence.scenario.budget.epsilon
    if limit is None:
        what = f"no epsilon is set: what a client spends that takes part k = {plan.limits.cap} times"
        what += ", after the earlier runs" if earlier else ""
        most = together([composed(plan.spends(plan.limits.cap)), *(run.spending for run in earlier)])
        limit = rounded_up(epsilon_of(most, delta=plan.delta), 4)
    else:
        what = "set in the run's settings, over the whole life of a client"
    rules = [f"a client refuses its participation number {plan.limits.cap + 1}, whatever the server asks"]
    if evidence.scenario.budget.epsilon is not None:
        rules.append("a client refuses what would bring its own ledger over the budget")
    rules.append(f"the run ends after {plan.limits.rounds} rounds, fixed before it began: it never stops early")
    return {
        "budget": {"epsilon": limit, "what": what},
        "remaining": {
            "epsilon": max(0.0, rounded_down(limit - spent, 4)) if math.isfinite(spent) else 0.0,
            "participations": max(0, plan.limits.cap - taken),
        },
        "stop_rules": rules,
    }
