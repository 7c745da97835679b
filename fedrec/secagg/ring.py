"""Updates on a grid of whole numbers modulo 2^16 to 2^32, bounded so that no sum of a cohort can wrap."""

import math
from dataclasses import dataclass

import numpy as np

from fedrec.errors import ConfigError, UnsafeUpdateError
from fedrec.privacy.mechanism import Doubles, Vector, clip_update
from fedrec.privacy.randomness import RandomSource
from fedrec.privacy.skellam import rounded_norm_squared, share_variance
from fedrec.secagg.masks import Words, word_type
from fedrec.secagg.skellam import MOST_VARIANCE, Integers, largest_sample

_FEWEST_BITS, _MOST_BITS = 16, 32
_FINEST, _COARSEST = 2**16, 2**8
# Short words are taken where rounding lengthens an update by no more than this.
_TOLERANCE = 1e-3
# Far fewer are needed: half of all draws keep the bound, and of 64 all fail once in 10^13 updates at worst.
_TRIES = 64
# An honest sum is longer than `is_plausible` allows with probability under exp(-_SURPRISE^2 / 4).
_SURPRISE = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """bits: sums are taken modulo 2^bits. steps: the clip norm on the grid, s C. size: numbers of an update at most."""

    bits: int
    steps: int
    clip_norm: float
    size: int

    @property
    def scale(self) -> float:
        """Steps of the grid to one, s."""
        return self.steps / self.clip_norm

    @property
    def norm_squared(self) -> int:
        """What the squared norm of an encoded update does not pass: the squared sensitivity of a sum."""
        return rounded_norm_squared(self.steps, size=self.size)

    def encode(self, update: Vector, *, source: RandomSource) -> Integers:
        """(P,) the update clipped, scaled and rounded at random, its squared norm at most `norm_squared`.

        Each rounding has the right mean; one that is too long is drawn again (Kairouz et al. 2021,
        arXiv:2102.06387). Raises UnsafeUpdateError if the update is too large for the grid or not finite.
        """
        if update.ndim != 1 or len(update) > self.size:
            raise UnsafeUpdateError(
                f"An update of shape {update.shape} does not fit a grid for {self.size} numbers. "
                "Raise secure_aggregation.size."
            )
        scaled = clip_update(update, clip_norm=self.clip_norm) * self.scale
        below = np.floor(scaled)
        for _ in range(_TRIES):
            rounded = (below + (source.uniform(len(scaled)) < scaled - below)).astype(np.int64)
            if int(rounded @ rounded) <= self.norm_squared:
                return rounded
        # Towards zero never lengthens: what the data are is not told by a refusal.
        return np.trunc(scaled).astype(np.int64)

    def to_words(self, values: Integers) -> Words:
        """Whole numbers of either sign modulo 2^bits."""
        words: Words = (values & (2**self.bits - 1)).astype(word_type(self.bits))
        return words

    def from_words(self, words: Words) -> Integers:
        """The whole numbers nearest 0 that words stand for."""
        values = words.astype(np.int64)
        return values - ((values >> (self.bits - 1)) << self.bits)

    def decode(self, words: Words) -> Doubles:
        """(P,) the sum that words stand for, in the units of an update."""
        return self.from_words(words) / self.scale

    def is_plausible(self, words: Words, *, clients: int, variance: int) -> bool:
        """Whether a sum is one that so many honest clients could give; noise of `variance` each.

        It bounds what a hostile client does to a sum; within it, masks hide who did it.
        """
        noise = math.sqrt(clients * variance) * (math.sqrt(len(words)) + _SURPRISE)
        longest = clients * math.sqrt(self.norm_squared) + noise
        total = self.from_words(words).astype(np.float64)
        return bool(math.sqrt(float(total @ total)) <= longest)


def ring_for(
    clients: int, *, clip_norm: float, size: int, noise_multiplier: float = 0.0, least_honest: int = 1
) -> Ring:
    """The finest grid in which no sum of so many clients can wrap, and the fewest bits for it.

    Words of 16 bits are taken on a coarser one, too, where rounding hardly lengthens an update on it.
    noise_multiplier, least_honest: of the shares that are added on the grid; 0 where there are none.
    Raises ConfigError where only a grid too coarse would hold the sum.
    """
    found = None
    for steps in _powers():
        variance = share_variance(steps, noise_multiplier=noise_multiplier, least_honest=least_honest)
        bits = _bits(steps, clients=clients, size=size, variance=variance)
        if bits is None:
            continue
        ring = Ring(bits=bits, steps=steps, clip_norm=clip_norm, size=size)
        if bits == _FEWEST_BITS and _lengthened(ring) <= _TOLERANCE:
            return ring
        found = found or ring
    if found is None:
        raise ConfigError(
            f"No grid holds a sum of {clients} clients with noise of {noise_multiplier:g} times the clip norm, borne "
            f"by {least_honest} of them. Take less noise (a smaller noise multiplier, a larger epsilon, or fewer "
            "participations), or another cohort."
        )
    return found


def _powers() -> list[int]:
    """Steps of the clip norm, finest first; powers of 2, which lose nothing where clip_norm is one."""
    return [2**power for power in range(_FINEST.bit_length() - 1, _COARSEST.bit_length() - 2, -1)]


def _bits(steps: int, *, clients: int, size: int, variance: int) -> int | None:
    """The fewest that hold every sum: each client's longest coordinate and its largest sample, all of one sign."""
    if variance > MOST_VARIANCE:
        return None
    coordinate = math.isqrt(rounded_norm_squared(steps, size=size)) + largest_sample(variance)
    # One more for the sign.
    bits = max(_FEWEST_BITS, (clients * coordinate).bit_length() + 1)
    return bits if bits <= _MOST_BITS else None


def _lengthened(ring: Ring) -> float:
    """The share by which rounding may lengthen an update."""
    return math.sqrt(ring.norm_squared) / ring.steps - 1
