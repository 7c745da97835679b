"""What a report says of one run at a glance: a figure of quality, of privacy and of cost, and the facts beside each."""

from collections.abc import Mapping
from typing import Any

from fedrec.reporting.figures import (
    ABSENT,
    METRICS,
    bytes_text,
    count_text,
    delta_text,
    epsilon_text,
    seconds_text,
    share,
)
from fedrec.reporting.privacy import words
from fedrec.reporting.summary import Privacy, RunSummary
from fedrec.reporting.verdict import HEADLINE_METRIC, Verdict

Facts = list[tuple[str, str]]


def quality_card(verdict: Verdict) -> dict[str, Any]:
    """How well the run recommends, beside its rivals."""
    facts: Facts = []
    if verdict.rival:
        facts.append(("Best baseline", str(verdict.rival_figure)))
    if verdict.twin:
        facts.append(("Non-private twin", str(verdict.twin)))
    for metric, name in METRICS.items():
        interval = verdict.run.metric(metric, split=verdict.split)
        if interval and metric != HEADLINE_METRIC:
            facts.append((name, str(interval)))
    figure = share(verdict.figure.value) if verdict.figure else ABSENT
    beside = verdict.figure.bounds if verdict.figure else ""
    return {"heading": f"NDCG@10, {verdict.split} item", "figure": figure, "beside": beside, "facts": facts}


def _grade(privacy: Privacy) -> str:
    """Epsilon in words; the scale is about whole people, so a slice of one is not graded."""
    epsilon = privacy.spend.epsilon
    return "" if epsilon is None or privacy.unit != "USER" else words.epsilon_words(epsilon)


def privacy_card(privacy: Privacy) -> dict[str, Any]:
    """What the run spent, or that it spent nothing that could be stated."""
    if not privacy.noised:
        return {"heading": "Privacy", "figure": "none", "beside": "no noise, no epsilon", "facts": []}
    epsilon = privacy.spend.epsilon
    grade = _grade(privacy)
    beside = f"per {privacy.unit}" + (f", {grade}" if grade else "")
    heading = "Epsilon" if privacy.guarantee else "Epsilon of the plan, not a guarantee"
    return {"heading": heading, "figure": epsilon_text(epsilon), "beside": beside, "facts": _spent(privacy)}


def terms(privacy: Privacy) -> Facts:
    """What an epsilon assumes, in sentences."""
    facts = [
        ("Adjacency", privacy.adjacency),
        ("Sampling", privacy.spend.sampling),
        ("Beside it", privacy.spend.amplified),
        ("Accountant", privacy.spend.accountant),
    ]
    return [(name, value) for name, value in facts if value]


def _spent(privacy: Privacy) -> Facts:
    spend = privacy.spend
    facts = [
        ("Delta", delta_text(spend.delta)),
        ("Replace-one", epsilon_text(spend.epsilon_replace_one) if spend.epsilon_replace_one is not None else ""),
        ("Participations", _optional(spend.participations)),
        ("Participation cap", _optional(privacy.noise.participation_cap)),
    ]
    return [(name, value) for name, value in facts if value]


def _optional(amount: float | None) -> str:
    return "" if amount is None else f"{amount:,.4g}"


def cost_card(run: RunSummary) -> dict[str, Any]:
    """What the run took: bytes, rounds, time, and replies that failed."""
    facts = [
        ("Rounds", count_text(run.amount("rounds"))),
        ("Shared parameters", count_text(run.amount("shared_parameters"))),
        ("Time", seconds_text(run.amount("seconds"))),
    ]
    asked = sum(int(line.get("asked") or 0) for line in run.rounds)
    if asked:
        replies = sum(int(line.get("replies") or 0) for line in run.rounds)
        facts.append(("Replies", f"{count_text(replies)} of {count_text(asked)}"))
    facts += _who_was_there(run)
    facts += [(f"Failed: {code}", count_text(count)) for code, count in sorted(run.failures.items())]
    known = [(name, value) for name, value in facts if value != ABSENT]
    figure = bytes_text(run.amount("bytes_per_client_round"))
    return {"heading": "Cost", "figure": figure, "beside": "per client and round", "facts": known}


def _who_was_there(run: RunSummary) -> Facts:
    """How many clients could be drawn, and how many ever were, where a simulation's come and go."""
    told = run.result.get("availability")
    if not isinstance(told, Mapping) or not told.get("there"):
        return []
    there, clients = list(map(int, told["there"])), count_text(run.amount("clients"))
    facts = [
        ("Clients there", f"{count_text(sum(there) / len(there))} of {clients} on average, {min(there):,} at least")
    ]
    if told.get("reached") is not None:
        facts.append(("Clients ever asked", f"{count_text(int(told['reached']))} of {clients}"))
    return facts


def privacy_facts(privacy: Privacy) -> Facts:
    """All that an epsilon rests on, by name."""
    if not privacy.noised:
        return []
    epsilon = privacy.spend.epsilon
    grade = _grade(privacy)
    word = f" ({grade})" if grade else ""
    unit = f"{privacy.unit}: {privacy.unit_text}"
    noise = [
        ("Clip norm", _optional(privacy.noise.clip_norm)),
        ("Noise multiplier", _optional(privacy.noise.noise_multiplier)),
    ]
    facts = [("Epsilon", epsilon_text(epsilon) + word), ("Unit", unit), *(_spent(privacy) + terms(privacy))]
    facts += [(name, value) for name, value in noise if value]
    return [
        (name, f"{value}: {words.adjacency_words(value)}" if name == "Adjacency" else value) for name, value in facts
    ]
