"""The training examples of many clients at once, packed end to end, straight from everybody's histories.

The same units that `examples.py` makes one by one, without a loop over people.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrec.data.packing import offsets_of
from fedrec.data.sequences import Bools, Floats, Ints, first_of_each
from fedrec.data.splits import Split
from fedrec.model.history import PRIOR_RATINGS, USUAL_RATING
from fedrec.training.examples import DAY, MOST_ENTRIES, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """E units of some clients, in the order of their clients.

    owner: (E,) place of a unit's client among those asked for. Of unit e, positions[starts[e] : starts[e + 1]] say
    how many of its read entries have happened; targets, aims, intents, ratings and usual go with them (see `Batch`).
    rows, weights: of the entries that are read, and of the last target, from reads[e] to reads[e + 1]. own: rows of
    its positives, from owns[e] to owns[e + 1].
    """

    owner: Ints
    starts: Ints
    positions: Ints
    targets: Ints
    aims: Floats
    intents: Floats
    ratings: Floats
    usual: Floats
    reads: Ints
    rows: Ints
    weights: Floats
    owns: Ints
    own: Ints

    def __len__(self) -> int:
        return len(self.owner)

    def take(self, units: Ints, *, owner: Ints) -> "Units":
        """Some units, in this order. owner: (E,) of each of them."""
        positions, starts = _ranges(self.starts[units], np.diff(self.starts)[units])
        reads, read_starts = _ranges(self.reads[units], np.diff(self.reads)[units])
        owns, own_starts = _ranges(self.owns[units], np.diff(self.owns)[units])
        return Units(
            owner=owner,
            starts=starts,
            positions=self.positions[positions],
            targets=self.targets[positions],
            aims=self.aims[positions],
            intents=self.intents[positions],
            ratings=self.ratings[positions],
            usual=self.usual[positions],
            reads=read_starts,
            rows=self.rows[reads],
            weights=self.weights[reads],
            owns=own_starts,
            own=self.own[owns],
        )


def pack_units(split: Split, members: Sequence[Ints], shape: Shape) -> Units:
    """What each client trains on. members: the users of each client, of those asked for."""
    told = _Entries.of(split, members, shape)
    aimed = first_of_each(told.unit, told.rows, told.targets)
    labelled = (aimed | ~np.isnan(told.intents) | ~np.isnan(told.ratings)) & (told.rows < split.sequences.items)
    # The first entry has no history before it; next-item training has nothing to go by.
    chosen = np.flatnonzero(labelled & (told.within > 0))
    chosen = chosen[_from_the_end(told.unit[chosen]) < shape.positions]
    most = max(MOST_ENTRIES, shape.positions)
    last = _last_of_each(told.unit[chosen], told.within[chosen], units=told.units)
    chosen = chosen[told.within[chosen] > last[told.unit[chosen]] - most]
    units, unit = np.unique(told.unit[chosen], return_inverse=True)
    counts = np.bincount(unit, minlength=len(units))
    starts = offsets_of(counts)
    first = np.maximum(0, told.within[chosen[starts[:-1]]] - shape.window)
    owned = np.flatnonzero(aimed & (told.rows < split.sequences.items))
    owned = owned[_from_the_end(told.unit[owned]) < most]
    place = np.full(told.units, -1)
    place[units] = np.arange(len(units))
    owned = owned[place[told.unit[owned]] >= 0]
    reads, read_starts = _ranges(told.begins[units] + first, last[units] - first + 1)
    return Units(
        owner=told.owner[told.begins[units]],
        starts=starts,
        positions=told.within[chosen] - first[unit],
        targets=told.rows[chosen],
        aims=aimed[chosen].astype(np.float32),
        intents=told.intents[chosen],
        ratings=told.ratings[chosen],
        usual=told.usual(chosen),
        reads=read_starts,
        rows=told.rows[reads],
        weights=told.weights[reads],
        owns=offsets_of(np.bincount(place[told.unit[owned]], minlength=len(units))),
        own=told.rows[owned],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entries:
    """All entries that the clients may train on, end to end; begins: of each unit."""

    owner: Ints
    unit: Ints
    begins: Ints
    within: Ints
    rows: Ints
    weights: Floats
    targets: Bools
    intents: Floats
    ratings: Floats

    @property
    def units(self) -> int:
        return len(self.begins)

    @classmethod
    def of(cls, split: Split, members: Sequence[Ints], shape: Shape) -> "_Entries":
        users = np.concatenate([np.asarray(each, dtype=np.int64) for each in members] or [np.zeros(0, np.int64)])
        offsets, held = split.sequences.offsets, split.validation_at[users]
        lengths = np.where(held < 0, offsets[users + 1] - offsets[users], held)
        where, begins = _ranges(offsets[users], lengths)
        user = np.repeat(np.arange(len(users)), lengths)
        owner = np.repeat(np.arange(len(members)), [len(each) for each in members])[user]
        entries = split.sequences.entries.take(where)
        new = np.zeros(len(where), dtype=np.bool_)
        new[begins[:-1][lengths > 0]] = True
        if shape.unit == "SEGMENT":
            segment = entries.times // (shape.segment_days * DAY)
            new[1:] |= segment[1:] != segment[:-1]
        firsts = np.flatnonzero(new)
        unit = np.cumsum(new) - 1
        return cls(
            owner=owner,
            unit=unit,
            begins=firsts,
            within=np.arange(len(where)) - firsts[unit],
            rows=entries.rows.astype(np.int64, copy=False),
            weights=entries.weights,
            targets=entries.targets,
            intents=entries.intents,
            ratings=entries.ratings,
        )

    def usual(self, chosen: Ints) -> Floats:
        """The unit's mean rating before each chosen entry, as `usual_ratings` pulls it."""
        known = ~np.isnan(self.ratings)
        total = np.concatenate([[0.0], np.cumsum(np.where(known, self.ratings, 0.0), dtype=np.float64)])
        count = np.concatenate([[0], np.cumsum(known)])
        begins = self.begins[self.unit[chosen]]
        total, count = total[chosen] - total[begins], count[chosen] - count[begins]
        pulled: Floats = ((total + PRIOR_RATINGS * USUAL_RATING) / (count + PRIOR_RATINGS)).astype(np.float32)
        return pulled


def _ranges(begins: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]) -> tuple[Ints, Ints]:
    """The numbers from each begin on, end to end, and where each range starts in them.

    >>> _ranges(np.array([5, 9]), np.array([2, 3]))[0].tolist()
    [5, 6, 9, 10, 11]
    """
    starts = offsets_of(lengths)
    return np.arange(starts[-1]) + np.repeat(begins - starts[:-1], lengths), starts


def _from_the_end(unit: Ints) -> Ints:
    """How many entries of the same unit follow each; units are ascending."""
    ends = np.searchsorted(unit, unit, side="right")
    return ends - 1 - np.arange(len(unit))


def _last_of_each(unit: Ints, values: Ints, *, units: int) -> Ints:
    """(units,) the last value of each unit, -1 where it has none."""
    last = np.full(units, -1)
    ends = np.flatnonzero(np.diff(unit, append=-1))
    last[unit[ends]] = values[ends]
    return last
