"""The page of a study: what utility costs in epsilon, people, rounds and bytes, and what the choice itself costs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from fedrec.reporting.figures import METRICS, bytes_text, count_text, delta_text, epsilon_text, seconds_text, share
from fedrec.reporting.frame import STYLE, render
from fedrec.reporting.privacy import words
from fedrec.studies.charts import cost_charts
from fedrec.studies.outcome import Outcome, best_of, outcomes_of, settings_words, short_words
from fedrec.studies.page import TEMPLATE
from fedrec.studies.study import Study

_SHAPE_WORDS = ("circle", "square", "triangle", "diamond", "triangle upside down", "cross")


def write_study_report(path: Path, study: Study, table: pl.DataFrame, *, command: str = "") -> None:
    """Write the page of a study to `path`, whole or not at all; it loads nothing and runs no script."""
    page = study_report(study, table, command=command)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(page, encoding="utf-8")
    draft.replace(path)


def study_report(study: Study, table: pl.DataFrame, *, command: str = "") -> str:
    """The page as text."""
    outcomes = outcomes_of(table, metric=study.config.objective)
    best = best_of(outcomes, seeds=len(study.config.seeds))
    # Utility on the proxy is not utility on the data: they share no axis.
    charts, same = cost_charts([outcome for outcome in outcomes if outcome.part == "search"]) if outcomes else ([], [])
    return render(
        TEMPLATE,
        title=f"Study: {study.config.name}",
        style=STYLE,
        alarms=_alarms(study, outcomes),
        headline=_headline(study, best),
        scored=_scored(study, outcomes),
        choice=choice_words(study),
        cards=_cards(study, table, outcomes, best),
        charts=charts,
        same=same,
        legend=", ".join(
            f"seed {seed} {_SHAPE_WORDS[place % len(_SHAPE_WORDS)]}"
            for place, seed in enumerate(sorted(study.config.seeds))
        ),
        columns=[
            METRICS[study.config.objective],
            "Epsilon",
            "Delta",
            "Unit",
            "People",
            "Rounds",
            "Bytes",
            _seeds_words(study),
        ],
        rows=[_row(study, outcome, own=outcome is best) for outcome in outcomes],
        failures=_failures(table),
        command=command,
    )


def choice_words(study: Study) -> str:
    """What choosing a setting from this study tells of whose data."""
    if study.proxy:
        return (
            "Settings were searched on proxy data, and only the chosen one ran on the data themselves. The choice "
            "costs the people in the data nothing if the proxy is public or synthetic. The validation figures of the "
            "chosen setting are computed from raw data and are not covered by its epsilon."
        )
    if study.world:
        return "The data are synthetic: the choice of a setting costs nobody anything."
    return (
        "Settings were compared on the validation items of the data themselves. Which one is best tells something of "
        "these people, and no epsilon on this page covers that choice: it is covered for one run alone, whose settings "
        "were fixed before. Add a [proxy] table to search on public data."
    )


def _alarms(study: Study, outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    notices = []
    for tag, mode in (("NOT PRIVATE", "none"), ("NOT A DP GUARANTEE", "central")):
        marked = sum(outcome.tag == tag for outcome in outcomes)
        notice = words.warning(mode, guarantee=False)
        if marked and notice:
            text = f"{marked} of {len(outcomes)} settings. {notice.text}"
            notices.append({"heading": notice.heading, "text": text})
    if not study.proxy and not study.world and any(outcome.private for outcome in outcomes):
        notices.append({"heading": "CHOSEN ON PRIVATE DATA", "text": choice_words(study)})
    return notices


def _headline(study: Study, best: Outcome | None) -> str:
    if best is None:
        return f"“{study.config.name}”: no setting succeeded with every seed."
    where = "the chosen setting reaches" if best.part == "chosen" else "the best setting reaches"
    name = METRICS[study.config.objective]
    cost = "without noise: NOT PRIVATE" if best.epsilon is None else f"at epsilon {epsilon_text(best.epsilon)}"
    return f"“{study.config.name}”: {where} {name} {best.interval} on the validation item, {cost}."


def _scored(study: Study, outcomes: Sequence[Outcome]) -> str:
    seeds = len(study.config.seeds)
    people = sorted({int(outcome.amount("people_scored")) for outcome in outcomes})
    of_people = f" Figures are of {' to '.join(count_text(n) for n in people[:: max(1, len(people) - 1)])} people."
    return (
        f"{len(outcomes)} settings, {seeds} {'seed' if seeds == 1 else 'seeds'} each, by {study.config.how}. Only the "
        "VALIDATION item was scored: the test item waits for the one setting that is kept."
        + (of_people if people else "")
    )


def _cards(
    study: Study, table: pl.DataFrame, outcomes: Sequence[Outcome], best: Outcome | None
) -> list[dict[str, Any]]:
    failed = table.filter(pl.col("failure").is_not_null()).height
    runs = {
        "heading": "Runs",
        "figure": count_text(table.height - failed),
        "beside": f"and {failed} that failed" if failed else "none failed",
        "facts": [
            ("Engine", study.config.engine),
            ("Training time, all runs", seconds_text(float(table.select(pl.sum("seconds")).item()))),
        ],
    }
    if best is None:
        return [runs]
    choice = {
        "heading": f"Best {METRICS[study.config.objective]}, mean over seeds",
        "figure": share(best.mean),
        "beside": best.interval.bounds,
        "facts": [(name, settings_words({name: value}).partition(" = ")[2]) for name, value in best.settings.items()],
    }
    return [choice, _privacy_card(outcomes, best), runs]


def _privacy_card(outcomes: Sequence[Outcome], best: Outcome) -> dict[str, Any]:
    spent = sorted(outcome.epsilon for outcome in outcomes if outcome.epsilon is not None)
    if not spent:
        return {"heading": "Privacy", "figure": "none", "beside": "no noise, no epsilon", "facts": []}
    units = sorted({outcome.unit for outcome in outcomes if outcome.private})
    facts = [
        ("Unit", "; ".join(f"{unit}: {words.unit_words(unit)}" for unit in units)),
        ("Delta", ", ".join(sorted({delta_text(outcome.delta) for outcome in outcomes if outcome.private}))),
        ("All settings", f"{epsilon_text(spent[0])} to {epsilon_text(spent[-1])}"),
        ("Guarantee", "of each run by itself; of several on the same people they add up"),
    ]
    return {"heading": "Epsilon of the best", "figure": epsilon_text(best.epsilon), "beside": best.tag, "facts": facts}


def _seeds_words(study: Study) -> str:
    seeds = study.config.seeds
    return f"{'Seed' if len(seeds) == 1 else 'Seeds'} {', '.join(map(str, seeds))}"


def _row(study: Study, outcome: Outcome, *, own: bool) -> dict[str, Any]:
    part = " (on the real data)" if outcome.part == "chosen" else ""
    return {
        "name": short_words(outcome.settings) + part,
        "own": own,
        "mean": share(outcome.mean),
        "bounds": outcome.interval.bounds,
        "epsilon": epsilon_text(outcome.epsilon) if outcome.private else "",
        "tag": outcome.tag,
        "cells": [
            delta_text(outcome.delta),
            outcome.unit or "–",
            count_text(outcome.amount("population")),
            count_text(outcome.amount("rounds")),
            bytes_text(outcome.amount("bytes_per_client_round")),
        ],
        "by_seed": outcome.by_seed(study.config.seeds),
    }


def _failures(table: pl.DataFrame) -> list[tuple[str, ...]]:
    failed = table.filter(pl.col("failure").is_not_null())
    return [(row["run"], row["tried"], str(row["seed"]), row["failure"]) for row in failed.iter_rows(named=True)]
