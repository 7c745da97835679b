"""What a terminal says of a run under way."""

from typing import Any

import pytest

from fedrec.simulation.watching import Curve, curve


def a_record(ndcg: float | None, **changes: Any) -> dict[str, Any]:
    validation = None if ndcg is None else {"ndcg@10": {"value": ndcg}}
    return {"validation": validation, "replies": 100, "seconds": 0.5, "epsilon": None} | changes


def test_a_run_without_a_measurement_yet_tells_its_rate() -> None:
    assert Curve().told(a_record(None)) == "200 clients/s"
    assert Curve().told(a_record(None, seconds=50.0)) == "2.0 clients/s"


def test_quality_is_drawn_over_the_rounds_and_kept_between_measurements() -> None:
    told = Curve()
    assert told.told(a_record(0.1)) == "200 clients/s, NDCG@10 ▁ .100"
    assert told.told(a_record(0.3)) == "200 clients/s, NDCG@10 ▁█ .300"
    assert told.told(a_record(None)) == "200 clients/s, NDCG@10 ▁█ .300"


def test_what_was_spent_is_never_told_too_low() -> None:
    assert Curve().told(a_record(0.1, epsilon=1.2301)).endswith("at epsilon 1.24")
    assert Curve().told(a_record(None, epsilon=1.2)) == "200 clients/s, epsilon 1.20"


@pytest.mark.parametrize(
    ("values", "line"), [([0.2], "▁"), ([0.2] * 3, "▁▁▁"), ([1.0, 0.0], "█▁"), ([0.0] * 40 + [1.0], "▁" * 23 + "█")]
)
def test_a_curve_reaches_from_the_lowest_to_the_highest_of_its_last_values(values: list[float], line: str) -> None:
    assert curve(values) == line
