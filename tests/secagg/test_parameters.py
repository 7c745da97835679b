import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from fedrec.errors import ConfigError
from fedrec.secagg.parameters import COMPLETE, Parameters, _log_tail, _log_tails, parameters_for


@given(st.integers(3, COMPLETE), st.floats(0, 0.4), st.floats(0, 0.3))
def test_small_cohorts_take_the_complete_graph_and_nothing_is_left_to_chance(
    clients: int, drop_out: float, corruption: float
) -> None:
    try:
        found = parameters_for(clients, drop_out=drop_out, corruption=corruption)
    except ConfigError:
        return
    assert found.is_complete
    assert found.failure == 0
    # A client that looks at a release, and colludes with nobody, knows its own noise.
    assert found.least_honest == clients - found.dropouts - max(found.corrupt, 1)
    # Two kinds of share for one peer are never both enough: each honest holder reveals one.
    assert 2 * found.threshold > found.neighbours + found.corrupt
    # Whoever stays finds enough shares when as many drop out as planned.
    assert clients - found.dropouts - 1 >= found.threshold


@given(st.integers(3, COMPLETE), st.floats(0, 0.3), st.floats(0, 0.2))
def test_tolerated_counts_are_rounded_up(clients: int, drop_out: float, corruption: float) -> None:
    try:
        found = parameters_for(clients, drop_out=drop_out, corruption=corruption)
    except ConfigError:
        return
    assert found.dropouts >= drop_out * clients - 1e-5
    assert found.corrupt >= corruption * clients - 1e-5


@pytest.mark.parametrize(("drop_out", "corruption"), [(0.5, 0.0), (0.3, 0.5), (0.0, 1.0), (-0.1, 0.0), (math.nan, 0.0)])
def test_rates_that_no_threshold_serves_are_refused(drop_out: float, corruption: float) -> None:
    with pytest.raises(ConfigError):
        parameters_for(10, drop_out=drop_out, corruption=corruption)


@pytest.mark.parametrize(("clients", "drop_out", "corruption"), [(200, 0.1, 0.1), (1000, 0.05, 0.05), (1000, 0.1, 0.1)])
def test_large_cohorts_have_few_neighbours_and_keep_most_of_the_honest_count(
    clients: int, drop_out: float, corruption: float
) -> None:
    found = parameters_for(clients, drop_out=drop_out, corruption=corruption)
    assert found.neighbours < 0.6 * clients
    assert found.least_honest >= 0.6 * (clients - found.dropouts - found.corrupt)
    assert 0 < found.failure <= 2**-60


def test_neighbours_grow_far_slower_than_the_cohort() -> None:
    few, many = (parameters_for(clients, drop_out=0.05, corruption=0.05) for clients in (500, 5_000))
    assert many.neighbours <= 1.5 * few.neighbours


@given(st.data())
def test_the_tail_is_the_hypergeometric_one(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 400))
    marked, draws = data.draw(st.integers(0, population)), data.draw(st.integers(0, population))
    least = data.draw(st.integers(-1, draws + 1))
    expected = hypergeom(population, marked, draws).sf(least - 1)
    assert math.exp(_log_tail(population, marked, draws, least)) == pytest.approx(expected, rel=1e-7, abs=1e-250)


def closed_sets(picks: dict[int, int], corrupt: int, threshold: int, *, under: int) -> int:
    """Sets of honest clients, fewer than `under`, of which each has enough neighbours inside or corrupt.

    picks: each one's neighbours, a bit for each client; so is corrupt.
    """
    found = 0
    for size in range(1, under):
        for each in combinations(picks, size):
            allowed = sum(1 << client for client in each) | corrupt
            found += all((picks[client] & allowed).bit_count() >= threshold for client in each)
    return found


def test_the_union_bound_is_the_expected_number_of_small_sets_that_could_be_summed() -> None:
    clients, neighbours, threshold, corrupt, under = 9, 4, 3, 1, 4
    honest = clients - corrupt
    bound = sum(
        math.comb(honest, size) * math.exp(size * _log_tail(clients - 1, size - 1 + corrupt, neighbours, threshold))
        for size in range(1, under)
    )
    draw, rounds, found = np.random.default_rng(5), 5_000, 0
    for _ in range(rounds):
        order = np.argsort(draw.random((honest, clients)) + 2 * np.eye(honest, clients))[:, :neighbours]
        picks = dict(enumerate((1 << order).sum(axis=1).tolist()))
        found += closed_sets(picks, 1 << (clients - 1), threshold, under=under)
    assert found / rounds == pytest.approx(bound, rel=0.15)


def test_the_same_question_has_one_answer_for_server_and_client() -> None:
    first = parameters_for(300, drop_out=0.1, corruption=0.05)
    parameters_for.cache_clear()
    assert parameters_for(300, drop_out=0.1, corruption=0.05) == first
    assert isinstance(first, Parameters)


@pytest.mark.parametrize("clients", [3, 10, 300])
def test_where_nobody_colludes_the_noise_is_enough_for_a_client_that_subtracts_its_own(clients: int) -> None:
    trusting = parameters_for(clients, drop_out=0.0, corruption=0.0)
    assert trusting.corrupt == 0
    assert trusting.least_honest <= clients - 1


@given(st.data())
def test_many_tails_at_once_are_each_the_same(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 200))
    draws = data.draw(st.integers(1, population))
    least = data.draw(st.integers(1, draws))
    marked = np.arange(population + 1)
    expected = [math.exp(_log_tail(population, int(each), draws, least)) for each in marked]
    assert np.exp(_log_tails(population, marked, draws, least)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("clients", [0, 1])
def test_a_cohort_of_one_is_no_sum(clients: int) -> None:
    with pytest.raises(ConfigError, match=f"^A cohort of {clients} is no sum"):
        parameters_for(clients, drop_out=0.0, corruption=0.0)
