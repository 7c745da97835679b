from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from fedrec.data.sequences import Floats, History
from fedrec.errors import DataError
from fedrec.evaluation.paper_compat import evaluate_paper_compat, sample_negatives
from fedrec.evaluation.protocol import HEADLINE, evaluate, headline_of, paired_difference

from .worlds import history, pack, taste_vectors, two_tastes


@dataclass
class Fixed:
    """The same scores for everybody; remembers what it was asked for."""

    row: np.ndarray
    asked: list[History] = field(default_factory=list)

    def scores(self, histories: Sequence[History]) -> Floats:
        self.asked += histories
        return np.tile(np.asarray(self.row, dtype=np.float32), (len(histories), 1))


def rising(items: int) -> Fixed:
    return Fixed(np.arange(items))


def test_the_held_out_item_competes_with_the_whole_catalogue_but_for_earlier_targets():
    # Item 5 scores highest, but user 0 had it; item 4 is held out for validation, 3 for test.
    split = pack([history([5, 4, 3]), history([0, 1, 2, 5])], items=6)
    found = evaluate(rising(6), split, test=False, seed=0)
    assert found.ranks.tolist() == [1.0, 4.0]
    assert evaluate(rising(6), split, test=True, seed=0).ranks.tolist() == [1.0, 1.0]


def test_what_was_only_seen_or_searched_for_is_not_masked():
    seen = history([5, 6, 0, 1, 2], targets=[False, False, True, True, True])
    split = pack([seen], items=6, texts=["a search"])
    assert evaluate(rising(6), split, test=False, seed=0).ranks.tolist() == [5.0]


def test_the_test_item_is_not_touched_by_validation():
    split = two_tastes()
    scorer = rising(16)
    evaluate(scorer, split, test=False, seed=0)
    assert [len(each) for each in scorer.asked] == [4] * 24
    for user, given in enumerate(scorer.asked):
        assert split.sequences.of(user).rows[-1] not in given.rows


def test_the_validation_item_joins_the_history_at_test():
    split = two_tastes()
    scorer = rising(16)
    evaluate(scorer, split, test=True, seed=0)
    for user, given in enumerate(scorer.asked):
        assert given.rows[-1] == split.sequences.of(user).rows[-2]


def test_users_with_nothing_held_out_are_counted_and_left_out():
    split = pack([history([0, 1]), history([0, 1, 2]), history([3])], items=4)
    found = evaluate(rising(4), split, test=False, seed=0)
    assert (found.users.tolist(), found.without_target) == ([1], 2)
    with pytest.raises(DataError, match="leave-one-out needs"):
        evaluate(rising(4), pack([history([0, 1])], items=4), test=False, seed=0)


def test_the_batch_size_changes_nothing():
    split = two_tastes()
    whole = evaluate(rising(16), split, test=False, seed=0, index_vectors=taste_vectors())
    pieces = evaluate(rising(16), split, test=False, seed=0, index_vectors=taste_vectors(), batch=5)
    assert whole.as_json() == pieces.as_json()


def test_progress_reaches_the_number_of_users():
    seen = []
    evaluate(rising(16), two_tastes(), test=False, seed=0, batch=10, progress=lambda *each: seen.append(each))
    assert seen == [(10, 24), (20, 24), (24, 24)]


def test_the_headline_has_the_four_keys_that_outputs_promise():
    found = evaluate(rising(16), two_tastes(), test=False, seed=0)
    assert tuple(found.headline()) == HEADLINE == ("ndcg@10", "hr@10", "recall@20", "mrr")
    assert "diversity@10" not in found.beyond
    assert set(found.as_json()["mrr"]) == {"value", "low", "high"}


def test_groups_part_the_users_by_activity_and_items_by_popularity():
    lengths = [4, 5, 6, 7]
    split = pack([history(range(length)) for length in lengths for _ in range(4)], items=8)
    found = evaluate(rising(8), split, test=False, seed=0)
    assert [(group.n, group.least, group.most) for group in found.by_activity] == [
        (4, length - 2, length - 2) for length in lengths
    ]
    by_item = {group.name: group for group in found.by_item}
    # Users of length 7 validate on item 5, which nobody has in training; item 4 is in four histories.
    assert (by_item["hot"].n, by_item["cold"].n, by_item["unseen"].n) == (8, 8, 4)
    assert by_item["unseen"].most == 0


