"""From a budget to the noise that keeps it: the accountant, run backwards."""

import math
from collections.abc import Callable

from scipy.optimize import brentq

from fedrec.errors import ConfigError
from fedrec.privacy.accounting import MOST_EPSILON, Spending, epsilon_of

LEAST_EPSILON = 1e-4
LEAST_NOISE = 0.1
MOST_NOISE = 1e8
_STEPS = 10_000


def noise_multiplier_for(*, epsilon: float, delta: float, spending_of: Callable[[float], Spending]) -> float:
    """The least noise multiplier, in steps of .0001, at which `spending_of` it costs at most `epsilon`.

    spending_of: what the whole plan spends at a noise multiplier; more noise never costs more.
    Raises ConfigError if no amount of noise keeps the budget, or if next to none does.
    """
    if not LEAST_EPSILON <= epsilon <= MOST_EPSILON:
        raise ConfigError(
            f"An epsilon of {epsilon} cannot be planned. Choose one between {LEAST_EPSILON} and {MOST_EPSILON:g}; "
            "8 is usual, 1 is strong."
        )

    def excess(noise_multiplier: float) -> float:
        # Finite, as a search between two points asks for: what costs more than can be told costs too much.
        return min(epsilon_of(spending_of(noise_multiplier), delta=delta), 2 * MOST_EPSILON) - epsilon

    low, high = _bracket(excess, epsilon, delta)
    steps = math.ceil(float(brentq(excess, low, high, xtol=0.25 / _STEPS)) * _STEPS)
    # The root is right to a quarter of a step: what is returned has been asked itself.
    while excess(steps / _STEPS) > 0:
        steps += 1
    while excess((steps - 1) / _STEPS) <= 0:
        steps -= 1
    return float(steps / _STEPS)


def _bracket(excess: Callable[[float], float], epsilon: float, delta: float) -> tuple[float, float]:
    """A noise that costs too much, and twice that, which does not."""
    high = 1.0
    while excess(high) > 0:
        if high > MOST_NOISE:
            raise ConfigError(
                f"No noise keeps epsilon {epsilon:g} at delta {delta:g}: at a noise multiplier of {high:g} "
                f"the plan costs {epsilon + excess(high):.4f}. Raise epsilon, or take part or release less often."
            )
        high *= 2
    while excess(high / 2) <= 0:
        if high / 2 < LEAST_NOISE:
            raise ConfigError(
                f"Epsilon {epsilon:g} at delta {delta:g} needs next to no noise: a multiplier of {high:g} "
                "keeps it, so it promises next to nothing. Lower epsilon or delta."
            )
        high /= 2
    return high / 2, high
