"""Several turns refine a list: what the person says moves it the way they meant, and undo moves it back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrec.data.events import Kind
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.feedback import Action, Feedback
from fedrec.ondevice.rerank import Steering
from tests.ondevice.device_worlds import NOW, a_device, a_release, a_text_world, an_event

PLAIN = Steering(diversity=0.0)
ITEMS = 40


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    release = a_release(tmp_path / "published", a_text_world(tmp_path / "encoder", ITEMS))
    with Engine.open(a_device(tmp_path / "device", release), keys="file", now=lambda: NOW) as engine:
        engine.record(an_event("i1", time=NOW - 10))
        engine.record(an_event("i2", time=NOW - 9))
        yield engine


def say(engine: Engine, action: Action, item_id: str, *, at: int) -> int:
    return engine.feedback(Feedback(action=action, item_id=item_id, time=NOW + at))


def listed(engine: Engine, k: int = 8) -> list[int]:
    """The topics of the list, best first."""
    return [int(item.item_id[1:]) % 4 for item in engine.recommend(k, steering=PLAIN).items]


def level(engine: Engine, topic: int) -> float:
    """The mean score of a topic's items."""
    scores = [engine.explain(f"i{row}").score for row in range(topic, ITEMS, 4)]
    return sum(scores) / len(scores)


def lead(engine: Engine, topic: int) -> float:
    """How far a topic is above the others."""
    return level(engine, topic) - sum(level(engine, other) for other in range(4) if other != topic) / 3


@pytest.mark.parametrize("action", [Action.LIKE, Action.SAVE, Action.SHARE, Action.PURCHASE, Action.FINISH])
def test_what_the_person_likes_brings_more_of_it(engine: Engine, action: Action) -> None:
    before, had = lead(engine, 3), listed(engine).count(3)
    say(engine, action, "i3", at=0)
    assert lead(engine, 3) > before
    assert listed(engine).count(3) > had


@pytest.mark.parametrize("action", [Action.SKIP, Action.HIDE, Action.BLOCK, Action.NOT_THIS_TOPIC])
def test_what_the_person_turns_down_brings_less_of_it(engine: Engine, action: Action) -> None:
    before = lead(engine, 2)
    say(engine, action, "i6", at=0)
    assert lead(engine, 2) < before
    assert "i6" not in {item.item_id for item in engine.recommend(ITEMS, steering=PLAIN).items}


def test_turning_down_again_lowers_again(engine: Engine) -> None:
    leads = [lead(engine, 2)]
    for at, row in enumerate((6, 10, 14, 18)):
        say(engine, Action.SKIP, f"i{row}", at=at)
        leads.append(lead(engine, 2))
    assert leads == sorted(leads, reverse=True)
    assert len(set(leads)) == len(leads)


def test_turns_add_up_and_undo_goes_back_turn_by_turn(engine: Engine) -> None:
    steps = [listed(engine)]
    say(engine, Action.LIKE, "i3", at=0)
    steps.append(listed(engine))
    assert steps[1].count(3) > steps[0].count(3)
    say(engine, Action.NOT_THIS_TOPIC, "i2", at=1)
    steps.append(listed(engine))
    assert 2 not in steps[2]
    assert 3 in steps[2]
    say(engine, Action.HIDE, "i7", at=2)
    steps.append(listed(engine))
    for expected in reversed(steps[:-1]):
        engine.undo()
        assert listed(engine) == expected


def test_a_search_turns_the_list_and_what_was_said_before_still_holds(engine: Engine) -> None:
    say(engine, Action.NOT_THIS_TOPIC, "i2", at=0)
    before = lead(engine, 0)
    engine.record(an_event(None, Kind.SEARCH, time=NOW + 1, text=engine.catalogue.title(0)))
    assert lead(engine, 0) > before
    after = listed(engine)
    assert after[0] == 0
    assert 2 not in after


def test_an_undo_after_a_restart_goes_back_too(tmp_path: Path) -> None:
    release = a_release(tmp_path / "published", a_text_world(tmp_path / "encoder", ITEMS))
    device = a_device(tmp_path / "device", release)
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        engine.record(an_event("i1"))
        before = listed(engine)
        say(engine, Action.NOT_THIS_TOPIC, "i5", at=1)
        assert 1 not in listed(engine)
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        assert 1 not in listed(engine)
        engine.undo()
        assert listed(engine) == before
