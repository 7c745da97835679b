"""Charts as inline SVG, each with a description and the table of its data.

Colours are CSS variables of the page (`--series-1` and on) with a fallback that reads on light and
dark; lines and axes take the text's colour. Shape and a direct label always say what colour says.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import vl_convert

from fedrec.reporting.figures import Interval, epsilon_text, share

FONT = "system-ui, sans-serif"
WIDTH, HEIGHT = 240, 220
DOTS_WIDTH = 190
LABEL_GAP = 17  # pixels between two labels beside the plot
LONGEST_LABEL = 22
LETTER = 7.6  # pixels kept per letter: the reader's font is not the one that was measured here
INK = "currentColor"
COLOURS = ("#2f7fb8", "#c2601c", "#2a9070", "#a65ea0", "#8a7a1f", "#c04a5a")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
DASHES = ((6, 3), (2, 3), (8, 3, 2, 3), (1, 2), (10, 4), (4, 2, 1, 2), (3, 6))

# Vega has no format without the leading zero.
SHARE_LABEL = "replace(format(datum.value, '.3f'), '0.', '.')"
PLAIN_LABEL = "format(datum.value, '~g')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """An SVG, what it shows in words, and its data as a table of texts."""

    title: str
    svg: str
    description: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A named series of (round, value), at least one; `run` is the run's place, as in Dot."""

    name: str
    points: tuple[tuple[int, float], ...]
    run: int = 0


@dataclass(frozen=True, slots=True)
class Dot:
    """A method's value with its interval; `run` is a run's place among the runs, None for a baseline."""

    name: str
    interval: Interval
    run: int | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """A curve or a horizontal line, as drawn: `tip` is where it meets its label at `label_at`."""

    name: str
    tip: float
    colour: str
    shape: str = ""
    dash: tuple[int, ...] = ()
    label_at: float = 0.0


def rounds_chart(curves: Sequence[Curve], baselines: Mapping[str, float], *, metric: str = "NDCG@10") -> Chart:
    """The metric on validation over rounds: a line per run, a dashed horizontal per baseline."""
    values = [value for curve in curves for _, value in curve.points] + list(baselines.values())
    margin = 0.08 * (max(values) - min(values)) or 0.01
    domain = (max(0.0, min(values) - margin), max(values) + margin)
    said = "; ".join(f"{curve.name} {_journey(curve, share)}" for curve in curves)
    against = "; ".join(f"{name} {share(value)}" for name, value in baselines.items())
    words = f"{metric} over rounds: {said}." + (f" Horizontal baselines: {against}." if against else "")
    return Chart(
        title=f"{metric} on validation, by round",
        svg=draw(_lines(curves, baselines, domain, labels=SHARE_LABEL), words),
        description=words,
        columns=("Round or baseline", *(curve.name for curve in curves)),
        rows=_by_round(curves, baselines, share),
    )


def epsilon_chart(curves: Sequence[Curve], *, budget: float | None = None, unit: str = "USER") -> Chart:
    """Epsilon spent so far over rounds, against the budget; runs of one privacy unit only."""
    limits = {} if budget is None else {"budget": budget}
    highest = max([value for curve in curves for _, value in curve.points] + list(limits.values()))
    said = "; ".join(f"{curve.name} {_journey(curve, epsilon_text)}" for curve in curves)
    words = f"Epsilon per {unit} after each round: {said}."
    words += "" if budget is None else f" The budget is {epsilon_text(budget)}."
    lines = _lines(curves, limits, (0.0, 1.1 * highest or 1.0), labels=PLAIN_LABEL, step="step-after")
    return Chart(
        title=f"Epsilon per {unit} spent, by round",
        svg=draw(lines, words),
        description=words,
        columns=("Round or limit", *(curve.name for curve in curves)),
        rows=_by_round(curves, limits, epsilon_text),
    )


