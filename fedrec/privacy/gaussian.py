"""Epsilon of Gaussian releases in closed form: exact, and light enough for a device.

Known participations amount to one Gaussian release of mu^2 = sum 1 / noise_multiplier^2
(Dong et al. 2019, arXiv:1905.02383), whose epsilon has a closed form (Balle and Wang 2018,
arXiv:1805.06530, theorem 8). Sub-sampled releases and Skellam noise have none: their figures
here are None, or a bound, which leaves the sampling out.
"""

import math

from fedrec.errors import ConfigError
from fedrec.privacy.renyi import renyi_epsilon
from fedrec.privacy.spends import Spending, skellams

_LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)
# Beyond it the normal distribution's tail is under the smallest float.
_FARTHEST = 40.0


def gdp_mu(spending: Spending) -> float | None:
    """mu of the one Gaussian that a spending amounts to; None where a step is sub-sampled, or noise is Skellam."""
    return None if _inexact(spending) else mu_without_amplification(spending)


def zcdp_rho(spending: Spending) -> float | None:
    """rho of zero-concentrated privacy, mu^2 / 2; None where a step is sub-sampled, or noise is Skellam.

    Source: Bun and Steinke 2016, arXiv:1605.02065.
    """
    return None if _inexact(spending) else _precision(spending) / 2


def exact_epsilon(spending: Spending, *, delta: float, replace_one: bool = False) -> float | None:
    """Epsilon at `delta`, exactly; None where a step is sub-sampled, or noise is Skellam."""
    return None if _inexact(spending) else epsilon_without_amplification(spending, delta=delta, replace_one=replace_one)


def exact_delta(spending: Spending, *, epsilon: float, replace_one: bool = False) -> float | None:
    """Delta at `epsilon`, exactly; None where a step is sub-sampled, or noise is Skellam."""
    if _inexact(spending):
        return None
    return gaussian_delta((2 if replace_one else 1) * mu_without_amplification(spending), epsilon=epsilon)


def epsilon_without_amplification(spending: Spending, *, delta: float, replace_one: bool = False) -> float:
    """An upper bound on epsilon that leaves sampling out; exact where nothing is sub-sampled.

    replace_one: a unit is replaced, not zeroed out: twice the sensitivity, so half the noise.
    """
    if skellams(spending):
        return renyi_epsilon(spending, delta=delta, replace_one=replace_one)
    return gaussian_epsilon((2 if replace_one else 1) * mu_without_amplification(spending), delta=delta)


def mu_without_amplification(spending: Spending) -> float:
    """mu of the Gaussian that a spending would amount to if every unit entered every step.

    Skellam noise counts as the Gaussian of its variance, which it is next to; that bounds nothing.
    """
    return math.sqrt(_precision(spending))


def gaussian_epsilon(mu: float, *, delta: float) -> float:
    """The least epsilon at which a Gaussian of sensitivity over noise `mu` is (epsilon, delta)-private.

    >>> round(gaussian_epsilon(1.0, delta=1e-5), 4)
    4.3772
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta is {delta}. It lies between 0 and 1, such as 1e-6.")
    if mu in (0, math.inf):
        return mu
    low, high = -_FARTHEST, min(mu / 2, _FARTHEST)
    if _log_delta(mu, high) <= math.log(delta):
        return 0.0
    # In terms of a = mu/2 - epsilon/mu nothing overflows, however large epsilon is.
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _log_delta(mu, middle) <= math.log(delta) else (low, middle)
    return mu * (mu / 2 - low)


def gaussian_delta(mu: float, *, epsilon: float) -> float:
    """The least delta at which a Gaussian of sensitivity over noise `mu` is (epsilon, delta)-private."""
    if not epsilon >= 0:
        raise ConfigError(f"epsilon is {epsilon}. It is at least 0.")
    if mu == 0 or math.isinf(epsilon):
        return 0.0
    if math.isinf(mu):
        return 1.0
    return math.exp(min(0.0, _log_delta(mu, min(mu / 2 - epsilon / mu, _FARTHEST))))


def best_guess(epsilon: float, *, delta: float, mu: float | None = None) -> float:
    """How often somebody who sees every release is right, at even odds, on whether one unit was there: at most.

    Exact where `mu` describes the whole composition. Sources: Dong, Roth and Su 2019,
    arXiv:1905.02383; for (epsilon, delta) Kairouz, Oh and Viswanath 2015, arXiv:1311.0776.

    >>> round(best_guess(1.0, delta=1e-6), 3), round(best_guess(8.0, delta=1e-6, mu=1.53), 3)
    (0.731, 0.778)
    """
    if mu is not None:
        return 0.5 * math.erfc(-mu / 8**0.5)
    return min(1.0, (1 + delta * math.exp(-epsilon)) / (1 + math.exp(-epsilon)))


def _inexact(spending: Spending) -> bool:
    return bool(skellams(spending)) or any(spend.sampling_rate < 1 for spend, _ in spending)


def _precision(spending: Spending) -> float:
    """The sum of 1 / noise_multiplier^2; infinite rather than an overflow."""
    if not all(spend.noise_multiplier > 0 for spend, _ in spending):
        noise = min(spend.noise_multiplier for spend, _ in spending)
        raise ConfigError(f"noise_multiplier is {noise}. It is over 0; 1 is usual.")
    inverses = [(spend.steps * count, 1 / spend.noise_multiplier) for spend, count in spending]
    return float(sum(steps * inverse * inverse for steps, inverse in inverses))


def _log_delta(mu: float, a: float) -> float:
    """log(Phi(a) - e^epsilon Phi(a - mu)) at epsilon = mu (mu/2 - a), as a difference of Mills ratios.

    Both terms share the factor exp(-a^2/2): taken out, what is left neither overflows nor cancels.
    """
    upper = _log_mills(-a)
    gap = _log_mills(mu - a) - upper
    return upper - a * a / 2 - _LOG_SQRT_2_PI + math.log(-math.expm1(gap)) if gap < 0 else -math.inf


def _log_mills(x: float) -> float:
    """log of the normal distribution's tail above x over its density at x."""
    if x < 6:
        return x * x / 2 + _LOG_SQRT_2_PI + math.log(math.erfc(x / math.sqrt(2)) / 2)
    # Laplace's continued fraction; forty terms are exact to a float from 6 on.
    tail = x
    for term in range(40, 0, -1):
        tail = x + term / tail
    return -math.log(tail)
