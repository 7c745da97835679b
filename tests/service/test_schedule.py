"""Hours and intervals, with moments that are passed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError
from fedrec.service.config import RoundsConfig
from fedrec.service.schedule import next_start

HOUR, DAY = 3600.0, 86_400.0
MOMENTS = st.floats(0, 4e9)
HOURS = st.tuples(st.integers(0, 24), st.integers(0, 24)).filter(lambda hours: hours[0] != hours[1])


def is_open(hours: tuple[int, int], moment: float) -> bool:
    """By hand: every hour of the day that is within."""
    first, last = hours[0] % 24, hours[1]
    last = last if last > first else last + 24
    return any(
        (moment % DAY) >= hour % 24 * HOUR and (moment % DAY) < hour % 24 * HOUR + HOUR for hour in range(first, last)
    )


def test_without_settings_a_round_begins_at_once() -> None:
    assert next_start(RoundsConfig(), now=5.0, last=4.0) == 5.0


def test_a_round_begins_so_long_after_the_start_of_the_last_one() -> None:
    config = RoundsConfig(every=600.0)
    assert next_start(config, now=1000.0, last=900.0) == 1500.0
    assert next_start(config, now=2000.0, last=900.0) == 2000.0
    assert next_start(config, now=1000.0, last=None) == 1000.0


@given(MOMENTS, MOMENTS, st.floats(0, 1e7))
def test_no_clock_that_jumped_makes_a_round_wait_for_longer_than_its_interval(
    now: float, last: float, every: float
) -> None:
    assert now <= next_start(RoundsConfig(every=every), now=now, last=last) <= now + every


@given(HOURS, MOMENTS)
def test_a_round_begins_within_the_hours_and_as_soon_as_they_allow(hours: tuple[int, int], now: float) -> None:
    begins = next_start(RoundsConfig(between=hours), now=now, last=None)
    assert begins == now if is_open(hours, now) else now < begins < now + DAY
    assert is_open(hours, begins)
    assert begins == now or begins % DAY == hours[0] % 24 * HOUR


@given(HOURS, MOMENTS, st.floats(0, 1e6))
def test_an_interval_that_ends_outside_the_hours_waits_for_them(
    hours: tuple[int, int], now: float, every: float
) -> None:
    begins = next_start(RoundsConfig(between=hours, every=every), now=now, last=now)
    assert begins >= now + every
    assert is_open(hours, begins)


@pytest.mark.parametrize("between", [(5,), (3, 3), (1, 25), (1, 2, 3)])
def test_hours_that_make_no_sense_are_refused(between: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"rounds\.between"):
        RoundsConfig(between=between)
