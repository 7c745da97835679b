"""From Renyi divergences to an epsilon at a delta: what Skellam noise is accounted by, light enough for a device."""

import math
from collections.abc import Sequence

from fedrec.privacy.spends import Spending, gaussians, skellams

# Those of dp-accounting, so that what is compared differs in the noise alone.
ORDERS = (*(1 + tenth / 10 for tenth in range(1, 100)), *map(float, range(11, 64)), 128.0, 256.0, 512.0, 1024.0)


def renyi_epsilon(spending: Spending, *, delta: float, replace_one: bool = False) -> float:
    """An upper bound on epsilon at `delta` that leaves sampling out; infinite where delta is too small for any.

    Of delta, the probabilities come off that a sum holds too few honest shares, and what the sampler may be wrong by.
    """
    times = 2 if replace_one else 1
    precision = sum(spend.steps * count / spend.noise_multiplier**2 for spend, count in gaussians(spending))
    divergences = [order * times * times * precision / 2 for order in ORDERS]
    return charged_epsilon(spending, divergences, delta=delta, replace_one=replace_one)


def charged_epsilon(
    spending: Spending,
    divergences: Sequence[float],
    *,
    delta: float,
    replace_one: bool = False,
    published: bool = False,
) -> float:
    """Epsilon of a spending whose Gaussian part has these divergences, in the order of `ORDERS`.

    published: Skellam noise by the bound that others have proven alone, at whole orders.
    """
    parts = skellams(spending)
    divergences = [
        rest
        + sum(count * spend.divergence(order, replace_one=replace_one, published=published) for spend, count in parts)
        for order, rest in zip(ORDERS, divergences, strict=True)
    ]
    left = delta - sum(count * spend.failure for spend, count in parts)
    variation = sum(count * spend.total_variation for spend, count in parts)
    exact = converted(divergences, delta=left)
    if not variation or math.isinf(exact):
        return exact
    # Noise that is wrong by a total variation t of what it should be costs (1 + exp(epsilon)) t of delta; the epsilon
    # that it costs with the rest is not known before, so one more than that without is put in, and must suffice.
    found = converted(divergences, delta=left - (1 + math.exp(min(exact + 1, 700.0))) * variation)
    return found if found <= exact + 1 else math.inf


def converted(divergences: Sequence[float], *, delta: float) -> float:
    """The least epsilon that divergences of the orders `ORDERS` allow at `delta`; infinite where that is not over 0.

    Sources: Canonne, Kamath and Steinke 2020, arXiv:2004.00010, proposition 12; for an epsilon of 0 the bound of
    Bretagnolle and Huber 1979.
    """
    if delta <= 0:
        return math.inf
    if any(delta * delta > -math.expm1(-divergence) for divergence in divergences):
        return 0.0
    found = (
        divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)
        for order, divergence in zip(ORDERS, divergences, strict=True)
    )
    return max(0.0, min(found))
