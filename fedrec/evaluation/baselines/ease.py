"""EASE: a linear auto-encoder over items in closed form.

Source: Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data, arXiv:1905.03375.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.linalg

from fedrec.data.sequences import Floats, History
from fedrec.data.splits import Split
from fedrec.errors import ConfigError
from fedrec.evaluation.interactions import chosen, train_matrix

# The inverse takes min(U, N)^2 float64: 3.2 GB at this size, and minutes.
_LARGEST = 20_000


class Precision(Protocol):
    """P = (X^T X + l I)^-1, as what scoring needs of it."""

    def times(self, rows: Any) -> Floats:
        """`rows` (B, N) times P."""
        ...

    def diagonal(self) -> Floats:
        """The diagonal of P: (N,)."""
        ...


@dataclass(frozen=True, slots=True)
class Ease:
    """Scores x B with B_ij = -P_ij / P_jj off the diagonal and 0 on it, for the binary history x."""

    precision: Precision
    items: int

    @classmethod
    def fit(cls, split: Split, *, penalty: float) -> "Ease":
        """Invert the smaller of the two Gram matrices; raises ConfigError when even that one is too large."""
        train = train_matrix(split)
        users, items = train.shape
        return cls(UserSpace.fit(train, penalty) if users < items else ItemSpace.fit(train, penalty), items)

    def scores(self, histories: Sequence[History]) -> Floats:
        """Scores (B, N); all zero for a history without items."""
        rows = chosen(histories, items=self.items)
        # x B = x - (x P) / diag(P): the subtraction puts the zeros on B's diagonal.
        return np.asarray(rows.toarray() - self.precision.times(rows) / self.precision.diagonal(), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ItemSpace:
    """P itself, (N, N), by direct inversion: for fewer items than users."""

    inverse: Any

    @classmethod
    def fit(cls, train: Any, penalty: float) -> "ItemSpace":
        """Invert X^T X + l I."""
        gram = _gram(train.T, penalty)
        return cls(scipy.linalg.inv(gram, overwrite_a=True, check_finite=False).astype(np.float32))

    def times(self, rows: Any) -> Floats:
        """See Precision."""
        return np.asarray(rows @ self.inverse)

    def diagonal(self) -> Floats:
        """See Precision."""
        return np.asarray(np.diagonal(self.inverse))


@dataclass(frozen=True, slots=True)
class UserSpace:
    """P = (I - X^T (X X^T + l I)^-1 X) / l by the Woodbury identity: for fewer users than items.

    root: R (U, N) with X^T (X X^T + l I)^-1 X = R^T R.
    """

    root: Floats
    penalty: float

    @classmethod
    def fit(cls, train: Any, penalty: float) -> "UserSpace":
        """Solve L R = X for the Cholesky factor L of X X^T + l I."""
        factor = scipy.linalg.cholesky(_gram(train, penalty), lower=True, check_finite=False)
        return cls(
            scipy.linalg.solve_triangular(
                factor.astype(np.float32), train.toarray(), lower=True, overwrite_b=True, check_finite=False
            ),
            penalty,
        )

    def times(self, rows: Any) -> Floats:
        """See Precision."""
        return np.asarray((rows.toarray() - (rows @ self.root.T) @ self.root) / self.penalty)

    def diagonal(self) -> Floats:
        """See Precision."""
        return np.asarray((1 - np.einsum("un,un->n", self.root, self.root)) / self.penalty)


def _gram(matrix: Any, penalty: float) -> Any:
    """matrix matrix^T + l I as float64."""
    size = matrix.shape[0]
    if size > _LARGEST:
        raise ConfigError(f"EASE would invert a matrix of {size:,} rows; {_LARGEST:,} is the most. Leave `ease` out.")
    gram = (matrix @ matrix.T).toarray().astype(np.float64)
    gram[np.diag_indices(size)] += penalty
    return gram
