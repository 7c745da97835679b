import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from fedrec.privacy.skellam import BETA, l1_bound, renyi_divergence, rounded_norm_squared, share_variance

_ORDERS = [1.05, 1.3, 1.5, 2.0, 2.5, 3.0, 7.3, 16.0]


def _exact(order: float, *, variance: float, moved: int) -> float:
    """The divergence of one coordinate's noise from the same noise moved, summed over all whole numbers."""
    reach = int(14 * variance**0.5 + 40 + order * moved * 2)
    places = np.arange(-reach, reach + 1)
    # What underflows is left out, which makes the sum smaller, not larger.
    with np.errstate(divide="ignore"):
        noise = np.log(special.ive(np.abs(places), variance))
        other = np.log(special.ive(np.abs(places - moved), variance))
    known = np.isfinite(noise) & np.isfinite(other)
    return float(special.logsumexp(order * other[known] + (1 - order) * noise[known]) / (order - 1))


@pytest.mark.parametrize("order", _ORDERS)
@pytest.mark.parametrize("variance", [20, 400, 2500, 10**5])
@pytest.mark.parametrize("moved", [1, 2, 5, 16])
def test_the_bound_is_over_the_exact_divergence_of_one_coordinate(order: float, variance: int, moved: int) -> None:
    exact = _exact(order, variance=variance, moved=moved)
    bound = renyi_divergence(order, variance=variance, norm_squared=moved**2, l1=moved)
    assert exact <= bound * (1 + 1e-9)


@pytest.mark.parametrize("order", [1.5, 2.0, 3.5])
def test_the_bound_is_close_where_the_noise_is_fine(order: float) -> None:
    exact = _exact(order, variance=10**6, moved=300)
    bound = renyi_divergence(order, variance=10**6, norm_squared=300**2, l1=300)
    assert exact <= bound <= 1.001 * exact


@given(st.integers(1, 400), st.floats(0.5, 10**4))
def test_the_bounds_on_ratios_of_bessel_functions_that_the_proof_uses_hold(order: int, variance: float) -> None:
    before, after = special.ive(order - 1, variance), special.ive(order, variance)
    if after > 1e-300:
        x = order - 0.5
        ratio = math.log(before / after)
        assert math.asinh(x / variance) - 1e-12 <= ratio <= x / variance + 2 * x / variance**2 + 1e-12


@given(st.floats(1.05, 60), st.integers(4, 10**9), st.integers(1, 10**6))
def test_more_noise_never_costs_more_and_nothing_costs_less_than_a_gaussian(
    order: float, variance: int, norm_squared: int
) -> None:
    def cost(of: int) -> float:
        return renyi_divergence(order, variance=of, norm_squared=norm_squared, l1=l1_bound(norm_squared, size=100))

    assert cost(variance) >= cost(2 * variance)
    assert cost(variance) >= order * norm_squared / (2 * variance) * (1 - 1e-9)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_the_l1_norm_of_a_whole_numbered_vector_is_bounded(vector: list[int]) -> None:
    norm_squared = sum(entry * entry for entry in vector)
    assert sum(map(abs, vector)) <= l1_bound(norm_squared, size=len(vector)) + 1e-9


@given(st.integers(1, 2**16), st.floats(0.3, 100), st.integers(1, 1000))
def test_so_many_honest_shares_have_the_noise_multiplier_together(steps: int, noise: float, least: int) -> None:
    variance = share_variance(steps, noise_multiplier=noise, least_honest=least)
    assert least * variance >= (steps * noise) ** 2 * (1 - 1e-12)
    assert least * (variance - 1) < (steps * noise) ** 2 * (1 + 1e-12)


def test_half_of_all_roundings_at_the_norm_are_kept() -> None:
    size, steps = 5000, 256
    random = np.random.default_rng(2)
    update = random.normal(size=size)
    update *= steps / np.linalg.norm(update)
    rounded = np.floor(update + random.random((2000, size)))
    kept = (rounded**2).sum(axis=1) <= rounded_norm_squared(steps, size=size)
    assert kept.mean() > 1 - BETA
