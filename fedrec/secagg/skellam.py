"""Skellam noise in integers: each client's share of a sum's noise, from an exact table.

A Skellam variable of variance mu is the difference of two Poisson variables of mean mu / 2; sums of Skellam shares
are Skellam again (Skellam 1946), which the discrete Gaussian's are not. It is drawn by inversion: 128 random bits are
compared with thresholds that whole-number arithmetic makes, so that no floating point shapes the noise (Mironov 2012).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrec.errors import ConfigError
from fedrec.privacy.randomness import RandomSource

Integers = npt.NDArray[np.int64]
Halves = npt.NDArray[np.uint64]

# More would make the table slow to build and larger than a processor's cache.
MOST_VARIANCE = 2**30
_BITS = 128
# The table begins where a sample is at least this many bits rarer than what a threshold can tell.
_BEYOND = 20
# Bits of the first number of the recurrence: every step rounds down by less than 2 ** -_GUARD of what it makes.
_GUARD = 192


@dataclass(frozen=True, slots=True)
class Skellam:
    """A sampler of variance `variance`.

    high, low: halves of the thresholds in rising order; the last is floor(2^128 Pr[|K| > 0]), the one before it that
    of |K| > 1, and so on. largest: no sample lies farther from 0.
    """

    variance: int
    high: Halves
    low: Halves

    @property
    def largest(self) -> int:
        """No sample lies farther from 0."""
        return len(self.high)

    def sample(self, size: int, *, source: RandomSource) -> Integers:
        """(size,) independent samples."""
        if not self.largest:
            return np.zeros(size, dtype=np.int64)
        high, low = source.words(size), source.words(size)
        signs = np.unpackbits(source.words(-(-size // 64)).view(np.uint8), count=size)
        under = np.searchsorted(self.high, high, side="right")
        magnitudes = self.largest - under
        # Equal high halves come once in 2^64 / len draws; they are told apart all the same.
        for place in np.flatnonzero((under > 0) & (self.high[under - 1] == high)):
            magnitudes[place] = self._magnitude(int(high[place]), int(low[place]))
        return np.where(signs, magnitudes, -magnitudes)

    def _magnitude(self, high: int, low: int) -> int:
        """How many thresholds lie over one draw."""
        first = int(np.searchsorted(self.high, np.uint64(high), side="left"))
        last = int(np.searchsorted(self.high, np.uint64(high), side="right"))
        return self.largest - first - int(np.searchsorted(self.low[first:last], np.uint64(low), side="right"))


def skellam(variance: int) -> Skellam:
    """The sampler of a variance; made once per process. A variance of 0 is no noise.

    Raises ConfigError for a variance that has no table.
    """
    if not 0 <= variance <= MOST_VARIANCE:
        raise ConfigError(
            f"A share of noise of variance {variance} has no table: it lies between 0 and {MOST_VARIANCE}. "
            "Choose a coarser grid."
        )
    return _made(variance)


@lru_cache(maxsize=4)
def _made(variance: int) -> Skellam:
    content = b"".join(threshold.to_bytes(16, "little") for threshold in thresholds(variance)) if variance else b""
    pairs = np.frombuffer(content, dtype="<u8").reshape(-1, 2)
    low, high = (np.ascontiguousarray(pairs[:, half]) for half in (0, 1))
    return Skellam(variance, high, low)


def largest_sample(variance: int) -> int:
    """A whole number that no sample of a variance passes, without making its table."""
    return _first(variance) if variance else 0


def total_variation(variance: int) -> float:
    """How far the distribution of one sample of a variance is from Skellam's at most.

    Each threshold is rounded down by less than 2 units of 2^-128, and so each of the two probabilities beside it is
    wrong by as much; what lies beyond the table is rarer than one unit.
    """
    return 2.0 * (largest_sample(variance) + 1) * 2.0**-_BITS if variance else 0.0


def thresholds(variance: int) -> list[int]:
    """floor(2^128 Pr[|K| > j]) for j from where it is over 0 down to 0, each low by less than 2.

    Miller's backward recurrence of the modified Bessel functions, I(k-1) = I(k+1) + (2k / mu) I(k), in whole numbers:
    all terms are positive, so relative errors never grow. Cutting it off beyond `_first` changes a probability by
    less than the mass out there.
    """
    after, here, tail = 0, 1 << _GUARD, 0
    tails = []
    for order in range(_first(variance), 0, -1):
        tail += here
        tails.append(tail)
        after, here = here, after + 2 * order * here // variance
    whole = here + 2 * tail
    # One division for all: its quotient has _GUARD bits.
    shift = whole.bit_length() + _GUARD
    inverse = (1 << shift) // whole
    found = ((tail * inverse) >> (shift - _BITS - 1) for tail in tails)
    return [threshold for threshold in found if threshold]


def _first(variance: int) -> int:
    """A magnitude that is passed with probability under 2 ** -(128 + _BEYOND), by Chernoff's bound."""
    low, high = 0, 1
    while _log_passing(variance, high) > -(_BITS + _BEYOND) * math.log(2):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if _log_passing(variance, middle) <= -(_BITS + _BEYOND) * math.log(2) else (middle, high)
        )
    return high


def _log_passing(variance: int, magnitude: int) -> float:
    """Log of a bound on Pr[|K| >= magnitude]: twice E[exp(t K)] exp(-t magnitude) at the best t."""
    tilt = math.asinh(magnitude / variance)
    # cosh(t) - 1 as 2 sinh(t / 2)^2, which keeps its digits where t is small.
    return math.log(2) + 2 * variance * math.sinh(tilt / 2) ** 2 - tilt * magnitude
