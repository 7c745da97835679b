"""The first list of a stranger: liked by many, of many kinds, and the same every time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.data.events import Kind
from fedrec.ondevice.cold_start import POOL, opening
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.rerank import Steering
from fedrec.ondevice.vocabulary import TO_BEGIN_WITH
from tests.linear_worlds import Rows
from tests.ondevice.device_worlds import NOW, a_device, a_release, a_world, an_event


def topical(items: int, topics: int, *, seed: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    centres = np.linalg.qr(draw.normal(size=(16, topics)))[0].T
    return Rows((centres[np.arange(items) % topics] + 0.1 * draw.normal(size=(items, 16))).astype(np.float32))


def everything(items: int) -> np.ndarray:
    return np.ones(items, dtype=np.bool_)


def test_it_reaches_every_topic_before_it_repeats_one() -> None:
    index = topical(80, 8)
    # The first topic is liked most, the others alike.
    scores = np.where(np.arange(80) % 8 == 0, 2.5, 2.0).astype(np.float32)
    rows = opening(index, scores, everything(80), length=8)[:8]
    assert sorted(rows % 8) == list(range(8))


def test_of_like_items_it_takes_the_one_that_is_liked_more() -> None:
    index = Rows(np.repeat(np.eye(4, dtype=np.float32), 5, axis=0))
    scores = np.tile([0.0, 1.0, 3.0, 2.0, 0.5], 4).astype(np.float32)
    assert sorted(opening(index, scores, everything(20), length=4)[:4].tolist()) == [2, 7, 12, 17]


def test_without_any_prior_it_still_reaches_far() -> None:
    index = topical(2000, 6)
    rows = opening(index, np.zeros(2000, np.float32), everything(2000), length=6)[:6]
    assert sorted(rows % 6) == list(range(6))


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 3))
def test_it_is_a_list_of_allowed_items_without_duplicates(items: int, length: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    allowed = draw.random(items) < 0.7
    scores = draw.integers(0, 3, items).astype(np.float32)
    rows = opening(topical(items, 3, seed=seed), scores, allowed, length=length)
    assert sorted(rows.tolist()) == np.flatnonzero(allowed).tolist()


@pytest.mark.parametrize("scores", [np.zeros(1000, np.float32), np.arange(1000, dtype=np.float32)])
def test_a_long_list_goes_on_by_score(scores: np.ndarray) -> None:
    index = topical(1000, 4)
    assert len(opening(index, scores, everything(1000), length=10)) == POOL
    rows = opening(index, scores, everything(1000), length=600)
    assert len(rows) == len(set(rows.tolist())) == 600
    assert (np.diff(scores[rows[POOL:]]) <= 0).all()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    release = a_release(tmp_path / "published", a_world(120, topics=6))
    with Engine.open(a_device(tmp_path / "device", release), keys="file", now=lambda: NOW) as engine:
        yield engine


def test_a_stranger_gets_a_list_of_many_kinds(engine: Engine) -> None:
    found = engine.recommend(6)
    assert len({item.category for item in found.items}) >= 5
    assert {item.placed for item in found.items} == {TO_BEGIN_WITH}
    assert engine.recommend(6).items == found.items


def test_who_only_turned_things_down_gets_less_of_them(engine: Engine) -> None:
    before = engine.recommend(12).items
    for place in range(12):
        engine.record(an_event(f"i{6 * place}", Kind.HIDE, time=NOW + place))
    after = engine.recommend(12).items
    assert {item.category for item in after}.isdisjoint({"topic 0"})
    assert {item.category for item in before} & {"topic 0"}


def test_caps_hold_for_a_first_list_too(engine: Engine) -> None:
    found = engine.recommend(5, steering=Steering(provider_share=0.2)).items
    makers = [item.provider for item in found if item.provider]
    assert len(makers) == len(set(makers))


def test_a_catalogue_of_three_items_makes_a_list_of_three(tmp_path: Path) -> None:
    world = replace(a_world(3, topics=3), prior=None, ranks={"history_proj": 2})
    device = a_device(tmp_path / "device", a_release(tmp_path / "published", world))
    with Engine.open(device, keys="file", now=lambda: NOW) as engine:
        assert len(engine.recommend(10).items) == 3
        engine.record(an_event("i1"))
        assert len(engine.recommend(10).items) == 2


def test_the_first_tap_turns_the_list(engine: Engine) -> None:
    engine.record(an_event("i4", Kind.CLICK))
    assert {item.category for item in engine.recommend(5, steering=Steering(diversity=0.0)).items} == {"topic 4"}
