"""The person's events as packed arrays in time order: changed in place with every event, so that it counts at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.entries import is_query
from fedrec.data.events import TEXT_KINDS, Event, Kind
from fedrec.data.sequences import Floats, Ints

KINDS = tuple(Kind)
TEXT = -1  # in place of a row: the entry is a text, and its vector is not in the index
# What was recorded without a context; a label that nobody used matches nothing.
NO_LABEL = 0

_NOTHING = -2  # of an item that the catalogue lacks: left out
_CODES = {kind: code for code, kind in enumerate(KINDS)}
_TEXTUAL = np.array([kind in TEXT_KINDS for kind in KINDS])
_ENTRY = np.dtype([("id", "i8"), ("time", "i8"), ("row", "i8"), ("weight", "f4"), ("kind", "i4"), ("label", "i4")])
_LEAST_ROOM = 256

Table = npt.NDArray[Any]
# Number, item, time, kind, whether it has a text, and context of an event.
StoredRow = tuple[int, str | None, int, str, bool, str | None]


@dataclass(frozen=True, slots=True)
class Entries:
    """The L entries that the model reads now, oldest first.

    ids: of the events, 0 for what belongs to this moment only. rows: of the items, TEXT for
    a text. kinds: places in KINDS. weights: (L,) float32. vectors: (L, d) float32.
    """

    ids: Ints
    rows: Ints
    kinds: Ints
    weights: Floats
    vectors: Floats

    def __len__(self) -> int:
        return len(self.ids)


class LiveHistory:
    """One person's entries, ordered by time and then by when they were recorded.

    row_of: the catalogue's; events of items that it lacks are left out, texts are not.
    texts: whether texts can be read at all. weights: of every kind, see `kind_weights`.
    """

    def __init__(self, row_of: Callable[[str], int | None], *, weights: Mapping[str, float], texts: bool) -> None:
        self._row_of = row_of
        self._weights = weights
        self._texts = texts
        self._table: Table = np.zeros(0, dtype=_ENTRY)
        self._length = 0
        self._labels: dict[str, int] = {}

    def __len__(self) -> int:
        return self._length

    @property
    def table(self) -> Table:
        """All entries as a structured array: id, time, row, weight, kind, label. A view."""
        return self._table[: self._length]

    def latest(self, window: int) -> Table:
        """The last `window` entries of `table`."""
        return self._table[max(0, self._length - window) : self._length]

    def load(self, stored: Sequence[StoredRow]) -> None:
        """Hold these events, in time order, and no others."""
        ids, items, times, kinds, texts, contexts = zip(*stored, strict=True) if stored else ((),) * 6
        table = np.zeros(len(stored), dtype=_ENTRY)
        table["id"], table["time"] = ids, times
        table["kind"] = [_CODES[Kind(kind)] for kind in kinds]
        found = [_NOTHING if item is None or (row := self._row_of(item)) is None else row for item in items]
        query = _TEXTUAL[table["kind"]] & np.array(texts, dtype=np.bool_)
        table["row"] = np.where(query, TEXT if self._texts else _NOTHING, found)
        table["weight"] = np.array([self._weights[kind] for kind in KINDS], dtype=np.float32)[table["kind"]]
        table["label"] = [NO_LABEL if not context else self._number(context) for context in contexts]
        self._table = table[table["row"] != _NOTHING]
        self._length = len(self._table)

    def add(self, event_id: int, event: Event) -> bool:
        """Put an event where its time belongs, and its number among others of that time; False if it has no effect."""
        entry = self._entry(event_id, event)
        if entry is None:
            return False
        if self._length == len(self._table):
            room = max(_LEAST_ROOM, len(self._table))
            self._table = np.concatenate([self._table, np.zeros(room, dtype=_ENTRY)])
        times = self.table["time"]
        first, last = (int(np.searchsorted(times, event.timestamp, side=side)) for side in ("left", "right"))
        place = first + int(np.searchsorted(self.table["id"][first:last], event_id))
        self._table[place + 1 : self._length + 1] = self._table[place : self._length]
        self._table[place] = entry
        self._length += 1
        return True

    def remove(self, event_id: int) -> bool:
        """Take an event out as if it had never happened; False if it was not there."""
        (places,) = np.nonzero(self.table["id"] == event_id)
        if not len(places):
            return False
        place = int(places[0])
        self._table[place : self._length - 1] = self._table[place + 1 : self._length]
        self._length -= 1
        return True

    def label(self, context: str) -> int:
        """The number that entries recorded under `context` carry; -1 if there are none."""
        return self._labels.get(context, -1)

    def _entry(self, event_id: int, event: Event) -> tuple[int, int, int, float, int, int] | None:
        if is_query(event):
            row = TEXT if self._texts else None
        else:
            row = None if event.item_id is None else self._row_of(event.item_id)
        if row is None:
            return None
        label = self._number(event.context) if event.context else NO_LABEL
        return event_id, event.timestamp, row, self._weights[event.kind], _CODES[event.kind], label

    def _number(self, context: str) -> int:
        return self._labels.setdefault(context, len(self._labels) + 1)
