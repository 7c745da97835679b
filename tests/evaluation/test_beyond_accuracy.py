from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedrec.evaluation.beyond_accuracy import coverage, diversity, long_tail_share, novelty, top_items


@given(hnp.arrays(np.float64, (3, 7), elements=st.floats(-5, 5), unique=True), st.integers(1, 7))
def test_top_items_equals_a_full_sort(scores, k):
    assert np.array_equal(top_items(scores, k), np.argsort(-scores, axis=1)[:, :k])


@given(hnp.arrays(np.float64, (6, 3), elements=st.floats(-3, 3).filter(lambda x: abs(x) > 0.01)))
def test_diversity_equals_the_mean_over_pairs(vectors):
    lists = np.array([[0, 1, 2, -1], [5, 3, 4, 0]])
    expected = []
    for row in lists:
        pairs = combinations(vectors[row[row >= 0]], 2)
        expected.append(np.mean([1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))
    assert diversity(lists, vectors) == pytest.approx(expected)


def test_equal_items_have_no_diversity_and_orthogonal_items_have_all():
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    assert diversity(np.array([[0, 1], [0, 2], [1, -1]]), vectors).tolist() == pytest.approx([0, 1, 0])


def test_novelty_is_the_surprise_in_bits():
    # With one added to each count the shares are 1/2, 1/4, 1/4.
    counts = np.array([3, 1, 1])
    assert novelty(np.array([[0, -1], [0, 1], [1, 2]]), counts).tolist() == pytest.approx([1, 1.5, 2])


def test_the_long_tail_is_what_lies_outside_the_most_popular_fifth():
    counts = np.array([9, 9, 1, 1, 1, 1, 1, 1, 1, 0])
    assert long_tail_share(np.array([[0, 1], [1, 2], [9, 5]]), counts).tolist() == [0, 0.5, 1]


def test_items_that_nobody_chose_are_never_the_head():
    assert long_tail_share(np.array([[0, 1]]), np.array([4, 0, 0, 0, 0, 0, 0, 0, 0, 0])).tolist() == [0.5]


def test_coverage_is_the_share_of_items_shown():
    assert coverage(np.array([True, False, False, True])) == 0.5
