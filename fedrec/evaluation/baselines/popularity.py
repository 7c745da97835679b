"""Everybody gets what most people chose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedrec.data.sequences import Floats, History
from fedrec.data.splits import Split, train_counts


@dataclass(frozen=True, slots=True)
class Popularity:
    """Scores an item by log(1 + users who chose it in training): (N,), the same for everybody."""

    log_counts: Floats

    @classmethod
    def fit(cls, split: Split) -> "Popularity":
        """Count the targets of the train part."""
        return cls(np.log1p(train_counts(split)).astype(np.float32))

    def scores(self, histories: Sequence[History]) -> Floats:
        """The same row for every history: (B, N)."""
        return np.tile(self.log_counts, (len(histories), 1))
