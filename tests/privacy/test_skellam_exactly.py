"""Skellam's divergences without any bound: its ratios by recurrence, its sums in full, its worst split by search."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from fedrec.privacy.skellam import l1_bound, published_divergence, renyi_divergence

_VARIANCES = [0.05, 0.3, 1.0, 2.0, 5.0, 12.0, 50.0, 400.0, 1e4, 1e6]
_ORDERS = [1.001, 1.05, 1.3, 1.7, 1.99, 2.0, 2.01, 2.5, 3.0, 5.0, 7.3, 10.9, 32.0, 200.0]


@cache
def _log_noise(variance: float, reach: int) -> npt.NDArray[np.float64]:
    """Logarithms of the probabilities from -reach to reach, by I(k) / I(k - 1) = 1 / (2 k / mu + I(k + 1) / I(k)).

    Nothing underflows, and the probabilities are scaled by their own sum.
    """
    ratios, ratio = [0.0] * (reach + 1), 0.0
    for k in range(reach + 200, 0, -1):
        ratio = 1 / (2 * k / variance + ratio)
        if k <= reach:
            ratios[k] = math.log(ratio)
    half = np.cumsum(ratios)
    whole = np.concatenate([half[:0:-1], half])
    return np.asarray(whole - np.logaddexp.reduce(whole), dtype=np.float64)


@cache
def _exact(order: float, variance: float, moved: int) -> float:
    reach = max(256, 1 << int(14 * math.sqrt(variance) + 60 + 3 * order * moved).bit_length())
    noise = _log_noise(variance, reach)
    terms = order * noise[:-moved] + (1 - order) * noise[moved:]
    # What lies further out would not show in the last digit.
    assert max(terms[0], terms[-1]) < terms.max() - 36
    return float(np.logaddexp.reduce(terms)) / (order - 1)


@pytest.mark.parametrize("variance", _VARIANCES)
def test_no_move_of_one_coordinate_tells_more_than_the_bounds_say(variance: float) -> None:
    for order in _ORDERS:
        for moved in (1, 2, 3, 7, 20, 100):
            exact, of = _exact(order, variance, moved), {"norm_squared": moved**2, "l1": float(moved)}
            for bound in (renyi_divergence, published_divergence):
                assert exact <= bound(order, variance=variance, **of) * (1 + 1e-9) + 1e-13, (order, moved)


def _worst_split(order: float, *, variance: float, norm_squared: int, size: int) -> float:
    """The most that whole numbers on so many coordinates, of such a squared norm together, can tell."""
    each = {moved: _exact(order, variance, moved) for moved in range(1, math.isqrt(norm_squared) + 1)}
    most = [0.0] * (norm_squared + 1)
    for _ in range(min(size, norm_squared)):
        most = [
            max([most[left], *(most[left - moved**2] + told for moved, told in each.items() if moved**2 <= left)])
            for left in range(norm_squared + 1)
        ]
    return most[norm_squared]


@pytest.mark.parametrize("variance", [1.0, 5.0, 50.0, 1e4])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_however_a_norm_is_spread_over_coordinates_it_tells_no_more(variance: float, size: int) -> None:
    for order in (1.05, 1.5, 2.0, 3.7, 10.0, 32.0):
        for norm_squared in (1, 2, 6, 17, 50):
            worst = _worst_split(order, variance=variance, norm_squared=norm_squared, size=size)
            of = {"norm_squared": norm_squared, "l1": l1_bound(norm_squared, size=size)}
            for bound in (renyi_divergence, published_divergence):
                assert worst <= bound(order, variance=variance, **of) * (1 + 1e-9), (order, norm_squared)


def test_between_whole_orders_only_fedrecs_own_bound_says_anything_and_only_of_noise_that_is_not_tiny() -> None:
    assert published_divergence(1.5, variance=100, norm_squared=4, l1=4) == math.inf
    assert renyi_divergence(1.5, variance=0.9, norm_squared=4, l1=4) == math.inf
    assert renyi_divergence(1.5, variance=100, norm_squared=4, l1=4) < math.inf
