"""Leave-one-out by time: which entry of each history is held out for validation, which for test."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedrec.data.dataset import Dataset
from fedrec.data.entries import PositiveRule
from fedrec.data.packing import Packing, held_out_places, offsets_of
from fedrec.data.sequences import History, Ints, Sequences, first_of_each
from fedrec.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Histories with two held-out entries per user.

    validation_at, test_at: (U,) position within the user's own history, -1 where the user
    has fewer than three targets. What lies before `validation_at` is training history;
    what lies before `test_at`, the validation item included, is the history at test.
    """

    sequences: Sequences
    validation_at: Ints
    test_at: Ints

    def train(self, user: int) -> History:
        """The entries that training may see."""
        history = self.sequences.of(user)
        end = int(self.validation_at[user])
        return history if end < 0 else history.take(slice(0, end))

    def until(self, user: int, *, test: bool) -> tuple[History, int] | None:
        """The history before the held-out entry and that entry's row; None without one."""
        position = int((self.test_at if test else self.validation_at)[user])
        if position < 0:
            return None
        history = self.sequences.of(user)
        return history.take(slice(0, position)), int(history.rows[position])


def load_sequences(
    dataset: Dataset,
    *,
    positives: PositiveRule | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    user_ids: list[str] | None = None,
) -> Sequences:
    """Pack a dataset's events into arrays.

    Entries are in time order; equal times are ordered by a hash of seed and event,
    so that file order cannot leak.
    Events of an item that the catalogue lacks are left out, except for their text.
    """
    packing = Packing.of(dataset, positives=positives or PositiveRule(), weights=weights or {}, seed=seed)
    packed = packing.pack(dataset.events().collect() if user_ids is None else dataset.user_events(user_ids))
    if not len(packed.user_ids):
        raise DataError("No event is of an item in the catalogue or holds a text. Import the data again.")
    return Sequences(
        user_ids=packed.user_ids,
        offsets=offsets_of(packed.lengths),
        entries=packed.entries,
        items=packing.items,
        texts=list(packing.texts),
    )


def leave_one_out(sequences: Sequences) -> Split:
    """Hold out the last target of each user for test and the one before it for validation."""
    entries = sequences.entries
    return Split(sequences, *held_out_places(np.diff(sequences.offsets), entries.rows, entries.targets))


def train_counts(split: Split, *, people: int = 65_536) -> Ints:
    """How many users chose each item in training: (N,); `people` are counted at a time."""
    sequences = split.sequences
    counts = np.zeros(sequences.items, dtype=np.int64)
    for first in range(0, sequences.users, people):
        offsets = sequences.offsets[first : first + people + 1]
        lengths, held = np.diff(offsets), split.validation_at[first : first + people]
        user = np.repeat(np.arange(len(lengths)), lengths)
        part = slice(int(offsets[0]), int(offsets[-1]))
        rows = sequences.entries.rows[part]
        position = np.arange(len(user)) - (offsets[:-1] - offsets[0])[user]
        end = np.where(held < 0, lengths, held)[user]
        kept = sequences.entries.targets[part] & (position < end) & (rows < sequences.items)
        counts += np.bincount(rows[first_of_each(user, rows, kept)], minlength=sequences.items)
    return counts
