"""Utility against what it costs: a point and an interval per run, a line through the best setting at each cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt

from fedrec.reporting.charts import COLOURS, INK, SHAPES, SHARE_LABEL, Chart, draw
from fedrec.reporting.figures import METRICS, Interval, bytes_text, count_text, epsilon_text, share
from fedrec.studies.outcome import Outcome, Run

_WIDTH, _HEIGHT = 330, 230
# Runs at one cost are laid side by side, over so much of the way to the next cost, or of the width.
_SPREAD, _WIDEST = 0.3, 0.13
_LOG_FROM = 5.0
_COUNT_LABEL = "format(datum.value, '.3~s')"


@dataclass(frozen=True, slots=True)
class Axis:
    """A cost of a run. log: whether it may be drawn by its size."""

    column: str
    title: str
    log: bool = True

    def text(self, value: float) -> str:
        """The cost as a reader expects it."""
        if self.column == "epsilon":
            return epsilon_text(value)
        return bytes_text(value) if self.column == "bytes_per_client_round" else count_text(value)


AXES = (
    Axis("epsilon", "epsilon"),
    Axis("population", "people in the data"),
    Axis("rounds", "rounds"),
    Axis("bytes_per_client_round", "bytes per client and round"),
)


def cost_charts(outcomes: Sequence[Outcome]) -> tuple[list[Chart], list[str]]:
    """A chart per cost that the runs differ in; of the other costs a sentence each."""
    charts, same = [], []
    for axis in AXES:
        placed = [outcome for outcome in outcomes if _cost(outcome.runs[0], axis) is not None]
        costs = sorted({_cost(run, axis) or 0.0 for outcome in placed for run in outcome.runs})
        if len(costs) > 1:
            charts.append(_chart(placed, axis, left_out=len(outcomes) - len(placed)))
        elif costs:
            same.append(f"All runs had the same {axis.title}: {axis.text(costs[0])}.")
        else:
            same.append("No run added noise: there is no epsilon to draw.")
    return charts, same


def _chart(outcomes: Sequence[Outcome], axis: Axis, *, left_out: int) -> Chart:
    name = METRICS[outcomes[0].metric]
    front = _best_by_cost(outcomes, axis)
    said = "; ".join(f"{axis.text(cost)}: {share(value)}" for cost, value in front)
    words = f"{name} on validation against {axis.title}. Best setting's mean over seeds at {said}."
    words += f" {left_out} settings without noise are left out." if left_out and axis.column == "epsilon" else ""
    rows = sorted(((run, outcome) for outcome in outcomes for run in outcome.runs), key=lambda row: row[0][axis.column])
    return Chart(
        title=f"{name} on validation, by {axis.title}",
        svg=draw(_layers(outcomes, axis, front), words),
        description=words,
        columns=(axis.title, name, "95% interval", "seed", "settings"),
        rows=tuple(_row(run, outcome, axis) for run, outcome in rows),
    )


def _row(run: Run, outcome: Outcome, axis: Axis) -> tuple[str, ...]:
    interval = _interval(run, outcome.metric)
    cost = axis.text(run[axis.column])
    return (cost, share(interval.value), interval.bounds, str(run["seed"]), outcome.words)


def _layers(outcomes: Sequence[Outcome], axis: Axis, front: Sequence[tuple[float, float]]) -> Any:
    costs = [cost for cost, _ in front]
    log = axis.log and costs[0] > 0 and costs[-1] / costs[0] >= _LOG_FROM
    points = _points(outcomes, axis, log=log)
    lows, highs = [point["low"] for point in points], [point["high"] for point in points]
    margin = 0.06 * (max(highs) - min(lows)) or 0.01
    y_scale = alt.Scale(domain=[max(0.0, min(lows) - margin), max(highs) + margin], nice=False, zero=False)
    y_axis = alt.Axis(labelExpr=SHARE_LABEL, tickCount=5)
    x_scale = alt.Scale(type="log" if log else "linear", zero=False, nice=False, padding=14)
    # What was spent is never reported as less, on an axis neither.
    labels = "format(ceil(datum.value * 100) / 100, '~g')" if axis.column == "epsilon" else _COUNT_LABEL
    ticks = {"values": costs} if len(costs) <= 5 else {"tickCount": 5}
    x_axis = alt.Axis(labelExpr=labels, grid=False, labelOverlap=True, **ticks)
    x = alt.X("cost:Q", title=axis.title, scale=x_scale, axis=x_axis)
    y = alt.Y("value:Q", title=None, scale=y_scale, axis=y_axis)
    line = alt.Chart(alt.Data(values=[{"cost": cost, "value": value} for cost, value in front]))
    layers = [line.mark_line(color=INK, opacity=0.55, strokeWidth=1.5, strokeDash=[5, 3]).encode(x=x, y=y)]
    for place, seed in enumerate(sorted({point["seed"] for point in points})):
        colour = f"var(--series-{place % len(COLOURS) + 1}, {COLOURS[place % len(COLOURS)]})"
        own = alt.Chart(alt.Data(values=[point for point in points if point["seed"] == seed])).encode(x=x)
        rule = own.mark_rule(color=colour, opacity=0.35, strokeWidth=1.25)
        layers.append(rule.encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q"))
        shape = SHAPES[place % len(SHAPES)]
        layers.append(own.mark_point(shape=shape, fill=colour, stroke=colour, size=38, opacity=0.9).encode(y=y))
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT)


def _points(outcomes: Sequence[Outcome], axis: Axis, *, log: bool) -> list[dict[str, Any]]:
    """A point per run, moved aside where another lies at the same cost."""
    runs = [(run, _interval(run, outcome.metric)) for outcome in outcomes for run in outcome.runs]
    costs = [float(run[axis.column]) for run, _ in runs]
    low, high = min(costs), max(costs)
    spread = _spread(sorted(set(costs)), log=log)
    there: dict[float, list[int]] = {}
    for place, cost in enumerate(costs):
        there.setdefault(cost, []).append(place)
    points = []
    for cost, places in there.items():
        for rank, place in enumerate(places):
            run, interval = runs[place]
            aside = spread * (2 * rank / (len(places) - 1) - 1) if len(places) > 1 else 0.0
            at = cost * (high / low) ** aside if log else cost + (high - low) * aside
            points.append(
                {"cost": at, "value": interval.value, "low": interval.low, "high": interval.high, "seed": run["seed"]}
            )
    return points


def _spread(costs: Sequence[float], *, log: bool) -> float:
    """How far a run is moved aside at most, as a share of the width."""
    places = [math.log(cost) for cost in costs] if log else list(costs)
    gaps = (after - before for before, after in pairwise(places))
    return min(_WIDEST, _SPREAD * min(gaps) / (places[-1] - places[0]))


def _best_by_cost(outcomes: Sequence[Outcome], axis: Axis) -> list[tuple[float, float]]:
    """At each cost that was run the mean of the best setting there."""
    best: dict[float, float] = {}
    for outcome in outcomes:
        cost = max(float(run[axis.column]) for run in outcome.runs)
        best[cost] = max(best.get(cost, 0.0), outcome.mean)
    return sorted(best.items())


def _cost(run: Run, axis: Axis) -> float | None:
    value = run[axis.column]
    return None if value is None else float(value)


def _interval(run: Run, metric: str) -> Interval:
    return Interval(run[metric], run[f"{metric}_low"], run[f"{metric}_high"])
