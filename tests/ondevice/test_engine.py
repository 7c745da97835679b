"""The engine: what is recorded counts in the next list, lists are short of nothing, and faults are said in one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrec.data.events import Kind
from fedrec.errors import ConfigError, DataError
from fedrec.ondevice.context import Context
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.rerank import Steering
from tests.ondevice.device_worlds import DAY, NOW, World, a_device, a_release, a_world, an_event

PLAIN = Steering(diversity=0.0)


@pytest.fixture(scope="module")
def world() -> World:
    return a_world()


@pytest.fixture(scope="module")
def release(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_release(tmp_path_factory.mktemp("published"), world)


@pytest.fixture
def engine(release: Path, tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(a_device(tmp_path / "device", release), keys="file", now=lambda: NOW) as engine:
        yield engine


def ids_of(engine: Engine, k: int = 10, **options: object) -> list[str]:
    return [item.item_id for item in engine.recommend(k, steering=PLAIN, **options).items]  # type: ignore[arg-type]


def test_what_is_recorded_counts_in_the_next_list(engine: Engine) -> None:
    before = ids_of(engine)
    engine.record(an_event("i3"))
    after = ids_of(engine)
    assert after != before
    assert "i3" not in after
    topics = [engine.catalogue.item(engine.index.row_of(item_id) or 0).category for item_id in after[:5]]
    assert topics == ["topic 3"] * 5


def test_a_list_is_the_order_of_the_scores_where_nothing_steers_it(engine: Engine) -> None:
    engine.record(an_event("i3"))
    scores = [item.score for item in engine.recommend(30, steering=PLAIN).items]
    assert scores == sorted(scores, reverse=True)


def test_an_event_of_an_unknown_item_is_kept_without_effect(engine: Engine) -> None:
    engine.record(an_event("i3"))
    before = engine.recommend(5).items
    number = engine.record(an_event("nobody knows it", time=NOW + 1))
    assert engine.recommend(5).items == before
    assert engine.store.event(number) is not None


def test_an_event_in_the_past_counts_as_if_it_had_been_recorded_then(release: Path, tmp_path: Path) -> None:
    found = []
    for name, order in (("late", [2, 0, 1, 3]), ("in order", [0, 1, 2, 3])):
        with Engine.open(a_device(tmp_path / name, release), keys="file", now=lambda: NOW) as engine:
            for place in order:
                engine.record(an_event(f"i{place}", time=NOW + place))
            found.append([item.score for item in engine.recommend(10).items])
    assert found[0] == found[1]


def test_a_list_is_no_longer_than_what_is_allowed(engine: Engine, world: World) -> None:
    for row in range(len(world) - 4):
        engine.record(an_event(f"i{row}", time=NOW + row))
    assert sorted(ids_of(engine)) == ["i56", "i57", "i58", "i59"]


def test_with_everything_taken_out_the_list_is_empty(engine: Engine, world: World) -> None:
    for row in range(len(world)):
        engine.record(an_event(f"i{row}", Kind.HIDE, time=NOW + row))
    assert engine.recommend(10).items == ()


@pytest.mark.parametrize("k", [0, -3, True, 2.5, 1001])
def test_a_length_that_no_list_has_is_refused(engine: Engine, k: int) -> None:
    with pytest.raises(ConfigError, match="from 1 to 1000"):
        engine.recommend(k)


def test_explaining_what_the_catalogue_lacks_is_refused_without_naming_it(engine: Engine) -> None:
    with pytest.raises(DataError) as caught:
        engine.explain("secret item")
    assert "secret" not in str(caught.value)


def test_the_moment_counts_and_is_not_kept(engine: Engine) -> None:
    engine.record(an_event("i3"))
    calm = ids_of(engine)
    looking = ids_of(engine, context=Context(session=("i2", "i6", "unheard of")))
    assert looking != calm
    assert not {"i2", "i6"} & set(looking)
    assert ids_of(engine) == calm
    assert len(engine.store.events()) == 1


def test_a_label_makes_what_was_done_under_it_count_more(engine: Engine) -> None:
    engine.record(an_event("i3", context="evening"))
    engine.record(an_event("i2", time=NOW + 1, context="morning"))
    evening = engine.explain("i7", context=Context(label="evening"))
    plain = engine.explain("i7")
    part = {part.event_id: part.contribution for part in plain.parts}
    assert {part.event_id: part.contribution for part in evening.parts} == pytest.approx(
        {**part, 1: 2 * (part[1] or 0)}
    )


def test_a_moment_counts_as_often_as_it_is_emphasised(engine: Engine) -> None:
    engine.record(an_event("i3"))
    once, thrice = (
        next(part for part in explanation.parts if part.source == "context")
        for explanation in (
            engine.explain("i7", context=Context(session=("i2",), emphasis=emphasis)) for emphasis in (1.0, 3.0)
        )
    )
    assert thrice.contribution == pytest.approx(3 * once.contribution)


@pytest.mark.parametrize("factor", ["boost", "emphasis"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_factor_that_makes_no_sense_is_refused(factor: str, value: float) -> None:
    with pytest.raises(ConfigError, match=factor):
        Context(**{factor: value})


def test_history_survives_a_restart(release: Path, tmp_path: Path) -> None:
    device = a_device(tmp_path / "device", release)
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        for row in (3, 9, 11):
            engine.record(an_event(f"i{row}", time=NOW + row))
        before = engine.recommend(10).items
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        assert engine.recommend(10).items == before


def test_events_of_another_process_count_at_the_next_call(release: Path, tmp_path: Path) -> None:
    device = a_device(tmp_path / "device", release)
    with (
        Engine.open(device, keys="file", now=lambda: NOW) as one,
        Engine.open(device, keys="file", now=lambda: NOW) as other,
    ):
        one.record(an_event("i3"))
        assert ids_of(other) == ids_of(one)
        other.record(an_event("i2", time=NOW + 1))
        assert ids_of(one) == ids_of(other)


def test_after_erasing_the_list_is_that_of_a_stranger(engine: Engine) -> None:
    stranger = ids_of(engine)
    engine.record(an_event("i3"))
    assert ids_of(engine) != stranger
    engine.erase()
    assert ids_of(engine) == stranger


def test_a_store_erased_by_another_process_is_noticed(release: Path, tmp_path: Path) -> None:
    device = a_device(tmp_path / "device", release)
    with (
        Engine.open(device, keys="file", now=lambda: NOW) as one,
        Engine.open(device, keys="file", now=lambda: NOW) as other,
    ):
        stranger = ids_of(one)
        one.record(an_event("i3"))
        other.erase()
        assert ids_of(one) == stranger
        one.record(an_event("i2", time=NOW + 2 * DAY))
        assert ids_of(other) == ids_of(one)


def test_personal_weights_join_the_score_once_they_are_on_and_leave_it_with_them(engine: Engine) -> None:
    engine.record_all([an_event(f"i{row}", time=NOW + row) for row in range(3, 40, 4)])
    before = engine.recommend(10).items
    engine.use_personal_weights(True)
    parts = {part.source for part in engine.explain("i43").parts}
    assert "personal" in parts
    assert engine.recommend(10).items != before
    engine.use_personal_weights(False)
    assert engine.recommend(10).items == before
    assert engine.store.blob("personal") is None


def test_personal_weights_learn_from_new_events_beside_the_calls(engine: Engine) -> None:
    engine.record_all([an_event(f"i{row}", time=NOW + row) for row in range(3, 40, 4)])
    engine.use_personal_weights(True)
    first = engine.store.blob("personal")
    engine.record_all([an_event(f"i{row}", time=NOW + 100 + row) for row in range(2, 58, 2)])
    with engine._learning.settled():
        assert engine.store.blob("personal") not in {None, first}


def test_nothing_is_learned_of_what_was_erased_while_it_was_learned(engine: Engine) -> None:
    engine.use_personal_weights(True)
    for _ in range(5):
        engine.record_all([an_event(f"i{row}", time=NOW + row) for row in range(3, 43)])
        engine.use_personal_weights(True)
        engine.record_all([an_event(f"i{row}", time=NOW + 100 + row) for row in range(3, 43)])
        engine.erase()
        with engine._learning.settled():
            assert engine.store.blob("personal") is None
