"""One contract that every baseline keeps, and what is particular to each."""

from dataclasses import replace

import numpy as np
import pytest

from fedrec.data.dataset import Dataset
from fedrec.data.importers.movielens import import_movielens
from fedrec.data.importers.user_keys import write_key
from fedrec.data.splits import Split, leave_one_out, load_sequences, train_counts
from fedrec.errors import ConfigError
from fedrec.evaluation.baselines import (
    NAMES,
    Ease,
    ItemKnn,
    Popularity,
    ZeroShotPopularity,
    ZeroShotText,
    all_baselines,
    tune,
)
from fedrec.evaluation.baselines.ease import ItemSpace, UserSpace
from fedrec.evaluation.baselines.item_knn import Similarity
from fedrec.evaluation.interactions import decayed, train_matrix
from fedrec.evaluation.protocol import paired_difference
from tests.real_data import latest_small

from .worlds import history, pack, taste_vectors, two_tastes

ITEMS = 16
MIX = ((0.5, 0.6), (1.0, 0.4))


def build(name: str, split: Split, vectors: np.ndarray):
    text = ZeroShotText.fit(vectors, items=ITEMS, mix=MIX)
    makers = {
        "popularity": lambda: Popularity.fit(split),
        "item_knn": lambda: ItemKnn.fit(split, Similarity(shrink=1.0, neighbours=6), decay=0.8),
        "item_knn_all": lambda: ItemKnn.fit(split, Similarity(damping=0.3), decay=0.8),
        "ease": lambda: Ease.fit(split, penalty=2.0),
        "zero_shot_text": lambda: text,
        "zero_shot_popularity": lambda: ZeroShotPopularity(text, Popularity.fit(split), 0.1),
    }
    return makers[name]()


EVERY = ("popularity", "item_knn", "item_knn_all", "ease", "zero_shot_text", "zero_shot_popularity")
TASTEFUL = EVERY[1:]
HISTORIES = [history([0, 3, 5]), history([9, 10]), history([]), history([1, 16, 17])]


