import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedrec.errors import DataError
from fedrec.evaluation.metrics import (
    Estimate,
    bootstrap,
    bootstrap_difference,
    hit_rate,
    ndcg,
    rank_metrics,
    ranks,
    reciprocal_rank,
)


def brute_rank(scores, target, masked):
    """The mean place of the target over both extreme orders of its ties."""
    rivals = [score for item, score in enumerate(scores) if item != target and item not in masked]
    best = 1 + sum(score > scores[target] for score in rivals)
    worst = best + sum(score == scores[target] for score in rivals)
    return (best + worst) / 2


@st.composite
def ranking_problems(draw):
    users, items = draw(st.integers(1, 4)), draw(st.integers(2, 9))
    # Few distinct scores, so that ties are common.
    scores = draw(hnp.arrays(np.float32, (users, items), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])))
    targets = np.array([draw(st.integers(0, items - 1)) for _ in range(users)])
    masked = [
        np.array(draw(st.lists(st.integers(0, items - 1).filter(lambda item, t=target: item != t))), dtype=np.int64)
        for target in targets
    ]
    return scores, targets, masked


@given(ranking_problems())
def test_ranks_equal_the_brute_force_count(problem):
    scores, targets, masked = problem
    expected = [brute_rank(*each) for each in zip(scores, targets, map(set, masked), strict=True)]
    assert ranks(scores, targets, masked).tolist() == expected


@given(ranking_problems())
def test_what_a_masked_item_scores_does_not_matter(problem):
    scores, targets, masked = problem
    changed = scores.copy()
    for row, hidden in zip(changed, masked, strict=True):
        row[hidden] = np.nan
    assert np.array_equal(ranks(changed, targets, masked), ranks(scores, targets, masked))


def test_a_constant_scorer_ranks_every_target_in_the_middle():
    assert ranks(np.zeros((1, 101)), np.array([7]), [np.array([], dtype=int)]).tolist() == [51.0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused(wrong):
    with pytest.raises(DataError, match="1 scores are not finite"):
        ranks(np.array([[0.0, wrong, 1.0]]), np.array([0]), [np.array([2])])


def test_a_masked_target_and_a_target_outside_the_catalogue_are_refused():
    with pytest.raises(DataError, match="masked"):
        ranks(np.zeros((1, 3)), np.array([1]), [np.array([1])])
    with pytest.raises(DataError, match="outside"):
        ranks(np.zeros((1, 3)), np.array([3]), [np.array([1])])


def test_metrics_match_hand_worked_examples():
    # Reciprocal ranks 1/3, 1/2, 1: the example of Wikipedia's "Mean reciprocal rank", 11/18.
    assert reciprocal_rank(np.array([3.0, 2.0, 1.0])).mean() == pytest.approx(11 / 18)
    # One relevant item at rank r gains 1 / log2(1 + r): 1 at rank 1, 1/2 at rank 3, 1/3 at rank 7.
    assert ndcg(np.array([1.0, 3.0, 7.0, 11.0]), 10).tolist() == pytest.approx([1, 1 / 2, 1 / 3, 0])
    assert hit_rate(np.array([10.0, 10.5, 11.0]), 10).tolist() == [1, 0, 0]


def test_recall_equals_the_hit_rate_because_one_item_is_held_out():
    metrics = rank_metrics(np.array([1.0, 6.0, 15.0, 40.0]))
    assert set(metrics) == {f"{name}@{k}" for name in ("ndcg", "hr", "recall") for k in (5, 10, 20)} | {"mrr"}
    for k in (5, 10, 20):
        assert np.array_equal(metrics[f"recall@{k}"], metrics[f"hr@{k}"])


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(1, 1000)))
def test_metrics_stay_between_zero_and_one_and_grow_with_the_cutoff(found):
    metrics = rank_metrics(found)
    assert all((values >= 0).all() and (values <= 1).all() for values in metrics.values())
    assert (metrics["ndcg@5"] <= metrics["ndcg@10"]).all()
    assert (metrics["hr@10"] <= metrics["hr@20"]).all()


def test_the_interval_of_a_coin_matches_the_binomial():
    values = np.repeat([0.0, 1.0], 200)
    found = bootstrap(values, seed=3, resamples=4000)
    # 1.96 standard errors of a fair coin over 400 throws: .049.
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.451, 0.549), abs=0.004)


def test_the_interval_agrees_with_drawing_users_one_by_one():
    values = np.random.default_rng(0).exponential(size=60)
    generator = np.random.default_rng(1)
    means = values[generator.integers(0, 60, size=(20_000, 60))].mean(axis=1)
    found = bootstrap(values, seed=2, resamples=20_000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.01)


def test_the_bootstrap_is_reproducible_and_a_constant_has_no_width():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)
    assert bootstrap(np.full(7, 0.25), seed=0) == Estimate(0.25, 0.25, 0.25)


def test_a_paired_difference_is_tighter_than_its_parts():
    generator = np.random.default_rng(0)
    second = generator.normal(size=300)
    first = second + 0.1 + 0.01 * generator.normal(size=300)
    found = bootstrap_difference(first, second, seed=0)
    assert 0.09 < found.low < found.value < found.high < 0.11
    with pytest.raises(DataError, match="pair"):
        bootstrap_difference(first, second[:5], seed=0)


@pytest.mark.parametrize("values", [[], [np.nan], [0.1, np.inf]])
def test_nothing_is_estimated_from_nobody_or_from_a_value_that_is_not_finite(values):
    with pytest.raises(DataError, match="Cannot estimate"):
        bootstrap(np.array(values), seed=0)


def test_an_estimate_prints_as_its_three_numbers():
    assert Estimate(0.5, 0.4, 0.6).as_json() == {"value": 0.5, "low": 0.4, "high": 0.6}
