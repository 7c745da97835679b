import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import DataError
from fedrec.evaluation.labels import auc, f1, rmse

ONE_EACH = np.arange(4)


def test_auc_f1_and_rmse_match_published_examples():
    # scikit-learn's documentation of roc_auc_score: .75.
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    assert auc(scores, labels, ONE_EACH, seed=0).value == 0.75
    # At a threshold of .4: one true positive, one false positive, one false negative.
    assert f1(scores, labels, ONE_EACH, seed=0, threshold=0.4).value == 0.5
    # scikit-learn's documentation of root_mean_squared_error: .612.
    found = rmse(np.array([2.5, 0.0, 2, 8]), np.array([3, -0.5, 2, 7]), ONE_EACH, seed=0)
    assert found.value == pytest.approx(0.612, abs=5e-4)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.9]), st.integers(0, 1)), min_size=2, max_size=12))
def test_auc_equals_the_share_of_pairs_in_order(entries):
    scores, labels = map(np.array, zip(*entries, strict=True))
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not len(positive) or not len(negative):
        with pytest.raises(DataError, match="both labels"):
            auc(scores, labels, np.arange(len(scores)), seed=0, resamples=20)
        return
    pairs = np.sign(positive[:, None] - negative[None]) / 2 + 0.5
    assert auc(scores, labels, np.arange(len(scores)), seed=0, resamples=20).value == pytest.approx(pairs.mean())


def test_the_interval_is_over_users_not_entries():
    generator = np.random.default_rng(0)
    error = np.repeat(generator.exponential(size=20), 50)
    by_user = rmse(error, np.zeros(1000), np.repeat(np.arange(20), 50), seed=0)
    by_entry = rmse(error, np.zeros(1000), np.arange(1000), seed=0)
    assert by_user.high - by_user.low > 3 * (by_entry.high - by_entry.low)


def test_a_metric_without_entries_is_refused():
    nothing = np.array([])
    with pytest.raises(DataError, match="RMSE needs a rating"):
        rmse(nothing, nothing, nothing, seed=0)