def interval_chart(dots: Sequence[Dot], *, metric: str = "NDCG@10") -> Chart:
    """A dot and a 95% interval per method, best first: runs are filled, as in the other charts, baselines hollow."""
    ranked = sorted(dots, key=lambda dot: -dot.interval.value)
    words = f"{metric}, best first: " + "; ".join(f"{dot.name} {dot.interval}" for dot in ranked) + "."
    low, high = min(dot.interval.low for dot in ranked), max(dot.interval.high for dot in ranked)
    margin = 0.06 * (high - low) or 0.01
    scale = alt.Scale(domain=[max(0.0, low - margin), high + margin], nice=False, zero=False)
    axis = alt.Axis(labelExpr=SHARE_LABEL, tickCount=3)
    x = alt.X("value:Q", scale=scale, title=f"{metric}, 95% interval", axis=axis)
    base = _dot_rows(ranked)
    layers = [base.mark_rule(strokeWidth=2, opacity=0.55, color=INK).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")]
    for place, dot in enumerate(ranked):
        look = {"fill": "var(--paper, #fff)", "stroke": INK, "shape": "diamond"}
        if dot.run is not None:
            look = {"fill": _colour(dot.run), "stroke": _colour(dot.run), "shape": _shape(dot.run)}
        row = base.transform_filter(f"datum.row === '{place:03}'")
        layers.append(row.mark_point(size=95, opacity=1, strokeWidth=2, **look).encode(x=x))
    name = base.mark_text(align="right", color=INK, fontSize=13)
    layers.append(name.encode(x=alt.value(-10), text="label:N"))
    figure = base.mark_text(align="left", color=INK, fontSize=13)
    layers.append(figure.encode(x=alt.value(DOTS_WIDTH + 10), text="figure:N"))
    widest = max(len(_short(dot.name)) for dot in ranked)
    layers.append(_room(-10 - LETTER * widest, DOTS_WIDTH + 10 + 5 * LETTER))
    return Chart(
        title=f"{metric} with 95% intervals",
        svg=draw(alt.layer(*layers).properties(width=DOTS_WIDTH, height=28 * len(ranked)), words),
        description=words,
        columns=("Method", metric, "95% interval"),
        rows=tuple((dot.name, share(dot.interval.value), dot.interval.bounds) for dot in ranked),
    )


def _dot_rows(ranked: Sequence[Dot]) -> Any:
    values = [
        {
            "row": f"{row:03}",
            "value": dot.interval.value,
            "low": dot.interval.low,
            "high": dot.interval.high,
            "label": _short(dot.name),
            "figure": share(dot.interval.value),
        }
        for row, dot in enumerate(ranked)
    ]
    return alt.Chart(alt.Data(values=values)).encode(y=alt.Y("row:N", sort="ascending", axis=None))


def _lines(
    curves: Sequence[Curve],
    horizontals: Mapping[str, float],
    domain: tuple[float, float],
    *,
    labels: str,
    step: str = "linear",
) -> Any:
    drawn = [_Line(curve.name, curve.points[-1][1], _colour(curve.run), _shape(curve.run)) for curve in curves] + [
        _Line(name, value, INK, dash=DASHES[index % len(DASHES)])
        for index, (name, value) in enumerate(horizontals.items())
    ]
    scale = alt.Scale(domain=list(domain), nice=False, zero=False)
    last = max(round_ for curve in curves for round_, _ in curve.points)
    first = min(round_ for curve in curves for round_, _ in curve.points)
    x_axis = alt.Axis(tickMinStep=1, tickCount=min(6, last - first + 1), format="d", grid=False)
    x = alt.X("round:Q", title="round", axis=x_axis, scale=alt.Scale(domain=[min(first, last - 1), last], nice=False))
    y = alt.Y("value:Q", title=None, scale=scale, axis=alt.Axis(labelExpr=labels, tickCount=5))
    layers = [_horizontal(line, y) for line in drawn if line.dash]
    for curve, line in zip(curves, drawn, strict=False):
        values = [{"round": round_, "value": value} for round_, value in curve.points]
        base = alt.Chart(alt.Data(values=values)).encode(x=x, y=y)
        layers.append(base.mark_line(color=line.colour, strokeWidth=2.25, interpolate=step))
        layers.append(base.mark_point(shape=line.shape, fill=line.colour, stroke=line.colour, size=34, opacity=1))
    for line in _spread(drawn, domain):
        layers += _end_label(line, scale)
    layers.append(_room(0, WIDTH + 33 + LETTER * max(len(_short(line.name)) for line in drawn)))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _room(left: float, right: float) -> Any:
    """Nothing visible, from `left` to `right`: labels between them cannot be cut off."""
    blank = alt.Chart(alt.Data(values=[{}])).mark_rule(opacity=0, color=INK)
    return blank.encode(x=alt.value(left), x2=alt.value(right), y=alt.value(0))


def _horizontal(line: _Line, y: Any) -> Any:
    base = alt.Chart(alt.Data(values=[{"value": line.tip}]))
    return base.mark_rule(color=INK, strokeDash=list(line.dash), opacity=0.6, strokeWidth=1.5).encode(y=y)


def _end_label(line: _Line, scale: Any) -> list[Any]:
    """A tie from the line's tip, its shape, and its name, right of the plot."""
    row = alt.Chart(alt.Data(values=[{"tip": line.tip, "at": line.label_at, "label": _short(line.name)}]))
    at = alt.Y("at:Q", scale=scale)
    ends = {
        "x": alt.value(WIDTH + 5),
        "x2": alt.value(WIDTH + 17),
        "y": alt.Y("tip:Q", scale=scale),
        "y2": alt.Y2("at:Q"),
    }
    marks = [row.mark_rule(color=INK, opacity=0.45).encode(**ends)]
    if line.shape:
        mark = row.mark_point(shape=line.shape, fill=line.colour, stroke=line.colour, size=40, opacity=1)
        marks.append(mark.encode(x=alt.value(WIDTH + 24), y=at))
    text = row.mark_text(align="left", color=INK, fontSize=13, fontWeight="bold" if line.shape else "normal")
    marks.append(text.encode(x=alt.value(WIDTH + (33 if line.shape else 20)), y=at, text="label:N"))
    return marks


def _spread(lines: Sequence[_Line], domain: tuple[float, float]) -> list[_Line]:
    """Labels in the order of their tips, no two closer than LABEL_GAP, as near their tips as that allows."""
    gap = LABEL_GAP * (domain[1] - domain[0]) / HEIGHT
    ordered = sorted(lines, key=lambda line: line.tip)
    places: list[float] = []
    for line in ordered:
        places.append(max(line.tip, places[-1] + gap) if places else line.tip)
    # Share the push upwards: half of it goes down again, as far as the order allows.
    shift = sum(place - line.tip for place, line in zip(places, ordered, strict=True)) / max(1, len(ordered))
    return [replace(line, label_at=place - shift) for line, place in zip(ordered, places, strict=True)]


def draw(chart: Any, description: str) -> str:
    """The SVG with its description: no ids, no script, nothing behind it."""
    ink = {"labelColor": INK, "titleColor": INK, "domainColor": INK, "tickColor": INK, "gridColor": INK}
    sizes = {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridOpacity": 0.12,
        "labelFlush": False,
    }
    chart = chart.properties(background="transparent", padding=4)
    chart = chart.configure(font=FONT, aria=False).configure_axis(**ink, **sizes, domainOpacity=0.4, tickOpacity=0.4)
    svg: str = vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).to_json())
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description)}" ', 1)


def _by_round(
    curves: Sequence[Curve], horizontals: Mapping[str, float], text: Callable[[float], str]
) -> tuple[tuple[str, ...], ...]:
    found = [dict(curve.points) for curve in curves]
    rounds = sorted({round_ for points in found for round_ in points})
    rows = [(str(round_), *(text(points[round_]) if round_ in points else "" for points in found)) for round_ in rounds]
    return (*rows, *((name, *[text(value)] * len(curves)) for name, value in horizontals.items()))


def _journey(curve: Curve, text: Callable[[float], str]) -> str:
    (first, start), (last, end) = curve.points[0], curve.points[-1]
    if first == last:
        return f"{text(end)} at round {last}"
    return f"from {text(start)} at round {first} to {text(end)} at round {last}"


def _colour(index: int) -> str:
    place = index % len(COLOURS)
    return f"var(--series-{place + 1}, {COLOURS[place]})"


def _shape(index: int) -> str:
    return SHAPES[index % len(SHAPES)]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1].rstrip() + "…"
