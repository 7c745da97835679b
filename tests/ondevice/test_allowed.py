"""What may be on a list: what the person did, closed, muted or looks at right now is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrec.data.events import Kind
from fedrec.ondevice.context import Context
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.feedback import Action, Feedback
from fedrec.ondevice.filters import REFUSED_KINDS, SEEN_KINDS, SKIP_RESTS
from fedrec.ondevice.rerank import Steering
from tests.ondevice.device_worlds import NOW, a_device, a_release, a_world, an_event

CLOCK = [NOW]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    CLOCK[0] = NOW
    release = a_release(tmp_path / "published", a_world())
    with Engine.open(a_device(tmp_path / "device", release), keys="file", now=lambda: CLOCK[0]) as engine:
        engine.record(an_event("i3", time=NOW - 10))
        yield engine


def everything(engine: Engine, **options: object) -> set[str]:
    return {item.item_id for item in engine.recommend(60, **options).items}  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.SEARCH}))
def test_an_item_that_was_acted_upon_or_refused_does_not_come_again(engine: Engine, kind: Kind) -> None:
    engine.record(an_event("i7", kind))
    assert ("i7" in everything(engine)) == (kind not in SEEN_KINDS | REFUSED_KINDS | {Kind.SKIP})


def test_a_skipped_item_comes_back_after_a_week(engine: Engine) -> None:
    engine.record(an_event("i7", Kind.SKIP))
    assert "i7" not in everything(engine)
    CLOCK[0] = NOW + SKIP_RESTS
    assert "i7" in everything(engine)


def test_what_is_looked_at_is_not_recommended(engine: Engine) -> None:
    assert {"i8", "i9"}.isdisjoint(everything(engine, context=Context(session=("i8", "i9"))))


def test_feedback_takes_items_topics_and_providers_out_and_undo_brings_them_back(engine: Engine) -> None:
    before = everything(engine)
    for action, gone in (
        (Action.HIDE, {"i8"}),
        (Action.BLOCK, {f"i{row}" for row in range(60) if row % 7 and row % 5 == 3}),
        (Action.NOT_THIS_TOPIC, {f"i{row}" for row in range(0, 60, 4)}),
    ):
        number = engine.feedback(Feedback(action=action, item_id="i8", time=NOW))
        assert everything(engine) == before - gone - {"i8"}
        engine.undo(number)
        assert everything(engine) == before


def test_said_twice_it_counts_once(engine: Engine) -> None:
    once = engine.feedback(Feedback(action=Action.LIKE, item_id="i8", time=NOW))
    engine.record(an_event("i9"))
    found = engine.explain("i12").parts
    assert engine.feedback(Feedback(action=Action.LIKE, item_id="i8", time=NOW)) == once
    assert engine.explain("i12").parts == found


def test_what_was_closed_stays_closed_after_a_restart(engine: Engine) -> None:
    engine.feedback(Feedback(action=Action.NOT_THIS_TOPIC, item_id="i8", time=NOW))
    before = everything(engine)
    engine.close()
    with Engine.open(engine.device, keys="file", now=lambda: NOW) as again:
        assert everything(again) == before


def test_a_muted_interest_leaves_the_lists_and_returns(engine: Engine) -> None:
    engine.record_all([an_event(f"i{row}", time=NOW + row) for row in (7, 11, 2, 6, 10)])
    before = everything(engine)
    cluster = engine.profile().clusters[0]
    muted = engine.mute_cluster(cluster.id, True)
    assert muted.clusters[0].muted
    silent = everything(engine)
    assert silent < before
    engine.close()
    with Engine.open(engine.device, keys="file", now=lambda: NOW) as again:
        assert everything(again) == silent
        again.mute_cluster(cluster.id, False)
        assert everything(again) == before


def test_a_muted_interest_stays_muted_under_another_release(engine: Engine, tmp_path: Path) -> None:
    for cluster in engine.profile().clusters:
        engine.mute_cluster(cluster.id, True)
    assert topics(engine) == {"topic 0", "topic 1", "topic 2"}
    engine.install_release(a_release(tmp_path / "published", a_world(seed=1), round_number=1))
    assert topics(engine) == {"topic 0", "topic 1", "topic 2"}


def topics(engine: Engine) -> set[str | None]:
    return {item.category for item in engine.recommend(60).items}


def test_an_item_shown_often_enough_rests(engine: Engine) -> None:
    engine.steer(Steering(diversity=0.0, max_shown=2))
    first = [item.item_id for item in engine.recommend(5).items]
    assert [item.item_id for item in engine.recommend(5).items] == first
    assert set(first).isdisjoint(item.item_id for item in engine.recommend(5).items)


def test_what_was_shown_is_remembered_over_a_restart_and_only_where_a_rule_needs_it(engine: Engine) -> None:
    engine.recommend(5)
    assert engine.store.shown_counts(0) == {}
    engine.steer(Steering(diversity=0.0, max_shown=1))
    first = {item.item_id for item in engine.recommend(5).items}
    assert set(engine.store.shown_counts(0)) == first
    engine.close()
    with Engine.open(engine.device, keys="file", now=lambda: NOW) as again:
        assert again.steering.max_shown == 1
        assert first.isdisjoint(item.item_id for item in again.recommend(5).items)
