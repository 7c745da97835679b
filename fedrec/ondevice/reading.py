"""What the model reads at this moment: the end of the history, with the context behind it."""

from collections.abc import Callable

import numpy as np

from fedrec.data.events import Kind
from fedrec.data.sequences import Floats, Ints
from fedrec.ondevice.context import Context
from fedrec.ondevice.live import KINDS, TEXT, Entries, LiveHistory
from fedrec.ondevice.loaded import Loaded
from fedrec.ondevice.texts import TextVectors

# The moment counts as the same thing would once it is recorded.
_LOOKED_AT, _ASKED_FOR = KINDS.index(Kind.VIEW), KINDS.index(Kind.SEARCH)


def entries_now(
    history: LiveHistory, context: Context, *, loaded: Loaded, texts: TextVectors, written: Callable[[int], str]
) -> Entries:
    """The entries of the model's window. written: looks up the text of an event.

    Items of the session that the catalogue lacks are passed over.
    """
    window = loaded.model.config.window
    table = history.latest(window)
    weights = table["weight"]
    if context.label and context.boost != 1:
        weights = weights * np.where(table["label"] == history.label(context.label), np.float32(context.boost), 1)
    rows, kinds = _moment(context, loaded)
    own = loaded.released.weights
    ids = np.concatenate([table["id"], np.zeros(len(rows), dtype=np.int64)])[-window:]
    all_rows = np.concatenate([table["row"], np.array(rows, dtype=np.int64)])[-window:]
    all_kinds = np.concatenate([table["kind"], np.array(kinds, dtype=np.int64)])[-window:]
    all_weights = np.concatenate([weights, np.array([own[KINDS[kind]] for kind in kinds])])[-window:]
    return Entries(
        ids=ids,
        rows=all_rows,
        kinds=all_kinds,
        weights=all_weights.astype(np.float32),
        vectors=_vectors(ids, all_rows, context, loaded=loaded, texts=texts, written=written),
    )


def _moment(context: Context, loaded: Loaded) -> tuple[list[int], list[int]]:
    """Rows and kinds of what is looked at and asked for; the wish in words comes last and counts most."""
    found = [loaded.index.row_of(item_id) for item_id in context.session]
    rows = [row for row in found if row is not None]
    kinds = [_LOOKED_AT] * len(rows)
    return ([*rows, TEXT], [*kinds, _ASKED_FOR]) if context.text else (rows, kinds)


def _vectors(
    ids: Ints, rows: Ints, context: Context, *, loaded: Loaded, texts: TextVectors, written: Callable[[int], str]
) -> Floats:
    text = rows == TEXT
    if not text.any():
        return loaded.index.vectors(rows)
    vectors = np.empty((len(rows), loaded.index.width), dtype=np.float32)
    vectors[~text] = loaded.index.vectors(rows[~text])
    recorded = text & (ids > 0)
    if recorded.any():
        vectors[recorded] = texts.of_events(ids[recorded].tolist(), written)
    if context.text:
        vectors[text & (ids == 0)] = texts.of_text(context.text)
    return vectors
