"""Explanations are arithmetic: their parts add up to the score, and say in plain words where each comes from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrec.data.events import Kind
from fedrec.ondevice.context import NO_CONTEXT, Context
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.explain import main_reasons
from fedrec.ondevice.parts import parts_of
from fedrec.ondevice.rerank import Steering
from fedrec.ondevice.vocabulary import SAID, shortened
from tests.ondevice.device_worlds import NOW, a_device, a_release, a_text_world, a_world, an_event

PLAIN = Steering(diversity=0.0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("explained")
    release = a_release(folder / "published", a_world())
    with Engine.open(a_device(folder / "device", release), keys="file", now=lambda: NOW) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _anew(engine: Engine) -> None:
    forget(engine)


def forget(engine: Engine) -> None:
    """Take every event out, and begin as a stranger."""
    with engine.store.transaction():
        for stored in engine.store.events():
            engine.store.remove_event(stored.id)
    engine._read_store()


actions = st.tuples(st.integers(0, 59), st.sampled_from([kind for kind in Kind if kind is not Kind.SEARCH]))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(actions, max_size=80), st.lists(st.integers(0, 59), max_size=3))
def test_the_parts_add_up_to_the_score_of_the_list(
    engine: Engine, done: list[tuple[int, Kind]], session: list[int]
) -> None:
    forget(engine)
    engine.record_all([an_event(f"i{row}", kind, time=NOW + place) for place, (row, kind) in enumerate(done)])
    engine._person.personal = np.random.default_rng(len(done)).normal(size=engine.index.width).astype(np.float32)
    context = Context(session=tuple(f"i{row}" for row in session))
    for item in engine.recommend(4, context=context).items:
        explained = engine.explain(item.item_id, context=context)
        tolerance = 1e-5 * max(1.0, abs(item.score))
        assert sum(part.contribution for part in explained.parts) == pytest.approx(explained.score, abs=tolerance)
        assert explained.score == pytest.approx(item.score, abs=tolerance)
        assert sum(part.share for part in explained.parts) == pytest.approx(1.0)


def test_an_explanation_is_of_the_score_that_the_list_was_ranked_by(engine: Engine) -> None:
    for place, row in enumerate((3, 7, 12, 9, 31)):
        engine.record(an_event(f"i{row}", time=NOW + place))
    question = engine._person.question(NO_CONTEXT)
    rows = np.arange(len(engine.catalogue))
    np.testing.assert_allclose(
        parts_of(question, engine.model, rows).scores, engine.model.scores(question.query), rtol=1e-5, atol=1e-5
    )


def test_everything_that_counts_is_named(engine: Engine) -> None:
    saved = engine.record(an_event("i3"))
    hidden = engine.record(an_event("i5", Kind.HIDE, time=NOW + 1))
    engine._person.personal = np.ones(engine.index.width, np.float32)
    parts = engine.explain("i9", context=Context(session=("i2",))).parts
    said = {(part.source, part.because.split(" Title")[0], part.event_id) for part in parts}
    assert {
        ("history", "you saved", saved),
        ("turned_down", "you hid", hidden),
        ("context", "you are looking at", None),
        ("popularity", "popular with others", None),
    } <= said
    assert "personal" in {part.source for part in parts}
    assert len(parts) == 5
    assert [abs(part.contribution) for part in parts] == sorted((abs(p.contribution) for p in parts), reverse=True)


def test_the_reasons_of_a_list_are_the_largest_parts_that_speak_for_it(engine: Engine) -> None:
    for place, row in enumerate((3, 7, 11, 2)):
        engine.record(an_event(f"i{row}", time=NOW + place))
    for item in engine.recommend(5, steering=PLAIN).items:
        parts = [part for part in engine.explain(item.item_id).parts if part.contribution > 0]
        assert [(reason.because, reason.event_id) for reason in item.reasons] == [
            (part.because, part.event_id) for part in parts[:3]
        ]
        assert [reason.share for reason in item.reasons] == pytest.approx([part.share for part in parts[:3]], rel=1e-4)


def test_what_was_done_with_one_item_is_one_reason_named_by_what_counted_most(engine: Engine) -> None:
    engine.record(an_event("i3", Kind.VIEW))
    saved = engine.record(an_event("i3", Kind.SAVE, time=NOW + 1))
    engine.record(an_event("i3", Kind.VIEW, time=NOW + 2))
    item = engine.recommend(1, steering=PLAIN).items[0]
    about = [reason for reason in item.reasons if reason.source == "history"]
    assert [(reason.because, reason.event_id) for reason in about] == [("you saved Title 3", saved)]
    whole = sum(part.contribution for part in engine.explain(item.item_id).parts if part.source == "history")
    assert about[0].contribution == pytest.approx(whole, rel=1e-4)


def test_someone_of_whom_nothing_is_known_is_told_what_is_popular(engine: Engine) -> None:
    item = engine.recommend(1).items[0]
    assert [(reason.source, reason.share) for reason in item.reasons] == [("popularity", 1.0)]


def test_two_searches_are_two_reasons(tmp_path: Path) -> None:
    release = a_release(tmp_path / "published", a_text_world(tmp_path / "encoder"))
    with Engine.open(a_device(tmp_path / "device", release), keys="file", now=lambda: NOW) as engine:
        for place, text in enumerate(("sea wave", "sail harbour")):
            engine.record(an_event(None, Kind.SEARCH, text=text, time=NOW + place))
        said = [reason.because for reason in engine.recommend(1, steering=PLAIN).items[0].reasons]
    assert {"you searched for “sea wave”", "you searched for “sail harbour”"} <= set(said)


def test_reasons_of_no_items_are_none(engine: Engine) -> None:
    question = engine._person.question(NO_CONTEXT)
    parts = parts_of(question, engine.model, np.zeros(0, dtype=np.int64))
    assert main_reasons(parts, question, engine._person.words(NO_CONTEXT), most=3) == []


def test_there_are_words_for_every_kind() -> None:
    assert set(SAID) == set(Kind)
    assert all(words.count("{}") == 1 and words.startswith("you ") for words in SAID.values())


@settings(deadline=None)
@given(st.text(max_size=200), st.integers(2, 100))
def test_a_shortened_text_is_one_line_that_is_no_longer_than_asked(text: str, longest: int) -> None:
    line = shortened(text, longest=longest)
    assert len(line) <= longest
    assert line == " ".join(line.split())
