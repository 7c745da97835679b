"""Three numerical accountants of sub-sampled Gaussians, each asked only where its digits hold.

PLD and RDP are dp-accounting's, PRV is Opacus's. An accountant that has no answer says
infinity, never a small number.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, reduce
from typing import Any

import dp_accounting
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.rdp import RdpAccountant

from fedrec.privacy.gaussian import epsilon_without_amplification, mu_without_amplification
from fedrec.privacy.renyi import ORDERS, charged_epsilon
from fedrec.privacy.spends import GaussianSpend, Spending, gaussians, skellams

# Above it PRV overflows, and no epsilon means anything.
MOST_EPSILON = 500.0
# Above it the Fourier transforms of PLD and PRV take minutes and lose their digits.
MOST_SAMPLED_STEPS = 10**6
_MOST_POINTS = 2**21
_LEAST_NOISE = 1e-3
# Rounding of a Fourier transform, as mass in the tail, up to a thousand steps: measured at
# most 3e-14 against contour integrals such as those of tests/privacy/test_accounting.py.
_ROUNDING = 3e-14


def pld_epsilon(spending: Spending, *, delta: float, replace_one: bool = False) -> float:
    """Epsilon by privacy loss distributions; infinite where it overflows or `delta` drowns in rounding.

    Sources: Koskela et al. 2020, arXiv:1906.03049; Doroshenko et al. 2022, arXiv:2207.04380.
    """
    if not spending:
        return 0.0
    if skellams(spending):
        return math.inf
    steps = sampled_steps(spending)
    certain = delta - (_ROUNDING * max(1.0, steps / 1000) if steps else 0.0)
    # RDP at this delta bounds the cost of the grid; beyond, no figure is reported anyhow.
    if certain < delta / 2 or steps > MOST_SAMPLED_STEPS or _reach(spending, replace_one) > 8 * MOST_EPSILON:
        return math.inf
    try:
        return float(_loss(spending, replace_one).get_epsilon_for_delta(certain))
    except (OverflowError, ValueError):
        return math.inf


@lru_cache(maxsize=4096)
def rdp_epsilon(spending: Spending, *, delta: float, published: bool = False) -> float:
    """An upper bound on epsilon by Renyi divergences: looser than PLD, and hard to break numerically.

    published: Skellam noise without fedrec's own bound, at whole orders alone.
    Sources: Mironov et al. 2019, arXiv:1908.10530; Balle et al. 2020, arXiv:1905.09982.
    """
    if min((spend.noise_multiplier for spend, _ in spending), default=0.0) < _LEAST_NOISE:
        # Too little noise for the series of a sub-sampled step; without sampling it is bounded in closed form.
        return epsilon_without_amplification(spending, delta=delta)
    divergences = _rdp(gaussians(spending))
    if skellams(spending):
        # dp-accounting knows no Skellam noise: its divergences of the rest are added to ours.
        rest = [float(divergence) for divergence in divergences._rdp]
        return charged_epsilon(spending, rest, delta=delta, published=published)
    with _quiet():
        return float(divergences.get_epsilon(delta))


def rdp_epsilon_of_gaussians(spending: Spending, *, delta: float) -> float:
    """What the same plan would cost by RDP if its Skellam noise were Gaussian, of the same noise multiplier."""
    return rdp_epsilon(
        tuple((GaussianSpend(noise_multiplier=spend.noise_multiplier), count) for spend, count in skellams(spending))
        + gaussians(spending),
        delta=delta,
    )


@lru_cache(maxsize=64)
def _rdp(spending: tuple[tuple[GaussianSpend, int], ...]) -> RdpAccountant:
    """The Renyi divergences of a composition."""
    accountant = RdpAccountant(ORDERS)
    for spend, count in spending:
        step = dp_accounting.GaussianDpEvent(spend.noise_multiplier)
        with _quiet():
            accountant.compose(dp_accounting.PoissonSampledDpEvent(spend.sampling_rate, step), spend.steps * count)
    return accountant


@lru_cache(maxsize=256)
def prv_epsilon(spending: Spending, *, delta: float) -> float:
    """Epsilon by privacy random variables, an upper bound .01 above PRV's own estimate; infinite without an answer.

    Source: Gopi et al. 2021, arXiv:2106.02848.
    """
    if not spending:
        return 0.0
    if skellams(spending) or sampled_steps(spending) > MOST_SAMPLED_STEPS:
        return math.inf
    if rdp_epsilon(spending, delta=delta) > 2 * MOST_EPSILON:
        return math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        accountant = PRVAccountant()
        accountant.history = _history(spending)
        try:
            return max(0.0, float(accountant.get_epsilon(delta, eps_error=0.01)))
        # Its grid does not hold the loss, or delta drowns in rounding; or every loss is within delta.
        except (RuntimeError, ValueError) as fault:
            return 0.0 if str(fault) == "Cannot compute epsilon" else math.inf


def sampled_steps(spending: Spending) -> int:
    """How many steps a spending holds in which a unit may be left out."""
    return sum(spend.steps * count for spend, count in spending if spend.sampling_rate < 1)


@lru_cache(maxsize=8)
def _loss(spending: Spending, replace_one: bool) -> Any:
    """The privacy loss distribution of a composition."""
    interval = _interval(spending, replace_one)
    parts = [
        _step_loss(spend.noise_multiplier, spend.sampling_rate, interval, replace_one).self_compose(spend.steps * count)
        for spend, count in spending
        if spend.sampling_rate < 1
    ]
    # Full-batch Gaussians compose to one Gaussian exactly.
    mu = mu_without_amplification(_full_batch(spending))
    if mu:
        parts.append(_step_loss(1 / mu, 1.0, interval, replace_one))
    return reduce(lambda total, part: total.compose(part), parts)


@lru_cache(maxsize=64)
def _step_loss(noise_multiplier: float, sampling_rate: float, interval: float, replace_one: bool) -> Any:
    relation = dp_accounting.NeighboringRelation
    return privacy_loss_distribution.from_gaussian_mechanism(
        noise_multiplier,
        value_discretization_interval=interval,
        sampling_prob=sampling_rate,
        neighboring_relation=relation.REPLACE_ONE if replace_one else relation.ADD_OR_REMOVE_ONE,
    )


def _interval(spending: Spending, replace_one: bool) -> float:
    """The grid of losses, a power of two, on which an epsilon is at most about 2e-5 too large.

    Rounding to a grid of width h adds about h^2 / 6 to the variance of each step's loss, and so
    n h^2 / (12 s) to the standard deviation s of n steps; s is at least sqrt(sum n (q / noise)^2).
    A width rounded down to a power of two lets rounds of the same plan share their step.
    """
    steps = sampled_steps(spending) + 1
    spread = math.sqrt(
        sum(spend.steps * count * (spend.sampling_rate / spend.noise_multiplier) ** 2 for spend, count in spending)
    )
    wanted = min(max(5.7e-3 * math.sqrt(spread / steps), 1.5e-5), 1e-3)
    return float(2.0 ** math.floor(math.log2(max(wanted, 2 * _reach(spending, replace_one) / _MOST_POINTS))))


def _reach(spending: Spending, replace_one: bool) -> float:
    """About how far losses reach, of one step or of all of them: what the grid has to hold."""
    single = max(_largest_loss(spend.noise_multiplier, spend.sampling_rate) for spend, _ in spending)
    # Twice the sensitivity is up to four times the loss.
    return max(single, 2 * rdp_epsilon(spending, delta=1e-12)) * (4 if replace_one else 1)


def _largest_loss(noise_multiplier: float, sampling_rate: float) -> float:
    """The loss of a step whose noise is ten standard deviations out; cut where exp overflows."""
    exponent = min((10 + 0.5 / noise_multiplier) / noise_multiplier, 700.0)
    return math.log1p(sampling_rate * math.expm1(exponent))


def _full_batch(spending: Spending) -> Spending:
    return tuple((spend, count) for spend, count in spending if spend.sampling_rate == 1)


def _history(spending: Spending) -> list[tuple[float, float, int]]:
    """PRV's form of a spending; many full-batch steps as the one Gaussian that they are, which saves minutes."""
    entries = [(spend.noise_multiplier, spend.sampling_rate, spend.steps * count) for spend, count in spending]
    full = _full_batch(spending)
    mu = mu_without_amplification(full)
    if len(full) <= 8 and mu <= 10 and sum(spend.steps * count for spend, count in full) <= 1000:
        return entries
    return [entry for entry in entries if entry[1] < 1] + [(1 / mu, 1.0, 1)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without dp-accounting's notes on orders: one left out loosens the bound, one under 0 is a zero, rounded."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
