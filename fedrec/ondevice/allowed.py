"""Which items may be on the next list, from what the person did, said and is looking at."""

import numpy as np

from fedrec.data.events import Kind
from fedrec.data.sequences import Bools
from fedrec.ondevice.feedback import Closed
from fedrec.ondevice.filters import REFUSED_KINDS, SEEN_KINDS, SKIP_RESTS, close, open_items, removed_codes
from fedrec.ondevice.live import KINDS, Table
from fedrec.ondevice.loaded import Loaded

_CLOSING = np.array([kind in SEEN_KINDS | REFUSED_KINDS for kind in KINDS])
_SKIP = KINDS.index(Kind.SKIP)


def allowed_now(
    loaded: Loaded, table: Table, closed: Closed, *, session: tuple[str, ...], muted: Bools | None, now: int
) -> Bools:
    """(N,) whether an item may be recommended.

    table: the entries of the whole history. closed: for good. session: what is looked at
    already. muted: (N,) items of muted interests.
    """
    catalogue = loaded.catalogue
    mask = open_items(
        len(loaded),
        categories=catalogue.category_codes,
        muted_topics=removed_codes(catalogue.categories, closed.topics) if closed.topics else None,
        providers=catalogue.provider_codes,
        blocked_providers=removed_codes(catalogue.providers, closed.providers) if closed.providers else None,
        muted=muted,
    )
    resting = (table["kind"] == _SKIP) & (now - table["time"] < SKIP_RESTS)
    rows = table["row"][_CLOSING[table["kind"]] | resting]
    close(mask, rows[rows >= 0])
    named = [row for item_id in (*closed.items, *session) if (row := loaded.index.row_of(item_id)) is not None]
    close(mask, named)
    return mask