def test_lists_leave_out_what_is_masked():
    split = pack([history([11, 10, 0, 1])], items=12)
    found = evaluate(rising(12), split, test=False, seed=0)
    assert found.beyond["coverage@10"].value == pytest.approx(10 / 12)
    assert found.beyond["coverage@10"].low == found.beyond["coverage@10"].high


def test_scores_of_a_wrong_shape_are_refused():
    with pytest.raises(DataError, match=r"shape \(24, 15\), not \(24, 16\)"):
        evaluate(rising(15), two_tastes(), test=False, seed=0)


def test_two_evaluations_are_compared_on_the_same_users_only():
    split = two_tastes()
    good, bad = (evaluate(Fixed(row), split, test=False, seed=0) for row in (np.arange(16), -np.arange(16)))
    assert paired_difference(good, good, seed=0).value == 0
    assert paired_difference(good, bad, seed=0).value == pytest.approx(-paired_difference(bad, good, seed=0).value)
    with pytest.raises(DataError, match="same users"):
        paired_difference(good, evaluate(rising(16), split, test=True, seed=0), seed=0)


def test_paper_compat_negatives_avoid_everything_the_user_touched():
    split = pack([history([3, 1, 2, 150])], items=160)
    drawn = sample_negatives(split, 0, seed=1)
    assert len(set(drawn.tolist())) == 99
    assert not set(drawn.tolist()) & {1, 2, 3, 150}
    assert np.array_equal(drawn, sample_negatives(split, 0, seed=1))
    assert not np.array_equal(drawn, sample_negatives(split, 0, seed=2))


def test_paper_compat_is_easier_than_full_ranking_and_says_what_it_is():
    # Every held-out item is beaten by the twenty items that nobody touches and no other.
    row = np.r_[np.zeros(380), np.full(20, 2.0)]
    row[:40] = 1.0
    split = pack([history([user, 38, 39]) for user in range(30)], items=400)
    sampled = evaluate_paper_compat(Fixed(row), split, test=True, seed=0)
    assert evaluate(Fixed(row), split, test=True, seed=0).metrics["hr@10"].value == 0
    assert sampled.hr.value > 0.3
    assert sampled.as_json()["label"] == "paper-compat"
    assert "hr@10" not in sampled.as_json()


def test_paper_compat_refuses_a_catalogue_that_is_too_small():
    with pytest.raises(DataError, match="needs 99"):
        evaluate_paper_compat(rising(16), two_tastes(), test=False, seed=0)


def test_a_sample_of_people_is_scored_as_they_are_among_all():
    split = two_tastes(users=40)
    scorer = Fixed(np.random.default_rng(0).random(16).astype(np.float32))
    some, all_of_them = (
        evaluate(scorer, split, test=False, seed=5, sample=10),
        evaluate(scorer, split, test=False, seed=5),
    )
    assert len(some.users) == 10
    assert some.ranks.tolist() == all_of_them.ranks[np.isin(all_of_them.users, some.users)].tolist()
    assert some.without_target == all_of_them.without_target
    # What is popular is what everybody chose, not what the sample did.
    assert {group.name: group.most for group in some.by_item}["hot"] > 10


def test_a_sample_is_the_same_for_the_same_seed_and_another_for_another():
    split = two_tastes(users=40)
    people = [evaluate(rising(16), split, test=False, seed=seed, sample=10).users.tolist() for seed in (1, 1, 2)]
    assert people[0] == people[1] != people[2]


def test_a_sample_of_more_people_than_there_are_is_everybody():
    split = two_tastes(users=12)
    assert len(evaluate(rising(16), split, test=False, seed=0, sample=99).users) == 12


def test_the_headline_alone_is_that_of_the_whole_evaluation():
    split = two_tastes()
    for sample in (0, 7):
        whole = evaluate(rising(16), split, test=True, seed=3, sample=sample).headline()
        assert headline_of(rising(16), split, test=True, seed=3, sample=sample) == whole
