"""The charts that only a budget report has: who took part how often, and epsilon at every delta."""

from collections.abc import Sequence

import altair as alt

from fedrec.reporting.charts import COLOURS, HEIGHT, INK, WIDTH, Chart, draw
from fedrec.reporting.figures import count_text, delta_text, epsilon_text

_FILL = f"var(--series-1, {COLOURS[0]})"
_WIDTH = WIDTH + 90
# More bars than this do not fit side by side with their counts on them.
_MOST_COUNTS = 14
# A larger cap is named below the bars, not drawn out to.
_MOST_TIMES = 30


def participation_chart(bars: Sequence[tuple[int, int]], *, cap: int) -> Chart:
    """How many clients took part so many times: a bar each, with its count on it."""
    most = max(times for times, _ in bars)
    last = max(most, cap) if cap <= _MOST_TIMES else most
    found = dict(bars)
    words = (
        "Clients by how often they took part: "
        + "; ".join(f"{count_text(clients)} took part {times} times" for times, clients in bars)
        + f". The cap is {cap}."
    )
    values = [{"times": times, "clients": found.get(times, 0)} for times in range(min(found, default=0), last + 1)]
    labels = [{**value, "label": count_text(value["clients"])} for value in values if value["clients"]]
    axis = alt.Axis(grid=False, labelAngle=0, labelOverlap=True)
    x = alt.X("times:O", title=f"rounds that a client took part in (cap {cap})", axis=axis)
    y = alt.Y("clients:Q", title="clients", axis=alt.Axis(tickMinStep=1, tickCount=4, format="~s"))
    layers = [alt.Chart(alt.Data(values=values)).mark_bar(color=_FILL).encode(x=x, y=y)]
    if len(labels) <= _MOST_COUNTS:
        text = alt.Chart(alt.Data(values=labels)).mark_text(dy=-8, color=INK, fontSize=12)
        layers.append(text.encode(x=x, y=y, text="label:N"))
    return Chart(
        title="Clients by how often they took part",
        svg=draw(alt.layer(*layers).properties(width=_WIDTH, height=HEIGHT), words),
        description=words,
        columns=("Times", "Clients"),
        rows=tuple((str(times), count_text(clients)) for times, clients in bars),
    )


def delta_chart(points: Sequence[tuple[float, float]], *, reported: float, unit: str) -> Chart:
    """Epsilon at every delta, the reported one marked: the same spending, told in other pairs."""
    words = (
        f"Epsilon per {unit} of the same spending at other deltas: "
        + "; ".join(f"{epsilon_text(epsilon)} at {delta_text(delta)}" for delta, epsilon in points)
        + "."
    )
    values = [
        {"delta": delta, "epsilon": epsilon, "label": epsilon_text(epsilon), "reported": delta == reported}
        for delta, epsilon in points
    ]
    scale = alt.Scale(type="log", domain=[min(delta for delta, _ in points), max(delta for delta, _ in points)])
    ticks = [delta for delta, _ in points][::2]
    axis = alt.Axis(format="~e", grid=False, values=ticks)
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("delta:Q", title="delta", scale=scale, axis=axis),
        y=alt.Y("epsilon:Q", title="epsilon", axis=alt.Axis(tickCount=5)),
    )
    marked = base.transform_filter("datum.reported")
    layers = [
        base.mark_line(color=_FILL, strokeWidth=2.25),
        base.mark_point(fill="var(--paper, #fff)", stroke=_FILL, size=30, opacity=1),
        marked.mark_point(fill=_FILL, stroke=_FILL, size=90, opacity=1, shape="diamond"),
        marked.mark_text(dx=10, dy=-10, align="left", color=INK, fontSize=13, fontWeight="bold").encode(text="label:N"),
    ]
    return Chart(
        title=f"Epsilon per {unit} at every delta",
        svg=draw(alt.layer(*layers).properties(width=_WIDTH, height=HEIGHT), words),
        description=words,
        columns=("Delta", "Epsilon"),
        rows=tuple(
            (delta_text(delta) + (" (reported)" if delta == reported else ""), epsilon_text(epsilon))
            for delta, epsilon in points
        ),
    )
