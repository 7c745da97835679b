"""What a round of distributed Skellam noise costs: sensitivity after rounding, variance, Renyi divergences.

Two bounds on the divergence of order a, of which the smaller counts. D1, D2: L1 and L2 sensitivity in steps of the
grid; mu: variance of the sum's noise on each coordinate.

Agarwal, Kairouz and Liu 2021 (arXiv:2110.04995), for whole a:
  a D2^2 / (2 mu) + min(((2a - 1) D2^2 + 6 D1) / (4 mu^2), 3 D1 / (2 mu)).

Our own, for any a > 1 and mu >= 1, as the best order is often between 1 and 2. For one coordinate let Q be the noise,
moved by m >= 1: L(k) = log Q(k - m) / Q(k) is a sum of m terms log I(j - 1) / I(j), each between asinh(x / mu) and
x / mu + 2 x / mu^2 at x = j - 1/2 > 0 (Amos 1974, for I(j - 1) / I(j)) and odd in x. Summed, at y = k - m / 2: L is odd
in y; L <= t y for y > 0 and t = m (1 + 2 / mu) / mu; and for y < 0, L <= 0 and
  L - t y <= m |y| (2 / mu^2 + (|y| + m / 2)^2 / (6 mu^3)).
So E exp(a L) <= E exp(a t y) + a E max(L - t y, 0) over y < 0. The first is exp(mu (cosh(a t) - 1) - a t m / 2), at
least 1. In the second, half of the noise is not under 0, E |k| <= sqrt(mu) and E |k|^3 <= (3 mu^2 + mu)^0.75, which
for mu >= 1 leave less than
  a (2 m / mu^1.5 + m^2 / mu^2 + m^4 / mu^3).
The logarithm of a sum A + B with A >= 1 is at most log A + B; coordinates add up, with sum m^4 <= D2^4.
"""

import math
from fractions import Fraction

# Draws of a rounding that exceeds the norm are thrown away: at most 1 - exp(-1/2) of them (see `rounded_norm_squared`).
BETA = math.exp(-0.5)


def rounded_norm_squared(steps: int, *, size: int) -> int:
    """A whole number that the squared L2 norm of an update does not pass after rounding, in steps of the grid.

    steps: the clip norm on the grid, s C. size: numbers of an update at most, d. With probability over 1 - BETA a
    rounding keeps it; another one is drawn again.
    Source: Kairouz, Liu and Steinke 2021, arXiv:2102.06387, proposition 26, where sqrt(2 log(1 / BETA)) = 1.
    """
    # Two more than its whole part make up for the roots that were rounded down.
    return steps * steps + steps + (size + 2 * math.isqrt(size)) // 4 + 2


def share_variance(steps: int, *, noise_multiplier: float, least_honest: int) -> int:
    """Variance of one client's share, such that so many honest shares have the noise multiplier together.

    >>> share_variance(1024, noise_multiplier=2.0, least_honest=4)
    1048576
    """
    return math.ceil(Fraction(steps) ** 2 * Fraction(noise_multiplier) ** 2 / least_honest)


def l1_bound(norm_squared: int, *, size: int) -> float:
    """The L1 norm of a whole-numbered vector of a squared L2 norm at most: sqrt(d) D2, and never over D2^2."""
    return min(math.sqrt(size * norm_squared), float(norm_squared))


def renyi_divergence(order: float, *, variance: float, norm_squared: float, l1: float) -> float:
    """An upper bound on the Renyi divergence of one release, of order over 1."""
    return min(
        published_divergence(order, variance=variance, norm_squared=norm_squared, l1=l1),
        _between(order, variance, norm_squared, l1),
    )


def published_divergence(order: float, *, variance: float, norm_squared: float, l1: float) -> float:
    """The bound of Agarwal et al. alone; infinite between whole orders, of which it says nothing."""
    if not float(order).is_integer():
        return math.inf
    more = ((2 * order - 1) * norm_squared + 6 * l1) / (4 * variance**2)
    return order * norm_squared / (2 * variance) + min(more, 1.5 * l1 / variance)


def _between(order: float, variance: float, norm_squared: float, l1: float) -> float:
    """Our own bound, for any order over 1; infinite where it says nothing."""
    if variance < 1:
        return math.inf
    stretch = 1 + 2 / variance
    farthest = order * stretch * math.sqrt(norm_squared) / variance
    if farthest > 100:
        return math.inf
    # (cosh(x) - 1) / (x^2 / 2) rises with x, so its value at the longest move serves all coordinates.
    bend = (2 * math.sinh(farthest / 2) / farthest) ** 2
    moved = norm_squared / (2 * variance) * order * stretch * (order * stretch * bend - 1)
    rest = order * (
        2 * l1 / (variance * math.sqrt(variance)) + norm_squared / variance**2 + norm_squared**2 / variance**3
    )
    return (moved + rest) / (order - 1)
