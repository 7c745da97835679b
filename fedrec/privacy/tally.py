"""What each client was charged for, by the entries of a server's ledger: kept up with it, never counted anew."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fedrec.privacy.spends import Spend, Spending, spend_of

Ints = npt.NDArray[np.int64]

_NEVER = -1


class Tally:
    """Counts by client over the entries read so far; a round costs what its own entries hold.

    ids: (U,) clients that were charged for anything, ascending. taken: (U,) updates of each.
    last: (U,) the round of its last one, -1 without any.
    """

    def __init__(self) -> None:
        self.ids: Ints = np.zeros(0, dtype=np.int64)
        self.taken: Ints = np.zeros(0, dtype=np.int64)
        self.last: Ints = np.zeros(0, dtype=np.int64)
        self._spends: dict[Spend, Ints] = {}
        self._read = 0

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> Self:
        """The tally of some entries."""
        tally = cls()
        tally.read(list(entries))
        return tally

    def read(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Take in what is new; entries: of the whole ledger, which only grows.

        Raises ConfigError for a mechanism that this version cannot account.
        """
        for entry in entries[self._read :]:
            self._count(entry)
            self._read += 1

    def spendings(self) -> tuple[list[Spending], Ints]:
        """The different spendings, and (U,) which of them each client has."""
        spends = sorted(self._spends, key=repr)
        which, firsts = np.zeros(len(self.ids), dtype=np.int64), np.zeros(0, dtype=np.int64)
        for spend in spends:
            # Spends are folded in one by one: rows of small numbers are slow to sort.
            counts = self._spends[spend]
            key = which * (int(counts.max(initial=0)) + 1) + counts
            _, firsts, which = np.unique(key, return_index=True, return_inverse=True)
        rows = [[int(self._spends[spend][client]) for spend in spends] for client in firsts.tolist()]
        return [tuple((spend, n) for spend, n in zip(spends, row, strict=True) if n) for row in rows], which

    def _count(self, entry: Mapping[str, Any]) -> None:
        spend = spend_of(entry)
        people = np.asarray(entry["participants"], dtype=np.int64)
        self._make_room(np.setdiff1d(people, self.ids))
        places = np.searchsorted(self.ids, people)
        # A client that is named twice in one entry is charged twice.
        np.add.at(self._spends.setdefault(spend, np.zeros_like(self.ids)), places, 1)
        if entry.get("kind") == "update":
            np.add.at(self.taken, places, 1)
            self.last[places] = entry.get("round", _NEVER)

    def _make_room(self, new: Ints) -> None:
        """Let clients in that were never charged before; new: ascending."""
        if not len(new):
            return
        at = np.searchsorted(self.ids, new)
        self.ids = np.insert(self.ids, at, new)
        self.taken = np.insert(self.taken, at, 0)
        self.last = np.insert(self.last, at, _NEVER)
        self._spends = {spend: np.insert(counts, at, 0) for spend, counts in self._spends.items()}
