"""A median of means: what a few hostile clients can and cannot do to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import OverNormError
from fedrec.training.aggregation import UpdateSum
from fedrec.training.robust import draw_groups, median_of_means

SIZE = 3
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def summed(updates, groups):
    """A sum of one update per client, clients numbered from 0."""
    total = UpdateSum(SIZE, groups=groups)
    for client, update in enumerate(updates):
        total.add(np.asarray(update, dtype=np.float32), client=client)
    return total


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**63))
def test_groups_are_as_equal_as_can_be_and_the_same_for_the_same_seed(clients, count, seed):
    cohort = list(range(100, 100 + clients))
    groups = draw_groups(cohort, count=count, seed=seed)
    sizes = np.bincount([groups.of(client) for client in cohort], minlength=count)
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert groups == draw_groups(cohort, count=count, seed=seed)


def test_another_round_has_other_groups():
    cohort = range(40)
    assert draw_groups(cohort, count=5, seed=1) != draw_groups(cohort, count=5, seed=2)


def test_updates_that_agree_have_their_own_value_as_the_median():
    groups = draw_groups(range(11), count=3, seed=0)
    update = np.array([0.5, -2.0, 0.0])
    assert summed([update] * 11, groups).mean(expected=11) == pytest.approx(update)


def test_who_is_missing_counts_as_a_zero_as_in_the_plain_mean():
    update = np.array([1.0, 2.0, 3.0])
    grouped = summed([update] * 9, draw_groups(range(12), count=3, seed=0))
    assert grouped.mean(expected=12) == pytest.approx(summed([update] * 9, draw_groups([], count=1, seed=0)).value / 12)


@st.composite
def cohorts_with_hostile_clients(draw):
    """k, honest updates, and k hostile ones at chosen places."""
    hostile = draw(st.integers(1, 3))
    clients = draw(st.integers(2 * hostile + 1, 20))
    honest = draw(st.integers(0, 2**32))
    places = draw(st.lists(st.integers(0, clients - 1), min_size=hostile, max_size=hostile, unique=True))
    attack = draw(st.lists(st.lists(NUMBERS, min_size=SIZE, max_size=SIZE), min_size=hostile, max_size=hostile))
    return hostile, clients, honest, dict(zip(places, attack, strict=True)), draw(st.integers(0, 2**32))


@given(cohorts_with_hostile_clients())
@settings(max_examples=200)
def test_k_hostile_clients_leave_the_result_between_the_means_of_honest_groups(world):
    hostile, clients, honest_seed, attack, seed = world
    honest = np.random.default_rng(honest_seed).normal(size=(clients, SIZE)).astype(np.float32)
    groups = draw_groups(range(clients), count=2 * hostile + 1, seed=seed)
    updates = [attack.get(client, honest[client]) for client in range(clients)]
    found = summed(updates, groups).mean(expected=clients)
    touched = {groups.of(client) for client in attack}
    members = [[c for c in range(clients) if groups.of(c) == g] for g in range(groups.count) if g not in touched]
    means = np.array([honest[each].astype(np.float64).mean(axis=0) for each in members])
    assert (means.min(axis=0) - 1e-9 <= found).all()
    assert (found <= means.max(axis=0) + 1e-9).all()


def test_one_client_more_than_it_withstands_takes_it_where_it_wants():
    groups = draw_groups(range(9), count=3, seed=0)
    first, second = (next(client for client in range(9) if groups.of(client) == group) for group in (0, 1))
    updates = [[1e6] * SIZE if client in (first, second) else [1.0] * SIZE for client in range(9)]
    assert (summed(updates, groups).mean(expected=9) > 1e5).all()


def test_a_group_that_nobody_replied_in_is_counted():
    groups = draw_groups(range(6), count=3, seed=0)
    total = UpdateSum(SIZE, groups=groups)
    total.add(np.ones(SIZE, np.float32), client=2)
    assert total.empty_groups == 2
    assert UpdateSum(SIZE).empty_groups == 0


def test_a_median_of_means_has_its_mean_per_group():
    assert median_of_means(np.array([[4.0, 2.0], [3.0, 9.0], [1.0, 1.0]]), [4, 3, 1]).tolist() == [1.0, 1.0]


@given(st.integers(0, 2**32), st.floats(0.01, 100.0))
def test_an_update_at_the_norm_bound_counts_and_one_over_it_does_not(seed, bound):
    total = UpdateSum(SIZE, norm_bound=bound)
    drawn = np.random.default_rng(seed).normal(size=SIZE)
    unit = drawn / np.linalg.norm(drawn)
    total.add((unit * bound * (1 - 1e-6)).astype(np.float32))
    with pytest.raises(OverNormError):
        total.add((unit * bound * (1 + 1e-6)).astype(np.float32))
    assert total.count == 1


def test_an_update_whose_squares_overflow_is_over_any_bound():
    with pytest.raises(OverNormError):
        UpdateSum(SIZE, norm_bound=1e30).add(np.full(SIZE, 3e38, np.float32))
