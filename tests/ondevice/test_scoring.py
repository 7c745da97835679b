"""Scores are the released model's; what was turned down and personal weights join them as terms of their own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config import ModelConfig
from fedrec.data.events import Kind
from fedrec.errors import VerificationError
from fedrec.model.history import history_sums
from fedrec.model.layout import Layout
from fedrec.model.linear import Factor, LinearModel
from fedrec.ondevice.live import KINDS, Entries
from fedrec.ondevice.scoring import best_rows, question_of, scores_of
from fedrec.ondevice.turned_down import TURNED_DOWN
from tests.linear_worlds import Rows
from tests.small_worlds import a_history

ITEMS, WIDTH = 30, 8


def a_model(seed: int = 0) -> LinearModel:
    draw = np.random.default_rng(seed)

    def factor(out: int) -> Factor:
        return Factor(*(draw.normal(size=shape).astype(np.float32) * 0.3 for shape in ((3, WIDTH), (out, 3))))

    return LinearModel(
        config=ModelConfig(scale=2.0),
        index=Rows(draw.normal(size=(ITEMS, WIDTH)).astype(np.float32)),
        prior=draw.normal(size=ITEMS).astype(np.float32),
        factors={"history_proj": factor(WIDTH), "item_proj": factor(WIDTH), "items": factor(ITEMS)},
        layout=Layout((), (), "x"),
    )


def entries_of(model: LinearModel, rows: list[int], kinds: list[Kind], weights: list[float] | None = None) -> Entries:
    given = weights if weights is not None else [0.0 if kind in TURNED_DOWN else 1.0 for kind in kinds]
    places = np.array(rows, dtype=np.int64)
    return Entries(
        ids=np.arange(1, len(rows) + 1),
        rows=places,
        kinds=np.array([KINDS.index(kind) for kind in kinds], dtype=np.int64),
        weights=np.array(given, dtype=np.float32),
        vectors=model.index.vectors(places).reshape(len(rows), WIDTH),
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, ITEMS - 1), max_size=12), st.integers(0, 5))
def test_scores_are_those_of_the_released_model(rows: list[int], seed: int) -> None:
    model = a_model(seed)
    sums = history_sums(
        a_history(rows), np.array([len(rows)]), model.index.vectors(slice(None)), decays=model.config.decays
    )
    found = scores_of(question_of(entries_of(model, rows, [Kind.SAVE] * len(rows)), model), model)
    np.testing.assert_array_equal(found, model.scores(model.query(sums[0])))


def test_what_was_turned_down_lowers_what_is_like_it() -> None:
    model = a_model()
    plain = scores_of(question_of(entries_of(model, [3], [Kind.SAVE]), model), model)
    against = scores_of(question_of(entries_of(model, [3, 7], [Kind.SAVE, Kind.HIDE]), model), model)
    near = model.index.vectors(slice(None)) @ model.index.vectors(np.array([7]))[0]
    np.testing.assert_allclose(against - plain, -TURNED_DOWN[Kind.HIDE] * model.config.scale * near, atol=1e-4)


def test_what_was_turned_down_earlier_counts_less() -> None:
    model = a_model()
    question = question_of(entries_of(model, [1, 2, 3], [Kind.HIDE, Kind.SAVE, Kind.HIDE]), model)
    assert 0 < question.against[0] < question.against[2]
    assert question.against[1] == 0


def test_what_was_chosen_after_it_was_turned_down_is_not_turned_down() -> None:
    model = a_model()
    question = question_of(entries_of(model, [1, 2, 1], [Kind.HIDE, Kind.SKIP, Kind.SAVE]), model)
    assert question.against[0] == 0
    assert question.against[1] > 0


def test_a_text_does_not_excuse_what_was_turned_down() -> None:
    model = a_model()
    entries = entries_of(model, [1, 0], [Kind.HIDE, Kind.SEARCH])
    question = question_of(replace(entries, rows=np.array([1, -1])), model)
    assert question.against[0] > 0


def test_personal_weights_add_their_product_with_the_item() -> None:
    model = a_model()
    vector = np.random.default_rng(3).normal(size=WIDTH).astype(np.float32)
    entries = entries_of(model, [3, 4], [Kind.SAVE, Kind.SKIP])
    plain = scores_of(question_of(entries, model), model)
    found = scores_of(question_of(entries, model, personal=vector), model)
    np.testing.assert_allclose(found - plain, model.index.vectors(slice(None)) @ vector, atol=1e-4)


def test_nobody_has_said_anything_before_the_first_entry_that_counts() -> None:
    model = a_model()
    assert not question_of(entries_of(model, [], []), model).says_something
    assert not question_of(entries_of(model, [4], [Kind.HIDE]), model).says_something
    assert question_of(entries_of(model, [4, 5], [Kind.HIDE, Kind.VIEW], [0, 0.3]), model).says_something


def test_scores_that_are_not_finite_are_refused() -> None:
    model = a_model()
    broken = replace(model, factors={"history_proj": Factor(np.full((1, WIDTH), 3e38), np.full((WIDTH, 1), 3e38))})
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(VerificationError, match="Roll back"):
        question_of(entries_of(model, [3], [Kind.SAVE]), broken)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.booleans()), max_size=25),
    st.integers(1, 30),
)
def test_the_best_rows_are_those_of_a_stable_sort(given: list[tuple[float, bool]], most: int) -> None:
    scores = np.array([score for score, _ in given], dtype=np.float32)
    allowed = np.array([may for _, may in given], dtype=np.bool_)
    expected = [row for row in np.argsort(-scores, kind="stable").tolist() if allowed[row]][:most]
    assert best_rows(scores, allowed, most=most).tolist() == expected
