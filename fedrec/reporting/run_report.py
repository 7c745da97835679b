"""One HTML file that tells what a simulation did, how well, and at what epsilon."""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedrec.errors import DataError
from fedrec.reporting.cards import cost_card, privacy_card, privacy_facts, quality_card, terms
from fedrec.reporting.charts import Chart, Curve, Dot, epsilon_chart, interval_chart, rounds_chart
from fedrec.reporting.figures import (
    ABSENT,
    METRICS,
    Interval,
    count_text,
    epsilon_text,
    number,
    seconds_text,
    share,
)
from fedrec.reporting.frame import STYLE, render
from fedrec.reporting.page import TEMPLATE
from fedrec.reporting.privacy import words
from fedrec.reporting.summary import Method, Privacy, RunSummary, methods
from fedrec.reporting.verdict import HEADLINE_METRIC, give_verdict, what_was_done

ROUND_COLUMNS = ("Round", "Asked", "Replies", "Failures", "Update norm", "NDCG@10", "Epsilon", "Time")


def write_run_report(path: Path, runs: Sequence[RunSummary], *, title: str) -> None:
    """Write the report of the runs to `path`, whole or not at all.

    The file is self-contained: style, charts and data are in it. Raises DataError without a run.
    """
    page = run_report(runs, title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(page, encoding="utf-8")
    draft.replace(path)


def run_report(runs: Sequence[RunSummary], *, title: str) -> str:
    """The report as text."""
    if not runs:
        raise DataError("A report needs at least one run.")
    verdict = give_verdict(runs)
    return render(
        TEMPLATE,
        title=title,
        style=STYLE,
        headline=_unbroken(verdict.headline),
        certainty=verdict.certainty,
        done=what_was_done(verdict.run),
        trust=words.trust_sentence(verdict.run.privacy.mode),
        alarms=_alarms(runs),
        cards=[quality_card(verdict), privacy_card(verdict.run.privacy), cost_card(verdict.run)],
        terms=terms(verdict.run.privacy) if verdict.run.privacy.noised else [],
        tables=[_table(runs, split) for split in ("test", "validation") if methods(runs, split=split)],
        positives=verdict.run.text("positives").rstrip("."),
        charts=_charts(runs, verdict.split),
        groups=_groups(runs),
        runs=[_run_view(run, same_as=_same_as(run, runs)) for run in runs],
        scale=words.SCALE if any(run.privacy.noised for run in runs) else "",
        embedded=embed_json([{"result": run.result, "rounds": run.rounds} for run in runs]),
    )


def embed_json(value: object) -> str:
    """JSON that cannot end the script element around it; what is not finite becomes null.

    >>> embed_json({"a": "</script>", "b": float("inf")})
    '{"a": "\\\\u003c/script\\\\u003e", "b": null}'
    """
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _unbroken(text: str) -> str:
    """No line ends inside an interval."""
    return re.sub(r"(\d) (\[\S+,) (\S+\])", "\\1\u00a0\\2\u00a0\\3", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _alarms(runs: Sequence[RunSummary]) -> list[dict[str, str]]:
    """Each warning once; where there are several runs, with the names of those that it is about."""
    about: dict[words.Notice, list[str]] = {}
    for run in runs:
        if notice := run.privacy.warning:
            about.setdefault(notice, []).append(f"“{run.name}”")
    return [
        {"heading": notice.heading, "text": f"{', '.join(names)}: {notice.text}" if len(runs) > 1 else notice.text}
        for notice, names in about.items()
    ]


def _table(runs: Sequence[RunSummary], split: str) -> dict[str, Any]:
    rows = methods(runs, split=split)
    metrics = [metric for metric in METRICS if any(metric in row.metrics for row in rows)]
    return {
        "heading": f"{split.capitalize()} item",
        "columns": [METRICS[metric] for metric in metrics],
        "rows": [
            {
                "name": row.name,
                "own": row.run is not None,
                "cells": [_cell(row.metrics.get(metric)) for metric in metrics],
                "epsilon": _epsilon_words(row),
                "tag": _tag(row.run.privacy) if row.run else "",
            }
            for row in rows
        ],
    }


def _cell(interval: Interval | None) -> dict[str, str] | None:
    return {"value": share(interval.value), "bounds": interval.bounds} if interval else None


def _epsilon_words(row: Method) -> str:
    if row.run is None:
        return ABSENT
    privacy = row.run.privacy
    return f"{epsilon_text(privacy.spend.epsilon)} per {privacy.unit}" if privacy.noised else ""


def _tag(privacy: Privacy) -> str:
    return privacy.warning.heading if privacy.warning else ""


def _charts(runs: Sequence[RunSummary], split: str) -> list[Chart]:
    charts = []
    curves = [Curve(run.name, run.curve, place) for place, run in enumerate(runs) if run.curve]
    if curves:
        flat = {
            method.name: method.metrics[HEADLINE_METRIC].value
            for method in methods(runs, split="validation")
            if method.run is None and HEADLINE_METRIC in method.metrics
        }
        charts.append(rounds_chart(curves, flat))
    places = {id(run): place for place, run in enumerate(runs)}
    dots = [
        Dot(method.name, method.metrics[HEADLINE_METRIC], places.get(id(method.run)))
        for method in methods(runs, split=split)
        if HEADLINE_METRIC in method.metrics
    ]
    if dots:
        charts.append(interval_chart(dots, metric=f"NDCG@10 on {split}"))
    # Epsilons of different units must not share an axis.
    for unit in sorted({run.privacy.unit for run in runs if run.spending and run.privacy.noised}):
        spent = [
            Curve(run.name, run.spending, place)
            for place, run in enumerate(runs)
            if run.privacy.unit == unit and run.spending and run.privacy.noised
        ]
        budgets = {runs[curve.run].privacy.spend.budget for curve in spent}
        budget = budgets.pop() if len(budgets) == 1 else None
        charts.append(epsilon_chart(spent, budget=budget, unit=unit))
    return charts


def _groups(runs: Sequence[RunSummary]) -> dict[str, Any] | None:
    """One row per group, one column per run that was measured by group."""
    grouped = {run.name: run.result["groups"] for run in runs if isinstance(run.result.get("groups"), Mapping)}
    names = dict.fromkeys(name for groups in grouped.values() for name in groups)
    if not names:
        return None
    rows = []
    for name in names:
        found = [groups.get(name) or {} for groups in grouped.values()]
        people = next((number(group["users"]) for group in found if "users" in group), None)
        figures = (str(Interval.parse(group.get(HEADLINE_METRIC)) or ABSENT) for group in found)
        rows.append((str(name).replace("_", " "), count_text(people), *figures))
    return {"columns": ["Group", "People", *grouped], "rows": rows}


def _same_as(run: RunSummary, runs: Sequence[RunSummary]) -> str:
    """The first earlier run whose epsilon covers and leaves out the same; empty without one."""
    mine = (run.privacy.covers, run.privacy.does_not_cover)
    first = next(other for other in runs if (other.privacy.covers, other.privacy.does_not_cover) == mine)
    return "" if first is run else f"“{first.name}”"


def _run_view(run: RunSummary, *, same_as: str) -> dict[str, Any]:
    privacy = run.privacy
    data = run.result.get("dataset") or {}
    evidence = [
        ("Run folder", run.text("run")),
        ("Scenario", run.text("scenario")),
        ("Data", ", ".join(str(data[key]) for key in ("name", "source", "licence") if data.get(key))),
        ("Hash of the data", str(data.get("hash") or "")),
        ("Ledger head", run.text("ledger_head")),
    ]
    versions = run.result.get("versions")
    return {
        "name": run.name,
        "tag": _tag(privacy),
        "trust": words.trust_sentence(privacy.mode),
        "privacy": privacy_facts(privacy),
        "same_as": same_as,
        "covers": privacy.covers,
        "does_not_cover": privacy.does_not_cover,
        "command": run.text("command"),
        "evidence": [(name, value) for name, value in evidence if value],
        "round_columns": ROUND_COLUMNS,
        "rounds": [_round_row(line) for line in run.rounds],
        "config": run.text("config").strip(),
        "versions": sorted(versions.items()) if isinstance(versions, Mapping) else [],
    }


def _round_row(line: Mapping[str, Any]) -> tuple[str, ...]:
    failures = ", ".join(f"{code} {count}" for code, count in sorted((line.get("failures") or {}).items()))
    norm = number(line.get("update_norm"))
    return (
        str(line["round"]),
        count_text(number(line.get("asked"))),
        count_text(number(line.get("replies"))),
        failures or "none",
        ABSENT if norm is None else f"{norm:.4g}",
        str(Interval.parse((line.get("validation") or {}).get(HEADLINE_METRIC)) or ABSENT),
        epsilon_text(number(line.get("epsilon"))),
        seconds_text(number(line.get("seconds"))),
    )
