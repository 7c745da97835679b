import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.model.history import decay_weights, history_sums
from tests.small_worlds import WIDTH, a_history, a_random_history

VECTORS = np.random.default_rng(0).normal(size=(40, WIDTH)).astype(np.float32)


def naive_sums(history, position, decay):
    """Walk back from the position; only an entry that says something makes the older ones older."""
    total, age = np.zeros(WIDTH), 0
    for entry in reversed(range(position)):
        weight = float(history.weights[entry])
        if weight > 0:
            total += (decay**age if age else 1.0) * weight * VECTORS[history.rows[entry]].astype(float)
            age += 1
    return total


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(0, 25),
    decays=st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_sums_equal_a_walk_back_through_the_history(seed, length, decays):
    history = a_random_history(np.random.default_rng(seed), length)
    positions = np.arange(length + 1)
    found = history_sums(history, positions, VECTORS, decays=decays)
    assert found.shape == (length + 1, len(decays), WIDTH)
    assert found.dtype == np.float32
    for position in positions:
        for number, decay in enumerate(decays):
            assert found[position, number] == pytest.approx(naive_sums(history, position, decay), abs=2e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), position=st.integers(0, 15))
def test_nothing_that_is_still_to_come_counts(seed, position):
    history = a_random_history(np.random.default_rng(seed), 15)
    whole = history_sums(history, np.array([position]), VECTORS, decays=(0.0, 0.7, 1.0))
    past = history_sums(history.take(slice(position)), np.array([position]), VECTORS, decays=(0.0, 0.7, 1.0))
    assert whole == pytest.approx(past, abs=1e-5)


def test_a_skip_neither_counts_nor_ages_what_came_before():
    with_skips = a_history([1, 30, 31, 2], weights=[1, 0, 0, 1])
    plain = a_history([1, 2])
    found = history_sums(with_skips, np.array([4]), VECTORS, decays=(0.5,))
    assert found == pytest.approx(history_sums(plain, np.array([2]), VECTORS, decays=(0.5,)))


def test_decay_zero_reads_the_last_entry_alone_and_decay_one_all_alike():
    weights = decay_weights(np.array([1, 0.5, 2], np.float32), np.array([3]), decays=(0.0, 1.0))
    assert weights.tolist() == [[[0, 0, 2], [1, 0.5, 2]]]


def test_an_empty_history_is_zeros():
    assert not history_sums(a_history([]), np.array([0]), VECTORS, decays=(0.0, 0.9)).any()
