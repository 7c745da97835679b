"""The first words of a budget report: whether there is a guarantee, how large, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedrec.privacy.gaussian import best_guess
from fedrec.reporting.figures import delta_text, epsilon_text, rounded_up
from fedrec.reporting.privacy import words
from fedrec.reporting.privacy.assumptions import NOTHING_OWED
from fedrec.reporting.privacy.audit_words import audit_fault

Facts = Mapping[str, Any]
OVER = "OVER ITS BUDGET"


def verdict(report: Facts) -> dict[str, Any]:
    """The verdict on a report whose other sections are made."""
    epsilon = report["epsilon"]
    alarms = [{"heading": notice.heading, "text": notice.text} for notice in _notices(report)]
    if epsilon is None:
        text = words.warning("none", guarantee=False)
        return {
            "state": "not private",
            "text": f"{text.heading if text else ''}: nothing bounds what this run's releases tell about one person.",
            "meaning": None,
            "guarantee": False,
            "alarms": alarms,
            "not_met": [],
            "assumed": [],
        }
    checklist = report["accountant"]["assumptions"]
    state = _state(alarms)
    spent = _spent(report)
    figures = {"delta": epsilon["delta"], "gdp_mu": spent["gdp_mu"]}
    unmet = [each["assumption"] for each in checklist if each["state"] == "not met"]
    # The server has seen what is not charged yet: the figure is then of who sees the releases alone.
    mode = "central" if NOTHING_OWED in unmet else report["composition"]["mode"]
    said = meaning(spent["epsilon"], figures, unit=report["unit"]["name"], mode=mode)
    return {
        "state": state,
        "text": _text(state, report),
        "meaning": None if state == "not a guarantee" else said,
        "guarantee": state == "private",
        "alarms": alarms,
        "not_met": unmet,
        "assumed": [each["assumption"] for each in checklist if each["state"] == "assumed"],
    }


def meaning(epsilon: float, figures: Facts, *, unit: str, mode: str) -> str:
    """What an epsilon leaves to somebody who guesses, in plain words.

    epsilon and figures are of one and the same composition, earlier runs included. figures: its
    delta, and mu where one Gaussian bounds all of it. mode: the weakest of them, as the server of
    a central run has seen more than noise.

    >>> meaning(1.0, {"delta": 1e-6, "gdp_mu": None}, unit="USER", mode="central").partition("guesses ")[2]
    'right at most 73.2 times in 100. Without any data it is 50.'
    """
    times = rounded_up(100 * best_guess(epsilon, delta=figures["delta"], mu=figures["gdp_mu"]), 1)
    whose = "one person took part" if unit == "USER" else "one person's data of one interval were there"
    reader = "every release" if mode == "central" else "all that the server sees"
    return (
        f"Somebody who sees {reader} and finds it as likely as not that {whose}, guesses right at most "
        f"{times:g} times in 100. Without any data it is 50."
    )


def _state(alarms: Sequence[Facts]) -> str:
    """An epsilon over its budget still holds; any other alarm leaves none that does."""
    if not alarms:
        return "private"
    return "over budget" if all(alarm["heading"] == OVER for alarm in alarms) else "not a guarantee"


def _text(state: str, report: Facts) -> str:
    claim = _claim(report)
    if state == "private":
        return f"Private at {claim}."
    if state == "over budget":
        limit = epsilon_text(report["composition"]["budget"]["epsilon"])
        return f"{OVER}. What was spent is {claim}; what was promised is epsilon {limit}."
    return f"NOT A DP GUARANTEE. If it were one, it would be {claim}."


def _claim(report: Facts) -> str:
    spent, unit = _spent(report), report["unit"]
    grade = f" ({words.epsilon_words(spent['epsilon'])})" if unit["name"] == "USER" else ""
    where = "this run and the earlier ones that were named" if spent["with_earlier_runs"] else "everything it released"
    return (
        f"epsilon {epsilon_text(spent['epsilon'])}{grade}, delta {delta_text(report['epsilon']['delta'])}, per "
        f"{unit['name']} ({unit['period']}), over {where}, for whoever took part most"
    )


def _spent(report: Facts) -> Facts:
    spent: Facts = report["composition"]["spent"]
    return spent


def _notices(report: Facts) -> list[words.Notice]:
    """Everything that takes the guarantee away, each with why."""
    mode = report["setting"]["mode"]
    if report["epsilon"] is None:
        notice = words.warning(mode, guarantee=False)
        return [notice] if notice else []
    heading = "NOT A DP GUARANTEE"
    checklist = report["accountant"]["assumptions"]
    broken = [each for each in checklist if each["essential"] and each["state"] == "not met"]
    notices = []
    if any(each["assumption"].startswith("The noise is secret") for each in broken):
        seeded = words.warning(mode, guarantee=False)
        notices += [seeded] if seeded else []
    notices += [
        words.Notice(heading, f"Not met: {each['assumption']}. {each['evidence']}.")
        for each in broken
        if not each["assumption"].startswith("The noise is secret")
    ]
    for run in report["composition"]["earlier_runs"]:
        if not run["guarantee"]:
            notices.append(words.Notice(heading, f"The earlier run {run['run']} has noise that was seeded."))
    notices += _over_budget(report["composition"])
    if fault := audit_fault(report["verification"]["audit"], mode=mode):
        notices.append(words.Notice("THE AUDIT DOES NOT HOLD", fault))
    return notices


def _over_budget(composition: Facts) -> list[words.Notice]:
    """The promise that was broken, where the settings made one."""
    budget, spent = composition["budget"], composition["spent"]
    if not (budget["is_set"] and budget["over_by"]):
        return []
    where = "with the earlier runs" if spent["with_earlier_runs"] else "by this run"
    return [
        words.Notice(
            OVER,
            f"Epsilon {epsilon_text(spent['epsilon'])} was spent {where}, and the settings allow "
            f"{epsilon_text(budget['epsilon'])} over the whole life of a client. Stop training on these people.",
        )
    ]
