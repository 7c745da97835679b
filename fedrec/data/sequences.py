"""Everybody's history as packed arrays: what models train on and what evaluation holds out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One user's entries in time order; every array has the same length L.

    rows: row of the item index, or, at `items` and above, of the query texts.
    weights: how much an entry says about the taste (0 for skips, hides and blocks).
    targets: whether an entry is a positive; `first_targets` says which of them are aimed at.
    intents, ratings: labels, NaN where an entry says nothing.
    """

    rows: Ints
    times: Ints
    weights: Floats
    targets: Bools
    intents: Floats
    ratings: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, where: slice | Ints | Bools) -> "History":
        """The entries that `where` selects, in order."""
        return History(
            rows=self.rows[where],
            times=self.times[where],
            weights=self.weights[where],
            targets=self.targets[where],
            intents=self.intents[where],
            ratings=self.ratings[where],
        )


def first_targets(history: History) -> Bools:
    """(L,) whether an entry is the first positive on its item WITHIN this history.

    Training asks per privacy unit, so that one unit's entries never decide about another's.
    """
    return first_of_each(np.zeros(len(history), dtype=np.int64), history.rows, history.targets)


def first_of_each(owner: Ints, rows: npt.NDArray[np.integer], targets: Bools) -> Bools:
    """(L,) whether an entry is the first positive on its item among those of its owner.

    >>> first_of_each(np.array([0, 0, 1]), np.array([7, 7, 7]), np.array([True, True, True])).tolist()
    [True, False, True]
    """
    places = np.flatnonzero(targets)
    # Stable: of the positives of one owner on one item the earliest stays first.
    order = np.lexsort((rows[places], owner[places]))
    places = places[order]
    new = np.ones(len(places), dtype=np.bool_)
    new[1:] = (rows[places[1:]] != rows[places[:-1]]) | (owner[places[1:]] != owner[places[:-1]])
    first = np.zeros(len(targets), dtype=np.bool_)
    first[places[new]] = True
    return first


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Every user's history, packed: user u owns entries offsets[u] to offsets[u + 1].

    entries: a History over all users, end to end, in memory or mapped from the disk. items: size of the catalogue N.
    texts: the distinct query texts; text t is row N + t.
    """

    user_ids: Sequence[str]
    offsets: Ints
    entries: History
    items: int
    texts: Sequence[str]

    @property
    def users(self) -> int:
        return len(self.offsets) - 1

    def of(self, user: int) -> History:
        """The history of one user, as views; of rows that are kept in fewer bytes, a copy."""
        history = self.entries.take(slice(int(self.offsets[user]), int(self.offsets[user + 1])))
        wide = history.rows.astype(np.int64, copy=False)
        return history if wide is history.rows else replace(history, rows=wide)
