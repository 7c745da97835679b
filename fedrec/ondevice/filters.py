"""Which items may be recommended: not what was acted upon, hidden, blocked or muted.

The answer is one mask over the catalogue. Whoever holds it updates it row by row as events
come (`close`), and makes it anew (`open_items`) when something is taken back.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.data.events import Kind
from fedrec.data.sequences import Bools, Ints

Codes = npt.NDArray[np.signedinteger[Any]]

# Acted upon, so done with. What was only viewed, searched for or commented on may come again.
SEEN_KINDS = frozenset({Kind.CLICK, Kind.LIKE, Kind.SAVE, Kind.SHARE, Kind.PURCHASE, Kind.RATE, Kind.PLAY})
REFUSED_KINDS = frozenset({Kind.HIDE, Kind.BLOCK})
# A skip says "not now": the item rests for a week.
SKIP_RESTS = 7 * 86_400


def open_items(
    items: int,
    *,
    closed: Ints | Sequence[int] = (),
    categories: Codes | None = None,
    muted_topics: Bools | None = None,
    providers: Codes | None = None,
    blocked_providers: Bools | None = None,
    muted: Bools | None = None,
) -> Bools:
    """(N,) True where an item may be recommended.

    closed: rows of single items. categories, providers: (N,) codes, -1 for none.
    muted_topics, blocked_providers: tables from `removed_codes`. muted: (N,) True where an
    item belongs to a muted interest.
    """
    mask = np.ones(items, dtype=np.bool_)
    for codes, removed in ((categories, muted_topics), (providers, blocked_providers)):
        if codes is not None and removed is not None and removed.any():
            mask &= ~removed[codes]
    if muted is not None:
        mask &= ~muted
    close(mask, closed)
    return mask


def close(mask: Bools, rows: Ints | Sequence[int]) -> None:
    """Take single items out of a mask, in place."""
    mask[np.asarray(rows, dtype=np.int64)] = False


def removed_codes(names: Sequence[str], removed: Collection[str]) -> Bools:
    """(C + 1,) True for each code whose name is removed; the last entry is that of code -1, never removed.

    >>> removed_codes(("drama", "news"), {"news"}).tolist()
    [False, True, False]
    """
    return np.array([*(name in removed for name in names), False], dtype=np.bool_)
