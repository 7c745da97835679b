"""What is kept is what the person says: at once, at every start, and day by day while the engine runs."""

from pathlib import Path

import pytest

from fedrec.data.events import Kind
from fedrec.data.store.retention import Retention
from fedrec.errors import DataError
from fedrec.ondevice.engine import Engine
from tests.ondevice.device_worlds import DAY, NOW, a_device, a_release, a_world, an_event


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = float(NOW)

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock):
    device = a_device(tmp_path / "device", a_release(tmp_path, a_world()))
    with Engine.open(device, now=clock) as opened:
        yield opened


def days_ago(engine: Engine, days: int, item: str, kind: Kind = Kind.LIKE) -> None:
    engine.record(an_event(item, time=NOW - days * DAY, kind=kind))


def kept(engine: Engine) -> list[str | None]:
    return [each.event.item_id for each in engine.store.events()]


def test_a_new_limit_counts_at_once_and_in_the_next_list(engine: Engine) -> None:
    days_ago(engine, 40, "i1")
    days_ago(engine, 5, "i2")
    assert engine.keep_for(Retention(days=30)) == 1
    assert kept(engine) == ["i2"]
    parts = engine.explain("i5").parts
    told = {part.event_id for part in parts if part.event_id}
    assert told <= {each.id for each in engine.store.events()}


def test_a_kind_can_have_a_limit_of_its_own(engine: Engine) -> None:
    days_ago(engine, 40, "i1", Kind.VIEW)
    days_ago(engine, 40, "i2")
    assert engine.keep_for(Retention(kinds={Kind.VIEW: 30})) == 1
    assert kept(engine) == ["i2"]


def test_an_engine_that_stays_open_forgets_day_by_day(engine: Engine, clock: Clock) -> None:
    engine.keep_for(Retention(days=30))
    days_ago(engine, 29, "i1")
    clock.time += 2 * DAY
    engine.recommend(3)
    assert kept(engine) == []


def test_days_that_are_none_are_refused_and_nothing_is_deleted(engine: Engine) -> None:
    days_ago(engine, 400, "i1")
    for days in (0, -1, 10**9):
        with pytest.raises(DataError):
            engine.keep_for(Retention(days=days))
    assert kept(engine) == ["i1"]
    assert engine.retention == Retention()
