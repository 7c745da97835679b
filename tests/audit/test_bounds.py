"""The bounds, held against mechanisms whose epsilon is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedrec.audit.bounds import gaussian_fit_bound, guess_chance, one_run_bound
from fedrec.privacy.gaussian import gaussian_epsilon

pytestmark = pytest.mark.slow

DELTA = 1e-6


def randomised_response(draw, count, epsilon):
    """Coins, and statistics that are right with the probability that epsilon allows."""
    included = draw.random(count) < 0.5
    right = draw.random(count) < 1 / (1 + math.exp(-epsilon))
    # Ties are broken by chance, so that no order of the canaries helps the guesser.
    return np.where(included == right, 1.0, 0.0) + 1e-6 * draw.random(count), included


def gaussian(draw, count, mu):
    included = draw.random(count) < 0.5
    return draw.normal(size=count) + mu * included, included


def test_without_delta_the_chance_is_the_binomial_tail():
    epsilon = 0.7
    found = guess_chance(500, 80, 61, epsilon=epsilon, delta=0.0)
    assert found == pytest.approx(stats.binom.sf(60, 80, 1 / (1 + math.exp(-epsilon))))


def test_delta_adds_what_the_theorem_says():
    # Steinke, Nasr and Jagielski 2023, theorem 5.2, written out by hand.
    total, guesses, correct, epsilon, delta = 300, 40, 35, 0.5, 1e-4
    right = math.exp(epsilon) / (1 + math.exp(epsilon))
    chance = [math.comb(guesses, n) * right**n * (1 - right) ** (guesses - n) for n in range(guesses + 1)]
    slope = max(sum(chance[correct - i : correct]) / i for i in range(1, correct + 1))
    expected = sum(chance[correct:]) + 2 * total * delta * slope
    assert guess_chance(total, guesses, correct, epsilon=epsilon, delta=delta) == pytest.approx(expected)


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0])
def test_the_one_run_bound_is_seldom_over_the_epsilon_of_randomised_response(epsilon):
    bounds = [
        one_run_bound(*randomised_response(np.random.default_rng(seed), 400, epsilon), delta=0.0, confidence=0.9)
        for seed in range(100)
    ]
    # Twenty of a hundred would be four standard errors over the ten that are allowed.
    assert sum(bound > epsilon for bound in bounds) < 20
    assert max(bounds) > epsilon / 2


def test_coins_that_statistics_know_nothing_of_show_nothing():
    draw = np.random.default_rng(0)
    coins = draw.random(2000) < 0.5
    assert one_run_bound(draw.normal(size=2000), coins, delta=DELTA, confidence=0.999) == 0
    assert gaussian_fit_bound(draw.normal(size=2000), coins, delta=DELTA, confidence=0.999) == 0


@pytest.mark.parametrize("count", [100, 1000])
def test_the_one_run_bound_of_perfect_guesses_saturates_as_documented(count):
    included = np.random.default_rng(1).random(count) < 0.5
    included[: count // 2], included[count // 2 :] = True, False
    found = one_run_bound(included.astype(np.float64), included, delta=0.0, confidence=0.95)
    # All guesses are right with probability (1 + e^-epsilon) ** -count; three numbers of guesses share .05.
    assert found == pytest.approx(-math.log(math.expm1(math.log(60) / count)), abs=0.01)


@pytest.mark.parametrize("mu", [0.25, 0.5, 2.0])
def test_the_fit_bound_is_seldom_over_the_epsilon_of_a_gaussian(mu):
    true = gaussian_epsilon(mu, delta=DELTA)
    bounds = [
        gaussian_fit_bound(*gaussian(np.random.default_rng(seed), 600, mu), delta=DELTA, confidence=0.95)
        for seed in range(300)
    ]
    assert sum(bound > true for bound in bounds) <= 300 * 0.05 + 4 * math.sqrt(300 * 0.05 * 0.95)
    assert np.median(bounds) > true / 3


def test_the_fit_tells_half_the_noise_from_all_of_it():
    reported = gaussian_epsilon(0.5, delta=DELTA)
    for seed in range(20):
        whole, half = (gaussian(np.random.default_rng(seed), 1600, mu) for mu in (0.5, 1.0))
        assert gaussian_fit_bound(*whole, delta=DELTA, confidence=1 - 1e-5) < reported
        assert gaussian_fit_bound(*half, delta=DELTA, confidence=1 - 1e-5) > reported


def test_statistics_without_any_spread_have_a_finite_bound():
    included = np.arange(100) < 50
    assert math.isfinite(gaussian_fit_bound(included.astype(np.float64), included, delta=DELTA, confidence=0.9))


@pytest.mark.parametrize("included", [np.ones(20, bool), np.zeros(20, bool), np.ones(0, bool)])
def test_coins_that_all_fell_alike_show_nothing_by_the_fit(included):
    assert gaussian_fit_bound(np.arange(len(included)) * 1.0, included, delta=DELTA, confidence=0.9) == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_units_do_not_matter(seed, scale, shift):
    statistics, included = gaussian(np.random.default_rng(seed), 200, 1.5)
    for bound in (one_run_bound, gaussian_fit_bound):
        before = bound(statistics, included, delta=DELTA, confidence=0.9)
        after = bound(scale * statistics + shift, included, delta=DELTA, confidence=0.9)
        assert after == pytest.approx(before, rel=1e-6, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), mu=st.floats(0, 4))
def test_more_confidence_and_a_larger_delta_never_raise_a_bound(seed, mu):
    case = gaussian(np.random.default_rng(seed), 300, mu)
    for bound in (one_run_bound, gaussian_fit_bound):
        usual = bound(*case, delta=1e-5, confidence=0.95)
        assert bound(*case, delta=1e-5, confidence=0.999) <= usual + 1e-3
        assert bound(*case, delta=1e-3, confidence=0.95) <= usual + 1e-3
