"""Noise that is correlated over rounds, so that most of it cancels in the sum of them.

The adapter after T rounds holds the sum of T noised sums. Independent noise piles up in
it; correlated noise takes back in later rounds what it added in earlier ones. With
A the prefix sums (ones on and below the diagonal), the rounds' noises are the rows of
C^-1 Z, Z independent Gaussian rows of std `noise_std`: whoever sees every release sees
C (sums) + Z and nothing more. The encoder C is banded: the square root of A, cut to its
first `bands` diagonals and scaled to columns of norm 1.

What it assumes: every client keeps its participations at least `separation` >= `bands`
rounds apart, and enforces that itself. A participation in round t then shows in rows
t .. t + bands - 1 alone and no two of one client share a row: k of them cost exactly k
Gaussian releases of noise_multiplier = noise_std / clip_norm, whatever later updates were
adapted to. No sampling is assumed. noise_std is constant over a run.

Where it helps: with a server optimizer that is linear in the mean updates (fedavg,
momentum), for the prefix error is then the error in the adapter. One round's noise is
LARGER than independent noise of the same cost, so Adam, which divides by what single
rounds show, is promised nothing. Never combine it with a change of the adapter's basis:
old noise would cancel in the wrong directions.

Sources: Choquette-Choo et al. 2023, arXiv:2306.08153 (banded factorisation, minimum
separation); Kalinin and Lampert 2024, arXiv:2405.13763 (banded square root); Denisov et
al. 2022, arXiv:2202.08312 (adaptive updates); Xu et al. 2023, arXiv:2305.18465 (use).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedrec.errors import ConfigError
from fedrec.privacy.randomness import RandomSource

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BandedToeplitz:
    """The encoder C: lower triangular, constant along each of its `bands` diagonals.

    One band is the identity: independent noise.
    """

    bands: int

    def __post_init__(self) -> None:
        if self.bands < 1:
            raise ConfigError(f"bands = {self.bands} is no band at all. Use 1 for independent noise, or more.")

    @property
    def coefficients(self) -> Doubles:
        """(bands,) the diagonals, the main one first; their norm is 1.

        >>> BandedToeplitz(3).coefficients.round(3).tolist()
        [0.848, 0.424, 0.318]
        """
        order = np.arange(1, self.bands)
        # The power series of (1 - z)^(-1/2), whose square is that of the prefix sums.
        root: Doubles = np.concatenate([[1.0], np.cumprod((2 * order - 1) / (2 * order))])
        return root / float(np.linalg.norm(root))

    def sensitivity(self, *, rounds: int, participations: int, separation: int) -> float:
        """How far one client moves C (sums), in units of clip_norm: at most sqrt(participations).

        It is sqrt(participations) exactly, unless they do not fit into the rounds or the
        last one lacks rows to show in. Zero-out; twice that for replacing a client.
        Raises ConfigError where participations may be closer than `bands`.

        >>> round(BandedToeplitz(4).sensitivity(rounds=100, participations=9, separation=10), 9)
        3.0
        """
        if separation < self.bands:
            raise ConfigError(
                f"Participations {separation} rounds apart overlap under {self.bands} bands. "
                f"Raise separation to {self.bands}, or lower bands to {separation}."
            )
        # The earliest rounds are the worst: the columns of the last rounds are cut short.
        starts = range(0, rounds, separation)[:participations]
        norms = np.cumsum(self.coefficients**2)
        return float(np.sqrt(sum(norms[min(self.bands, rounds - start) - 1] for start in starts)))

    def prefix_error(self, rounds: int) -> float:
        """Root mean square, over rounds, of the noise in their running sum, in units of noise_std.

        The norm of A C^-1. Independent noise has sqrt((rounds + 1) / 2).

        >>> round(BandedToeplitz(1).prefix_error(199), 6), round(BandedToeplitz(20).prefix_error(199), 2)
        (10.0, 3.27)
        """
        decoder = _inverse(self.coefficients, rounds).cumsum()
        return float(np.sqrt(decoder**2 @ np.arange(rounds, 0, -1) / rounds))


def best_bands(*, rounds: int, separation: int) -> int:
    """The bands, at most `separation`, whose prefix error is the lowest at the same privacy.

    Every choice costs the same: columns have norm 1, whatever the number of bands. More
    bands take more memory, a row of the adapter's size each; cap `separation` for less.
    """
    return min(range(1, separation + 1), key=lambda bands: BandedToeplitz(bands).prefix_error(rounds))


def _inverse(coefficients: Doubles, size: int) -> Doubles:
    """The first coefficients of the inverse power series, hence of C^-1, by Newton's iteration."""
    inverse = 1 / coefficients[:1]
    while len(inverse) < size:
        width = 2 * len(inverse)
        spectrum = np.fft.rfft(inverse, 2 * width)
        product = np.fft.irfft(np.fft.rfft(coefficients[:width], 2 * width) * spectrum**2, 2 * width)
        inverse = 2 * np.pad(inverse, (0, len(inverse))) - product[:width]
    return inverse[:size]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseState:
    """The noise of the last rounds, which later rounds take back. As secret as noise is.

    round: rounds so far. rows: their noises, the newest first, (P,) float64 each; at most
    bands - 1 of them, and all of them before that.
    """

    round: int = 0
    rows: tuple[Doubles, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelatedNoise:
    """Draws a run's noise round by round; `noise_std` is noise_multiplier * clip_norm."""

    encoder: BandedToeplitz
    noise_std: float

    def draw(self, state: NoiseState, source: RandomSource, *, size: int) -> tuple[Doubles, NoiseState]:
        """The noise on the next round's sum, (size,) float64, and the state after it.

        What was drawn may be added to one sum only. Raises ConfigError for a state of
        other bands or another size.
        """
        self._require_own(state, size)
        coefficients = self.encoder.coefficients
        row = source.gaussian(size, noise_std=self.noise_std)
        # Falling coefficients keep the roots of C outside the unit circle: errors die away.
        for coefficient, earlier in zip(coefficients[1:], state.rows, strict=False):
            row -= coefficient * earlier
        row /= coefficients[0]
        return row, self._after(state, row)

    def skip(self, state: NoiseState, *, size: int) -> NoiseState:
        """The state after a round that releases nothing: it counts, and nothing is to be taken back.

        It must count, as clients count their separation in rounds. Its noise is zero, not
        drawn: nothing was added to the adapter, and a row without a release shows nothing.
        """
        self._require_own(state, size)
        return self._after(state, np.zeros(size))

    def _after(self, state: NoiseState, row: Doubles) -> NoiseState:
        return NoiseState(state.round + 1, (row, *state.rows)[: self.encoder.bands - 1])

    def _require_own(self, state: NoiseState, size: int) -> None:
        kept = min(state.round, self.encoder.bands - 1)
        if len(state.rows) != kept or any(row.shape != (size,) for row in state.rows):
            raise ConfigError(
                f"The noise of round {state.round} is not {kept} rows of {size} numbers. "
                "Go on with the bands and the adapter that the run began with."
            )
