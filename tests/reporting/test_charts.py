"""Charts: inline SVG that reads without colour, with words and a table."""

import itertools
import re
from xml.etree import ElementTree

from fedrec.reporting.charts import Chart, Curve, Dot, epsilon_chart, interval_chart, rounds_chart
from fedrec.reporting.figures import Interval

SVG = "{http://www.w3.org/2000/svg}"
PLAIN = Curve("plain", ((1, 0.067), (2, 0.074), (3, 0.08)), 0)
PRIVATE = Curve("private", ((1, 0.067), (3, 0.072)), 1)


def texts(chart: Chart) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(chart.svg).iter(f"{SVG}text")]  # noqa: S314


def label_heights(chart: Chart, names: set[str]) -> list[float]:
    nodes = ElementTree.fromstring(chart.svg).iter(f"{SVG}text")  # noqa: S314
    places = [node.get("transform", "") for node in nodes if "".join(node.itertext()) in names]
    return sorted(float(re.findall(r"translate\([^,]+,([^)]+)\)", place)[0]) for place in places)


def test_lines_are_labelled_on_the_chart_and_described_in_words() -> None:
    chart = rounds_chart([PLAIN, PRIVATE], {"Popularity": 0.045})
    assert {"plain", "private", "Popularity"} <= set(texts(chart))
    assert "plain from .067 at round 1 to .080 at round 3" in chart.description
    assert "Popularity .045" in chart.description
    root = ElementTree.fromstring(chart.svg)  # noqa: S314
    assert root.get("role") == "img"
    assert root.get("aria-label") == chart.description


def test_the_table_of_a_line_chart_holds_every_point_and_a_gap_where_none_was() -> None:
    chart = rounds_chart([PLAIN, PRIVATE], {"Popularity": 0.045})
    assert chart.columns == ("Round or baseline", "plain", "private")
    assert chart.rows == (
        ("1", ".067", ".067"),
        ("2", ".074", ""),
        ("3", ".080", ".072"),
        ("Popularity", ".045", ".045"),
    )


def test_labels_of_equal_lines_do_not_cover_each_other() -> None:
    names = {f"baseline {number}": 0.05 for number in range(6)}
    heights = label_heights(rounds_chart([PLAIN], names), set(names))
    assert len(heights) == 6
    assert all(low + 12 <= high for low, high in itertools.pairwise(heights))


def test_runs_differ_by_shape_and_baselines_by_dashes() -> None:
    svg = rounds_chart([PLAIN, PRIVATE], {"Popularity": 0.045, "EASE": 0.06}).svg
    assert len(set(re.findall(r'stroke-dasharray="([^"]+)"', svg))) == 2
    shapes = {re.sub(r"[-\d.,]+", "", shape) for shape in re.findall(r' d="([^"]+)" fill="var\(--series', svg)}
    assert len(shapes) >= 2


def test_a_chart_takes_the_ink_and_paper_of_its_page() -> None:
    svg = rounds_chart([PLAIN], {}).svg
    assert 'fill="currentColor"' in svg
    assert not re.findall(r'(?:fill|stroke)="(?:#000|black|white|#fff)"', svg)
    assert " id=" not in svg


def test_one_round_and_equal_values_still_draw() -> None:
    chart = rounds_chart([Curve("once", ((0, 0.05),))], {"Popularity": 0.05})
    assert "once .050 at round 0" in chart.description


def test_epsilon_is_drawn_against_its_budget() -> None:
    chart = epsilon_chart([Curve("private", ((1, 2.0), (2, 3.456)))], budget=8.0, unit="SEGMENT")
    assert "budget" in texts(chart)
    assert chart.title == "Epsilon per SEGMENT spent, by round"
    assert "to 3.46 at round 2. The budget is 8.00." in chart.description
    assert chart.rows[-1] == ("budget", "8.00")


def test_epsilon_without_a_budget_has_no_line_for_it() -> None:
    chart = epsilon_chart([Curve("private", ((1, 0.0),))])
    assert "budget" not in texts(chart) and "budget" not in chart.description


def test_methods_stand_best_first_with_their_intervals() -> None:
    dots = [Dot("low", Interval(0.04, 0.03, 0.05)), Dot("high", Interval(0.07, 0.06, 0.08), 0)]
    chart = interval_chart(dots)
    assert chart.rows == (("high", ".070", "[.060, .080]"), ("low", ".040", "[.030, .050]"))
    assert label_heights(chart, {"high"}) < label_heights(chart, {"low"})
    assert chart.description == "NDCG@10, best first: high .070 [.060, .080]; low .040 [.030, .050]."


def test_a_long_or_hostile_name_is_shortened_on_the_chart_and_whole_in_the_table() -> None:
    name = '<b onclick="x">&' + "y" * 60
    chart = interval_chart([Dot(name, Interval(0.05, 0.05, 0.05))])
    assert chart.rows[0][0] == name
    shown = next(text for text in texts(chart) if text.startswith("<b"))
    assert len(shown) <= 22 and shown.endswith("…")
