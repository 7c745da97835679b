"""The closed form, held against a quadrature of its definition and against the second implementation."""

import math
import subprocess
import sys

import numpy as np
import pytest
from dp_accounting.gaussian_mechanism import get_epsilon_gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import ConfigError
from fedrec.privacy.gaussian import (
    epsilon_without_amplification,
    exact_delta,
    exact_epsilon,
    gaussian_delta,
    gaussian_epsilon,
    gdp_mu,
    zcdp_rho,
)
from fedrec.privacy.spends import GaussianSpend


def spend(noise_multiplier, *, rate=1.0, steps=1):
    return GaussianSpend(noise_multiplier=noise_multiplier, sampling_rate=rate, steps=steps)


def integrated_delta(mu, epsilon):
    """The integral of (N(mu, 1) - e^epsilon N(0, 1))+, by the trapezium rule."""
    edge = mu / 2 + epsilon / mu
    x = np.linspace(edge, max(edge, mu) + 14, 400_001)
    density = np.exp(-((x - mu) ** 2) / 2) * -np.expm1(epsilon - mu * x + mu * mu / 2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(density, x))


@pytest.mark.parametrize("mu", [0.05, 0.5, 1, 3, 8])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1, 10, 40])
def test_delta_is_the_integral_of_where_one_density_outweighs_the_other(mu, epsilon):
    assert gaussian_delta(mu, epsilon=epsilon) == pytest.approx(integrated_delta(mu, epsilon), rel=1e-6, abs=1e-300)


@settings(max_examples=200, deadline=None)
@given(log_mu=st.floats(-3, 4), log_delta=st.floats(-200, -0.1))
def test_epsilon_is_the_second_implementation_s(log_mu, log_delta):
    mu, delta = 10**log_mu, 10**log_delta
    assert gaussian_epsilon(mu, delta=delta) == pytest.approx(get_epsilon_gaussian(1 / mu, delta), rel=1e-9, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(log_mu=st.floats(-3, 6), log_delta=st.floats(-300, -0.01))
def test_delta_at_epsilon_and_epsilon_at_delta_invert_each_other(log_mu, log_delta):
    mu, delta = 10**log_mu, 10**log_delta
    epsilon = gaussian_epsilon(mu, delta=delta)
    if epsilon == 0:
        assert gaussian_delta(mu, epsilon=0) <= delta
    else:
        assert gaussian_delta(mu, epsilon=epsilon) == pytest.approx(delta, rel=1e-6)


@pytest.mark.parametrize(
    ("releases", "golden"), [((1.0,), 4.3772), ((2.0,) * 4, 4.3772), ((1.0,) * 10, 17.8566), ((1.0,) * 30, 37.6225)]
)
def test_known_participations_have_the_golden_epsilon(releases, golden):
    spending = tuple((spend(noise), 1) for noise in releases)
    assert exact_epsilon(spending, delta=1e-5) == pytest.approx(golden, abs=5e-5)


@given(st.lists(st.tuples(st.floats(0.3, 50), st.integers(1, 40), st.integers(1, 40)), max_size=5))
def test_releases_amount_to_one_gaussian(entries):
    spending = tuple((spend(noise, steps=steps), count) for noise, steps, count in entries)
    mu = math.sqrt(sum(steps * count / noise**2 for noise, steps, count in entries))
    assert gdp_mu(spending) == pytest.approx(mu)
    assert zcdp_rho(spending) == pytest.approx(mu**2 / 2)
    assert exact_epsilon(spending, delta=1e-6) == pytest.approx(gaussian_epsilon(mu, delta=1e-6))
    assert exact_delta(spending, epsilon=2.0) == pytest.approx(gaussian_delta(mu, epsilon=2.0))


def test_nothing_spent_costs_nothing():
    assert (gdp_mu(()), zcdp_rho(()), exact_epsilon((), delta=1e-6), exact_delta((), epsilon=0)) == (0, 0, 0, 0)


@given(noise=st.floats(0.3, 50), count=st.integers(1, 100))
def test_replacing_a_unit_costs_exactly_what_half_the_noise_does(noise, count):
    whole, half = ((spend(noise), count),), ((spend(noise / 2), count),)
    assert exact_epsilon(whole, delta=1e-6, replace_one=True) == exact_epsilon(half, delta=1e-6)
    assert exact_delta(whole, epsilon=1, replace_one=True) == exact_delta(half, epsilon=1)


def test_sub_sampled_steps_have_no_closed_form_and_say_so():
    spending = ((spend(1.0), 3), (spend(1.0, rate=0.5), 1))
    assert gdp_mu(spending) is None
    assert zcdp_rho(spending) is None
    assert exact_epsilon(spending, delta=1e-6) is None
    assert exact_delta(spending, epsilon=1) is None


def test_a_bound_without_amplification_takes_every_unit_into_every_step():
    sampled, whole = ((spend(1.0, rate=0.01), 4),), ((spend(1.0), 4),)
    assert epsilon_without_amplification(sampled, delta=1e-6) == exact_epsilon(whole, delta=1e-6)


@pytest.mark.parametrize("mu", [1e-12, 1e-3, 1, 1e5, 1e150, 1e200, math.inf])
@pytest.mark.parametrize("delta", [5e-324, 1e-300, 1e-12, 0.5, 1 - 1e-16])
def test_no_size_of_noise_or_delta_overflows(mu, delta):
    assert gaussian_epsilon(mu, delta=delta) >= 0
    assert 0 <= gaussian_delta(mu, epsilon=delta) <= 1


@pytest.mark.parametrize("noise", [1e-200, 5e-324, 1e308])
def test_no_noise_multiplier_overflows(noise):
    assert exact_epsilon(((spend(noise), 10**9),), delta=1e-6) >= 0


@pytest.mark.parametrize("delta", [0, 1, -0.1, 1.1, math.nan, math.inf])
def test_a_delta_that_is_no_probability_is_refused(delta):
    with pytest.raises(ConfigError, match="delta is"):
        gaussian_epsilon(1.0, delta=delta)


@pytest.mark.parametrize("epsilon", [-1, math.nan])
def test_a_negative_epsilon_is_refused(epsilon):
    with pytest.raises(ConfigError, match="epsilon is"):
        gaussian_delta(1.0, epsilon=epsilon)


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan])
def test_noise_that_is_none_is_refused(noise):
    with pytest.raises(ConfigError, match="noise_multiplier is"):
        gdp_mu(((spend(noise), 1),))


def test_a_device_reaches_no_heavy_package_through_it():
    heavy = ["torch", "scipy", "dp_accounting", "opacus", "polars"]
    script = f"import sys, fedrec.privacy.gaussian; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
