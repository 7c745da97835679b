"""From canaries to lower bounds on epsilon: how well can a reader tell who was there?

A canary's statistic says how much of it the releases show. It was there or not by a fair
coin of its own; the better the statistics tell the two apart, the larger epsilon must be.
"""

import math

import numpy as np
from scipy import optimize, stats

from fedrec.data.sequences import Bools
from fedrec.privacy.gaussian import gaussian_epsilon
from fedrec.privacy.mechanism import Doubles

# Shares of the canaries that are guessed; the others, in the middle, are abstained from.
_GUESSED = (0.1, 0.4, 1.0)
_LARGEST = 50.0
# Without any noise the fit has no end; from here on no figure says more.
_LARGEST_MU = 1e3


def one_run_bound(statistics: Doubles, included: Bools, *, delta: float, confidence: float) -> float:
    """A lower bound on epsilon at `delta` that is too high with probability at most 1 - confidence.

    statistics: (m,) larger where a canary shows more. included: (m,) the fair coins.
    Guesses the extremes at both ends, for several numbers of guesses, and takes the best.
    It assumes nothing about the mechanism, and saturates: m canaries cannot show more than
    about log(m / log(1 / (1 - confidence))).
    Source: Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, theorem 5.2.
    """
    order = np.argsort(statistics)
    total = len(order)
    # One chance of error for each number of guesses, so that the best of them is a bound.
    chance = (1 - confidence) / len(_GUESSED)
    best = 0.0
    for share in _GUESSED:
        side = max(1, round(share * total / 2))
        correct = int(included[order[-side:]].sum() + (~included[order[:side]]).sum())
        best = max(best, _rejected_below(total, 2 * side, correct, delta=delta, chance=chance))
    return best


def _rejected_below(total: int, guesses: int, correct: int, *, delta: float, chance: float) -> float:
    """The largest epsilon under which so many correct guesses have a smaller probability than `chance`."""

    def excess(epsilon: float) -> float:
        return guess_chance(total, guesses, correct, epsilon=epsilon, delta=delta) - chance

    if guesses > total or excess(0.0) >= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, _LARGEST, xtol=1e-4)) if excess(_LARGEST) > 0 else _LARGEST


def guess_chance(total: int, guesses: int, correct: int, *, epsilon: float, delta: float) -> float:
    """At most how likely `correct` right guesses are under (epsilon, delta).

    Without delta each guess is right with probability e^epsilon / (1 + e^epsilon) at most.

    >>> round(guess_chance(100, 10, 10, epsilon=0.0, delta=0.0) * 2**10, 6)
    1.0
    """
    right = 1 / (1 + math.exp(-epsilon))
    beyond = float(stats.binom.sf(correct - 1, guesses, right))
    short = np.cumsum(stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, right))
    slope = float((short / np.arange(1, correct + 1)).max(initial=0.0))
    return min(1.0, beyond + 2 * total * delta * slope)


def gaussian_fit_bound(statistics: Doubles, included: Bools, *, delta: float, confidence: float) -> float:
    """A lower bound on epsilon IF the statistics are Gaussian with the same variance for both coins.

    That is an assumption, true for a Gaussian mechanism and many small canaries; it is much
    sharper than `one_run_bound`. Its error is normal by the delta method.
    Source: Andrew et al. 2023, arXiv:2302.03098.
    """
    there, absent = statistics[included], statistics[~included]
    if min(len(there), len(absent)) < 2:
        return 0.0
    freedom = len(statistics) - 2
    spread = math.sqrt((there.var() * len(there) + absent.var() * len(absent)) / freedom)
    mu = min(_LARGEST_MU, float(there.mean() - absent.mean()) / max(spread, np.finfo(np.float64).tiny))
    error = math.sqrt(1 / len(there) + 1 / len(absent) + mu**2 / (2 * freedom))
    return gaussian_epsilon(max(0.0, mu - float(stats.norm.isf(1 - confidence)) * error), delta=delta)
