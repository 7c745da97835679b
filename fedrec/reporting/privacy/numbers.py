"""The sections of a budget report that are numbers, each recomputed from the ledger."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedrec.privacy.accounting import Epsilon, Spending
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.statement import participations
from fedrec.reporting.figures import rounded_up
from fedrec.reporting.privacy import facts
from fedrec.reporting.privacy.assumptions import assumptions, delta_reason, people
from fedrec.reporting.privacy.evidence import LEDGER, Evidence
from fedrec.reporting.privacy.recompute_script import SCRIPT
from fedrec.reporting.privacy.spending import Spent, curve_facts, gaussian_facts

Facts = dict[str, Any]


def epsilon_section(evidence: Evidence, plan: PrivacyPlan, spendings: Sequence[Spending], spent: Spent) -> Facts:
    """Epsilon of whoever spent most in this run, at its delta and at others, in every form that is exact."""
    gaussian = gaussian_facts(spendings)
    return {
        "value": rounded_up(spent.epsilon.value, 4),
        "replace_one": rounded_up(spent.epsilon.replace_one, 4),
        "delta": plan.delta,
        "delta_reason": delta_reason(plan.delta, people(evidence)),
        "curve": curve_facts(spendings, delta=plan.delta),
        **gaussian,
        "gaussian_note": _gaussian_note(plan, known=gaussian["gdp_mu"] is not None),
    }


def _gaussian_note(plan: PrivacyPlan, *, known: bool) -> str:
    if known:
        return "the composition is one Gaussian mechanism: mu and rho describe it exactly"
    if plan.mode == "distributed":
        return "Skellam noise is no Gaussian mechanism: only bounds on its Rényi divergences are known"
    return "units are sampled by coins, so the composition is no Gaussian mechanism"


def accountant_section(evidence: Evidence, plan: PrivacyPlan, spent: Spent) -> Facts:
    """What computed epsilon, what else agrees with it, and what all of it assumes."""
    epsilon = spent.epsilon
    checklist = assumptions(evidence, plan, cross_check=_cross_check_words(spent))
    return {
        "name": epsilon.accountant,
        "relation": (
            "one unit added or removed (zero-out); replace-one beside it"
            if epsilon.published is None
            else "one client's update or zeros in its place (zero-out), its share of the noise in both; replace-one "
            "beside it"
        ),
        "epsilon": rounded_up(epsilon.value, 4),
        "cross_check": _cross_check(epsilon),
        "rdp_epsilon": rounded_up(epsilon.rdp, 4),
        "published_epsilon": _published(epsilon),
        "assumptions": [each.as_json() for each in checklist],
    }


def _cross_check(epsilon: Epsilon) -> Facts:
    if epsilon.published is None:
        name, alarm = "PRV accountant, Opacus", "where the two are more than max(.02, 1%) apart"
    else:
        name, alarm = "RDP of Gaussian noise of the same size, dp-accounting", "where Skellam's is below it"
    return {"name": name, "epsilon": rounded_up(epsilon.cross_check, 4), "alarm": alarm}


def _published(epsilon: Epsilon) -> float | None:
    """Epsilon without fedrec's own bound between whole orders; None without Skellam noise, or beyond counting."""
    if epsilon.published is None or math.isinf(epsilon.published):
        return None
    return rounded_up(epsilon.published, 4)


def _cross_check_words(spent: Spent) -> str:
    epsilon = spent.epsilon
    if epsilon.published is not None:
        return (
            f"RDP of the Skellam noise {rounded_up(epsilon.value, 4):.4f}, of Gaussian noise of the same size by "
            f"dp-accounting {rounded_up(epsilon.cross_check, 4):.4f}; the report stops where the first is below"
        )
    first, second = rounded_up(epsilon.value, 4), rounded_up(epsilon.cross_check, 4)
    return f"PLD {first:.4f}, PRV {second:.4f}; the report stops where they are more than max(.02, 1%) apart"


def participations_section(evidence: Evidence) -> Facts:
    """How many clients took part how often."""
    taken = Counter(participations(evidence.events).values())
    known = facts.clients(evidence)
    if known is not None and known > taken.total():
        taken[0] = known - taken.total()
    return {
        "counted": "rounds per client by the server's ledger, interrupted attempts included",
        "never": None if known is None else taken[0],
        "histogram": [{"participations": times, "clients": taken[times]} for times in sorted(taken) if taken[times]],
    }


def recompute_section(run: Path, earlier: Sequence[Path], *, delta: float, prints: float) -> Facts:
    """How a reader comes to the same epsilon, with fedrec and without it.

    prints: what both come to, earlier runs included.
    """
    also = "".join(f" --also {path.resolve().name}" for path in earlier)
    ledgers = " ".join(f"{path.resolve().name}/{LEDGER}" for path in (run, *earlier))
    return {
        "fedrec": f"fedrec privacy report {run.resolve().name}{also} --json",
        "command": f"python recompute_epsilon.py {delta!r} {ledgers}",
        "prints": f"{prints:.4f}",
        "script": SCRIPT,
    }
