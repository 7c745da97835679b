"""What a run spent in all, with the runs before it, and what that leaves of its budget."""

import math
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from typing import Any

from fedrec.privacy.accounting import Spending, composed, epsilon_of
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.spends import spend_of
from fedrec.privacy.statement import participations
from fedrec.reporting.figures import rounded_down, rounded_up
from fedrec.reporting.privacy import words
from fedrec.reporting.privacy.earlier import EarlierRun
from fedrec.reporting.privacy.evidence import Event, Evidence, is_interrupted
from fedrec.reporting.privacy.masks import without_sum
from fedrec.reporting.privacy.spending import Spent, curve_facts, gaussian_facts, together, worst_of

Facts = dict[str, Any]


def composition(
    evidence: Evidence, plan: PrivacyPlan, spendings: Sequence[Spending], earlier: Sequence[EarlierRun], *, spent: Spent
) -> Facts:
    """Every kind of entry, the earlier runs, and what is spent and left at the run's delta."""
    # Somebody who spent the most in every earlier run, whoever that was, and took part in this one.
    before = together(run.spending for run in earlier)
    candidates = [together([before, own]) for own in spendings or [()]]
    total = worst_of(candidates, delta=plan.delta) if earlier else spent
    weakest = words.weakest([plan.mode, *(run.evidence.scenario.privacy.mode for run in earlier)])
    return {
        "entries": entry_kinds(evidence.events, unreleased=without_sum(evidence)),
        "counts": _counts(evidence.events, unreleased=without_sum(evidence)),
        "earlier_runs": [_earlier(run, delta=plan.delta) for run in earlier],
        "mode": weakest,
        "holds": words.holds_against(weakest),
        "tuning": (
            "charged only where its runs are named: what is named is in the table of earlier runs"
            if earlier
            else "no run is named: trials with other settings on the same people are not in this epsilon"
        ),
        "spent": {
            "epsilon": rounded_up(total.epsilon.value, 4),
            "replace_one": rounded_up(total.epsilon.replace_one, 4),
            "curve": curve_facts(candidates, delta=plan.delta),
            **gaussian_facts(candidates),
            "with_earlier_runs": bool(earlier),
        },
        **_budget(evidence, plan, earlier, spent=total.epsilon.value),
    }


def entry_kinds(events: Iterable[Event], *, unreleased: Container[int] = ()) -> list[Facts]:
    """How many entries of each kind and noise the ledger holds, and how many participations they charge.

    unreleased: rounds that were paid for and then gave no sum.
    """
    groups: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for event in events:
        what = f"{event['kind']}, {_outcome(event, unreleased)}"
        spend = spend_of(event)
        groups[what, spend.noise_multiplier, event["clip_norm"], spend.sampling_rate, spend.steps].append(event)
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


def _counts(events: Sequence[Event], *, unreleased: Container[int]) -> Facts:
    """How often the ledger was charged for each thing beside the training itself; 0 is told too."""
    return {
        "popularity": sum(event["kind"] == "popularity" for event in events),
        "metrics": sum(event["kind"] == "metrics" for event in events),
        "interrupted": sum("attempt" in event for event in events),
        "dropped": len(
            {
                event["round"]
                for event in events
                if "too few replies" in str(event.get("released")) or event["round"] in unreleased
            }
        ),
    }


def _outcome(event: Event, unreleased: Container[int]) -> str:
    if "attempt" in event:
        return "interrupted attempt"
    if str(event.get("released")).startswith("interrupted"):
        return "charged when its round was interrupted"
    if is_interrupted(event):
        return "nothing released"
    return "paid for, and nothing came of it" if event["round"] in unreleased else "released"


def _earlier(run: EarlierRun, *, delta: float) -> Facts:
    return {
        "run": run.evidence.path.resolve().name,
        "scenario": run.evidence.scenario.name,
        "mode": run.evidence.scenario.privacy.mode,
        "ledger_head": run.evidence.head,
        "entries": len(run.evidence.events),
        "epsilon": rounded_up(epsilon_of(run.spending, delta=delta), 4),
        "guarantee": run.guarantee,
    }


def _budget(evidence: Evidence, plan: PrivacyPlan, earlier: Sequence[EarlierRun], *, spent: float) -> Facts:
    taken = max(participations(evidence.events).values(), default=0)
    limit = evidence.scenario.budget.epsilon
    is_set = limit is not None
    if limit is None:
        what = f"no epsilon is set: what a client spends that takes part k = {plan.limits.cap} times"
        what += ", after the earlier runs" if earlier else ""
        most = together([composed(plan.spends(plan.limits.cap)), *(run.spending for run in earlier)])
        limit = rounded_up(epsilon_of(most, delta=plan.delta), 4)
    else:
        what = "set in the run's settings, over the whole life of a client"
    rules = [f"a client refuses its participation number {plan.limits.cap + 1} in this run, whatever the server asks"]
    if is_set:
        rules.append(
            "a client refuses what would bring its own ledger over the budget; a simulation's clients begin a new "
            "ledger with every run, so what earlier runs spent is added to the plan before the run begins"
        )
    rules.append(f"the run ends after {plan.limits.rounds} rounds, fixed before it began: it never stops early")
    return {
        "budget": {
            "epsilon": limit,
            "what": what,
            "is_set": is_set,
            "over_by": rounded_up(max(0.0, spent - limit), 4),
        },
        "remaining": {
            "epsilon": max(0.0, rounded_down(limit - spent, 4)) if math.isfinite(spent) else 0.0,
            "participations": max(0, plan.limits.cap - taken),
        },
        "stop_rules": rules,
    }
