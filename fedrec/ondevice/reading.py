"""What the model reads at this moment: the end of the history, with the context behind it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedrec.data.events import Kind
from fedrec.data.sequences import Floats, Ints
from fedrec.ondevice.context import NO_CONTEXT, Context
from fedrec.ondevice.live import KINDS, TEXT, Entries, LiveHistory, Table
from fedrec.ondevice.loaded import Loaded
from fedrec.ondevice.texts import TextVectors

# What the same thing would be once it is recorded.
_LOOKED_AT, _ASKED_FOR = KINDS.index(Kind.VIEW), KINDS.index(Kind.SEARCH)


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns entries into vectors. written: looks up the text of an event."""

    loaded: Loaded
    texts: TextVectors
    written: Callable[[int], str]

    def now(self, history: LiveHistory, context: Context) -> Entries:
        """The entries of the model's window, this moment's behind those of the history.

        Items of the session that the catalogue lacks are passed over.
        """
        window = self.loaded.model.config.window
        table = history.latest(window)
        weights = table["weight"].copy()
        if context.label:
            weights[table["label"] == history.label(context.label)] *= np.float32(context.boost)
        rows, kinds = self._moment(context)
        if not rows:
            return self._entries(table["id"], table["row"], table["kind"], weights)
        own = self.loaded.released.weights
        now = np.array([own[KINDS[kind]] for kind in kinds], dtype=np.float32) * np.float32(context.emphasis)
        return self._entries(
            np.append(table["id"], np.zeros(len(rows), dtype=np.int64))[-window:],
            np.append(table["row"], np.array(rows, dtype=np.int64))[-window:],
            np.append(table["kind"], kinds)[-window:],
            np.append(weights, now)[-window:],
            context,
        )

    def of(self, table: Table) -> Entries:
        """These entries of a history."""
        return self._entries(table["id"], table["row"], table["kind"], table["weight"])

    def _moment(self, context: Context) -> tuple[list[int], list[int]]:
        """Rows and kinds of what is looked at and asked for; the wish in words comes last and counts most."""
        found = [self.loaded.index.row_of(item_id) for item_id in context.session]
        rows = [row for row in found if row is not None]
        kinds = [_LOOKED_AT] * len(rows)
        return ([*rows, TEXT], [*kinds, _ASKED_FOR]) if context.text else (rows, kinds)

    def _entries(self, ids: Ints, rows: Ints, kinds: Ints, weights: Floats, context: Context = NO_CONTEXT) -> Entries:
        return Entries(ids=ids, rows=rows, kinds=kinds, weights=weights, vectors=self._vectors(ids, rows, context))

    def _vectors(self, ids: Ints, rows: Ints, context: Context) -> Floats:
        text = rows == TEXT
        if not text.any():
            return self.loaded.index.vectors(rows)
        vectors = np.empty((len(rows), self.loaded.index.width), dtype=np.float32)
        vectors[~text] = self.loaded.index.vectors(rows[~text])
        recorded = text & (ids > 0)
        if recorded.any():
            vectors[recorded] = self.texts.of_events(ids[recorded].tolist(), self.written)
        if context.text:
            vectors[text & (ids == 0)] = self.texts.of_text(context.text)
        return vectors
