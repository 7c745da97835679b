"""Nothing is learned from other people: the nearest texts to what you chose lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.sequences import Floats, History
from fedrec.evaluation.baselines.popularity import Popularity
from fedrec.evaluation.interactions import decayed

# (decay, weight) pairs: how fast a view of the history fades, and its say.
Mix = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ZeroShotText:
    """Scores u . z, where u mixes the user's decayed sums of vectors, each at unit length.

    vectors: (N + T, d), query texts below the items, or (N, d) to ignore them. A sum is
    brought to unit length before mixing, so that a slow decay does not outweigh a fast one.
    Items are divided by their mean length, so that scores do not hang on the encoder's scale.
    """

    vectors: Floats
    items: int
    mix: Mix

    @classmethod
    def fit(cls, vectors: npt.NDArray[Any], *, items: int, mix: Mix) -> "ZeroShotText":
        """Take the vectors as they are, at a mean length of 1."""
        plain: Floats = np.asarray(vectors, dtype=np.float32)
        length = float(np.linalg.norm(plain[:items], axis=1).mean())
        return cls(plain / np.float32(length or 1.0), items, mix)

    def query(self, histories: Sequence[History]) -> Floats:
        """u (B, d); zero for a history without vectors."""
        mixed = np.zeros((len(histories), self.vectors.shape[1]), dtype=np.float32)
        for decay, weight in self.mix:
            mixed += weight * _unit(decayed(histories, width=len(self.vectors), decay=decay) @ self.vectors)
        return mixed

    def scores(self, histories: Sequence[History]) -> Floats:
        """Scores (B, N)."""
        return np.asarray(self.query(histories) @ self.vectors[: self.items].T)


@dataclass(frozen=True, slots=True)
class ZeroShotPopularity:
    """Scores u . z + beta log(1 + count): only the ratio of the two matters, so only beta is tuned."""

    text: ZeroShotText
    popularity: Popularity
    beta: float

    def scores(self, histories: Sequence[History]) -> Floats:
        """Scores (B, N)."""
        return np.asarray(self.text.scores(histories) + np.float32(self.beta) * self.popularity.log_counts)


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
