"""The server's side of `central` mode: a round's sum leaves the server noised, and once.

pay -> draw -> keep, encrypted -> release. A round that was kept is released as it was; one
that was paid for and not kept is asked for again, at its price.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrec.errors import VerificationError
from fedrec.privacy.correlated_noise import BandedToeplitz, CorrelatedNoise, NoiseState
from fedrec.privacy.mechanism import Doubles, noised_sum
from fedrec.privacy.noise_state import SavedNoise, load_noise_state, noise_key, save_noise_state
from fedrec.privacy.randomness import RandomSource
from fedrec.training.blocks import Block

# The randomness of a round and block: the operating system's, or a simulation's seed.
SourceOf = Callable[[int, str], RandomSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNoise:
    """Noise for the blocks of one run, the first of which may be correlated over rounds.

    file, key: where the noise is kept between rounds, and the key that it is encrypted with.
    """

    blocks: Sequence[Block]
    bands: int
    file: Path
    key: Path
    run_id: str
    source_of: SourceOf

    def kept(self, *, finished: int, recorded: bool) -> SavedNoise:
        """What was kept last: of the finished round, or of the one after it, not yet released.

        recorded: whether any round is on record, so that something has to be there. Raises
        VerificationError if it is missing, damaged, or of another round.
        """
        if not (finished or recorded or self.file.exists()):
            return SavedNoise(NoiseState())
        key = noise_key(self.key) if self.key.exists() else None
        if key is None:
            raise VerificationError(f"{self.key} is missing. Restore it from a copy; the run cannot go on without it.")
        return load_noise_state(self.file, key=key, run_id=self.run_id, rounds=(finished, finished + 1))

    def release(self, total: Doubles, before: NoiseState, *, expected: int) -> Doubles:
        """The round after `before`, noised: its mean over the expected cohort, and what lies behind it as a sum.

        It is on the disk when this returns, as it will be released.
        """
        update, *others = np.split(total, np.cumsum([block.size for block in self.blocks])[:-1])
        number = before.round + 1
        drawn, after = self._correlated.draw(before, self.source_of(number, "update"), size=len(update))
        parts = [(update + drawn) / expected]
        for block, part in zip(self.blocks[1:], others, strict=True):
            parts.append(noised_sum(part, noise_std=block.noise_std, source=self.source_of(number, block.kind)))
        noised = np.concatenate(parts)
        self._keep(SavedNoise(after, noised))
        return noised

    def drop(self, before: NoiseState) -> None:
        """Count a round that releases nothing."""
        self._keep(SavedNoise(self._correlated.skip(before, size=self.blocks[0].size)))

    @property
    def _correlated(self) -> CorrelatedNoise:
        return CorrelatedNoise(encoder=BandedToeplitz(self.bands), noise_std=self.blocks[0].noise_std)

    def _keep(self, saved: SavedNoise) -> None:
        save_noise_state(self.file, saved, key=noise_key(self.key), run_id=self.run_id)
