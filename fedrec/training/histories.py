"""What clients train on as padded tensors: made anew for each block, or once for everybody where they are few."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedrec.data.sequences import Ints
from fedrec.data.splits import Split
from fedrec.training.examples import Shape
from fedrec.training.packing import Units, pack_units
from fedrec.training.padding import Padded, Padding, pad

# Entries of a population that is packed once, and numbers of one that is padded once, too: 64 MB of each weight.
_FEW_ENTRIES = 2**20
_FEW_NUMBERS = 2**23


@dataclass(frozen=True, slots=True)
class Histories:
    """The units of some clients, 0 to C - 1.

    begins: (C + 1,) of each client's units. lengths: (3, E) positions, entries and own positives of each unit. sizes:
    (2, C) the positions and entries that each client comes to once its units are padded. padded: all of them, where
    they are kept.
    """

    units: Units
    padding: Padding
    begins: Ints
    lengths: Ints
    sizes: Ints
    padded: Padded | None = None

    @classmethod
    def of(cls, split: Split, members: Sequence[Ints], shape: Shape, padding: Padding, *, keep: bool) -> "Histories":
        """Of clients by their users. keep: whether they are asked again, so that padding them once is worth it."""
        units = pack_units(split, members, shape)
        lengths = np.stack([np.diff(units.starts), np.diff(units.reads), np.diff(units.owns)])
        begins = np.searchsorted(units.owner, np.arange(len(members) + 1))
        longest = np.zeros((len(members), 2), dtype=np.int64)
        np.maximum.at(longest, units.owner, lengths[:2].T)
        histories = cls(units, padding, begins, lengths, longest.T * np.diff(begins))
        positions, entries, _ = lengths.max(axis=1, initial=0).tolist()
        if not keep or len(units) * positions * entries > _FEW_NUMBERS:
            return histories
        return replace(histories, padded=histories.batch(np.arange(len(members))))

    def batch(self, clients: Ints) -> Padded:
        """Some clients' units; their owners are places among these clients."""
        units, owner = self._units(clients)
        if self.padded is None:
            return pad(self.units.take(units, owner=owner), self.padding, clients=len(clients))
        positions, entries, own = self.lengths[:, units].max(axis=1, initial=0).tolist()
        return self.padded.take(units, owner=owner, clients=len(clients), widths=(positions, entries, own))

    def of_clients(self, clients: Ints) -> Units:
        """Some clients' units, as they are packed."""
        units, owner = self._units(clients)
        return self.units.take(units, owner=owner)

    def _units(self, clients: Ints) -> tuple[Ints, Ints]:
        """Which units are these clients', and the place of each one's owner among them."""
        begins = self.begins[clients]
        counts = self.begins[clients + 1] - begins
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        return np.arange(total) + np.repeat(begins - ends + counts, counts), np.repeat(np.arange(len(clients)), counts)


def are_few(split: Split) -> bool:
    """Whether a population's histories may be packed together and kept."""
    return int(split.sequences.offsets[-1]) <= _FEW_ENTRIES
