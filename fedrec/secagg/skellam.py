"""Skellam noise in integers: each client's share of a sum's noise, from an exact table.

A Skellam variable of variance mu is the difference of two Poisson variables of mean mu / 2; sums of Skellam shares
are Skellam again (Skellam 1946), which the discrete Gaussian's are not. It is drawn by inversion: 128 random bits are
compared with thresholds that whole-number arithmetic makes, so that no floating point shapes the noise (Mironov 2012).
A draw that 128 bits do not decide, one in 10^30, is decided by 384: what is left of the error is nothing even beside
exp(epsilon), which multiplies it.
"""

import math
from bisect import bisect_right
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
_BITS, _MORE_BITS = 128, 384
# A table begins where a sample is at least this many bits rarer than what a threshold can tell.
_BEYOND = 20
# Bits by which the recurrence's numbers are longer than thresholds: each step rounds down by less than one unit.
_GUARD = 64


@dataclass(frozen=True, slots=True)
class Skellam:
    """A sampler of variance `variance`.

    high, low: halves of the thresholds in rising order; the last is floor(2^128 Pr[|K| > 0]), the one before it that
    of |K| > 1, and so on.
    """

    variance: int
    high: Halves
    low: Halves

    @property
    def largest(self) -> int:
        """No sample lies farther from 0 that 128 bits decide."""
        return len(self.high)

    def sample(self, size: int, *, source: RandomSource) -> Integers:
        """(size,) independent samples."""
        if not self.largest:
            return np.zeros(size, dtype=np.int64)
        high, low = source.words(size), source.words(size)
        signs = np.unpackbits(source.words(-(-size // 64)).view(np.uint8), count=size)
        under = np.searchsorted(self.high, high, side="right")
        magnitudes = self.largest - under
        # A threshold is low by less than two units of the low half, which may carry into the high one.
        near = self.high[under - 1]
        close = (under > 0) & ((near == high) | (near + np.uint64(1) == high))
        for place in np.flatnonzero(close):
            magnitudes[place] = self.magnitude((int(high[place]) << 64) + int(low[place]), source=source)
        return np.where(signs, magnitudes, -magnitudes)

    def magnitude(self, draw: int, *, source: RandomSource) -> int:
        """How many exact thresholds lie over a draw of 128 bits, which more of `source` continue where they have to."""
        table = [(int(high) << 64) + int(low) for high, low in zip(self.high, self.low, strict=True)]
        over = self.largest - bisect_right(table, draw)
        # The largest threshold that does not lie over it may do so after all; so may those too small for the table.
        undecided = table[self.largest - over - 1] + 2 > draw if over < self.largest else draw < 2
        if not undecided:
            return over
        more = int.from_bytes(source.words((_MORE_BITS - _BITS) // 64).tobytes(), "little")
        exact = thresholds(self.variance, bits=_MORE_BITS)
        return len(exact) - bisect_right(exact, (draw << (_MORE_BITS - _BITS)) + more)


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
    return _first(variance, _MORE_BITS) if variance else 0


def total_variation(variance: int) -> float:
    """How far the distribution of one sample of a variance is from Skellam's at most.

    Each of the finer thresholds is rounded down by less than 2 units of 2^-384, and so each of the two probabilities
    beside it is wrong by as much; what lies beyond them is rarer than one unit.
    """
    return 2.0 * (largest_sample(variance) + 1) * 2.0**-_MORE_BITS if variance else 0.0


def thresholds(variance: int, *, bits: int = _BITS) -> list[int]:
    """2^bits Pr[|K| > j] for j from where it is over 0 down to 0, in whole numbers that are low by less than 2.

    Miller's backward recurrence of the modified Bessel functions, I(k-1) = I(k+1) + (2k / mu) I(k), in whole numbers:
    all terms are positive, so relative errors never grow. Cutting it off beyond `_first` changes a probability by
    less than the mass out there.
    """
    after, here, tail = 0, 1 << (bits + _GUARD), 0
    tails = []
    for order in range(_first(variance, bits), 0, -1):
        tail += here
        tails.append(tail)
        after, here = here, after + 2 * order * here // variance
    whole = here + 2 * tail
    # One division for all: its quotient has _GUARD bits more than a threshold.
    shift = whole.bit_length() + bits + _GUARD
    inverse = (1 << shift) // whole
    found = ((tail * inverse) >> (shift - bits - 1) for tail in tails)
    return [threshold for threshold in found if threshold]


def _first(variance: int, bits: int) -> int:
    """A magnitude that is passed with probability under 2 ** -(bits + _BEYOND), by Chernoff's bound."""
    rare = -(bits + _BEYOND) * math.log(2)
    low, high = 0, 1
    while _log_passing(variance, high) > rare:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _log_passing(variance, middle) <= rare else (middle, high)
    return high


def _log_passing(variance: int, magnitude: int) -> float:
    """Log of a bound on Pr[|K| >= magnitude]: twice E[exp(t K)] exp(-t magnitude) at the best t."""
    tilt = math.asinh(magnitude / variance)
    # cosh(t) - 1 as 2 sinh(t / 2)^2, which keeps its digits where t is small.
    return math.log(2) + 2 * variance * math.sinh(tilt / 2) ** 2 - tilt * magnitude