@pytest.mark.parametrize("name", EVERY)
def test_scores_are_finite_float32_for_every_history_even_an_empty_one(name):
    scores = build(name, two_tastes(), taste_vectors()).scores(HISTORIES)
    assert scores.shape == (4, ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", EVERY)
def test_nobody_else_in_the_batch_matters(name):
    scorer = build(name, two_tastes(), taste_vectors())
    alone = np.vstack([scorer.scores([each]) for each in HISTORIES])
    assert alone == pytest.approx(scorer.scores(HISTORIES), abs=1e-6)


@pytest.mark.parametrize("name", TASTEFUL)
def test_items_of_the_own_taste_come_first(name):
    scorer = build(name, two_tastes(users=100), taste_vectors())
    scores = scorer.scores([history([0, 3, 5]), history([9, 10, 14])])
    unseen = [[1, 2, 4, 6, 7], [8, 11, 12, 13, 15]]
    assert scores[0][unseen[0]].min() > scores[0][8:].max()
    assert scores[1][unseen[1]].min() > scores[1][:8].max()


@pytest.mark.parametrize("name", EVERY)
def test_renaming_the_items_renames_the_scores(name):
    split, vectors = two_tastes(), taste_vectors()
    new = np.random.default_rng(5).permutation(ITEMS)
    entries = replace(split.sequences.entries, rows=new[split.sequences.entries.rows])
    renamed = leave_one_out(replace(split.sequences, entries=entries))
    moved = np.empty_like(vectors)
    moved[new] = vectors
    before = build(name, split, vectors).scores([history([0, 3, 5]), history([12])])
    after = build(name, renamed, moved).scores([history(new[[0, 3, 5]]), history(new[[12]])])
    assert after[:, new] == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_no_score_depends_on_what_is_held_out(name):
    split = two_tastes()
    rows = split.sequences.entries.rows.copy()
    for at in (split.validation_at, split.test_at):
        rows[split.sequences.offsets[:-1] + at] = (rows[split.sequences.offsets[:-1] + at] + 3) % ITEMS
    entries = replace(split.sequences.entries, rows=rows)
    altered = replace(split, sequences=replace(split.sequences, entries=entries))
    expected = build(name, split, taste_vectors()).scores(HISTORIES)
    assert np.array_equal(build(name, altered, taste_vectors()).scores(HISTORIES), expected)


def test_the_train_part_holds_targets_before_validation_and_whole_histories_of_the_rest():
    seen = history([4, 0, 1, 2, 6, 3], targets=[False, True, True, True, False, True])
    split = pack([seen, history([1, 2]), history([])], items=6, texts=["a search"])
    assert train_matrix(split).toarray().tolist() == [[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0] * 6]
    assert train_counts(split).tolist() == [1, 2, 1, 0, 0, 0]


def test_a_history_fades_by_the_weighted_entries_that_came_later():
    skipped = replace(history([0, 1, 7, 2, 0]), weights=np.array([1, 0, 1, 0.5, 1], dtype=np.float32))
    # Entry 1 was skipped and 7 is a text: neither ages the others.
    assert decayed([skipped], width=3, decay=0.5).toarray().tolist() == [[1.25, 0, 0.25]]
    assert decayed([skipped], width=3, decay=0.0).toarray().tolist() == [[1, 0, 0]]


def brute_similarity(train: np.ndarray, similarity: Similarity) -> np.ndarray:
    counts = train.sum(axis=0)
    found = np.zeros((train.shape[1],) * 2)
    for seen in range(len(found)):
        for candidate in range(len(found)):
            scale = counts[seen] ** (1 - similarity.damping) * counts[candidate] ** similarity.damping
            if seen != candidate:
                found[seen, candidate] = train[:, seen] @ train[:, candidate] / (scale + similarity.shrink)
    return found


@pytest.mark.parametrize(("shrink", "damping"), [(0.0, 0.5), (3.0, 0.2)])
def test_item_knn_equals_the_formula(shrink, damping):
    split = two_tastes()
    similarity = Similarity(shrink=shrink, damping=damping)
    expected = np.array([0.25, 0.5, 1.0]) @ brute_similarity(train_matrix(split).toarray(), similarity)[[0, 3, 5]]
    found = ItemKnn.fit(split, similarity, decay=0.5).scores([history([0, 3, 5])])[0]
    assert found == pytest.approx(expected, abs=1e-6)


def test_only_the_nearest_neighbours_speak_and_enough_of_them_is_all(monkeypatch):
    monkeypatch.setattr("fedrec.evaluation.baselines.item_knn._COLUMNS", 5)
    split = two_tastes()
    everything = [history(range(ITEMS))]
    full = brute_similarity(train_matrix(split).toarray(), Similarity())
    nearest = ItemKnn.fit(split, Similarity(neighbours=1)).scores(everything)[0]
    ties = np.isclose(full, full.max(axis=0)).sum(axis=0)
    assert nearest == pytest.approx(full.max(axis=0) * ties, abs=1e-6)
    some, every = (ItemKnn.fit(split, Similarity(neighbours=k)).scores(everything) for k in (ITEMS, None))
    assert some == pytest.approx(every, abs=1e-6)


@pytest.mark.parametrize("users", [9, 40])
def test_ease_solves_the_same_in_user_space_and_in_item_space(users):
    train = train_matrix(two_tastes(users=users))
    by_user, by_item = UserSpace.fit(train, 3.0), ItemSpace.fit(train, 3.0)
    assert by_user.times(train) == pytest.approx(by_item.times(train), abs=1e-5)
    assert by_user.diagonal() == pytest.approx(by_item.diagonal(), abs=1e-5)


def test_ease_equals_the_published_five_lines():
    # Steck 2019, arXiv:1905.03375, algorithm 1.
    split = two_tastes()
    train = train_matrix(split).toarray()
    inverse = np.linalg.inv(train.T @ train + 4.0 * np.eye(ITEMS))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    chosen = np.zeros(ITEMS)
    chosen[[0, 3, 5]] = 1
    found = Ease.fit(split, penalty=4.0).scores([history([0, 3, 5])])[0]
    assert found == pytest.approx(chosen @ weights, abs=1e-5)


def test_ease_refuses_what_cannot_be_inverted_here(monkeypatch):
    monkeypatch.setattr("fedrec.evaluation.baselines.ease._LARGEST", 10)
    with pytest.raises(ConfigError, match="Leave `ease` out"):
        Ease.fit(two_tastes(), penalty=1.0)


def test_zero_shot_ignores_the_scale_of_the_vectors():
    small, large = (ZeroShotText.fit(scale * taste_vectors(), items=ITEMS, mix=MIX) for scale in (1, 30))
    assert small.scores(HISTORIES) == pytest.approx(large.scores(HISTORIES), abs=1e-5)


def test_a_search_moves_the_zero_shot_scores_when_its_text_has_a_vector():
    vectors = np.vstack([taste_vectors(), [[0, 1, 0, 0]]]).astype(np.float32)
    scorer = ZeroShotText.fit(vectors, items=ITEMS, mix=((1.0, 1.0),))
    plain, searched = scorer.scores([history([0]), history([0, ITEMS])])
    assert (searched[8:] > plain[8:]).all()


def test_tuning_finds_the_best_setting_and_keeps_the_first_of_equals():
    split = two_tastes()
    good, bad = ItemKnn.fit(split, Similarity()), Popularity.fit(split)
    found = tune(lambda choice: good if choice["a"] == 2 else bad, {"a": (1, 2), "b": (7, 8)}, split, seed=0)
    assert found.choice == {"a": 2, "b": 7}
    assert found.scorer is good
    assert found.tried == 3
    with pytest.raises(ConfigError, match="no values"):
        tune(lambda _: good, {"a": ()}, split, seed=0)


def test_tuning_never_looks_at_the_test_item():
    split = two_tastes()
    rows = split.sequences.entries.rows.copy()
    rows[split.sequences.offsets[:-1] + split.test_at] = 0
    entries = replace(split.sequences.entries, rows=rows)
    altered = replace(split, sequences=replace(split.sequences, entries=entries))
    before, after = (all_baselines(each, taste_vectors(), seed=0) for each in (split, altered))
    for name in NAMES:
        assert before[name].choice == after[name].choice
        assert before[name].validation.as_json() == after[name].validation.as_json()


def test_all_baselines_come_under_their_names_and_beat_popularity_on_two_tastes():
    said = []
    fitted = all_baselines(two_tastes(users=40), taste_vectors(), seed=0, progress=said.append)
    assert tuple(fitted) == tuple(said) == NAMES
    popular = fitted.pop("popularity").validation
    for each in fitted.values():
        assert paired_difference(each.validation, popular, seed=0).low > 0
        assert each.validation.part == "validation"


def test_text_baselines_are_left_out_without_vectors_and_unknown_names_are_refused():
    assert tuple(all_baselines(two_tastes(), None, seed=0)) == ("popularity", "item_knn", "ease")
    with pytest.raises(ConfigError, match="no baseline `knn`"):
        all_baselines(two_tastes(), None, seed=0, names=["knn"])


@pytest.mark.slow
def test_on_movielens_co_occurrence_and_recency_beat_popularity(tmp_path):
    # Ties in time are ordered by who did it: another key of the user ids moves the figures of 610 people by a fifth.
    write_key(tmp_path / "key", bytes(32))
    import_movielens(latest_small(), out=tmp_path / "ml", user_key=tmp_path / "key")
    split = leave_one_out(load_sequences(Dataset.open(tmp_path / "ml")))
    fitted = all_baselines(split, None, seed=0)
    found = {name: each.validation.metrics["ndcg@10"].value for name, each in fitted.items()}
    # Measured here on validation, whole catalogue of 9,742, with room for another order of ties.
    assert found["popularity"] == pytest.approx(0.020, abs=0.004)
    assert found["ease"] == pytest.approx(0.045, abs=0.006)
    assert found["item_knn"] == pytest.approx(0.072, abs=0.008)
    for name in ("item_knn", "ease"):
        assert paired_difference(fitted[name].validation, fitted["popularity"].validation, seed=0).low > 0
