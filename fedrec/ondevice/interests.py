"""The profile over the live history: what it is made of, and which items its muted interests take out."""

import numpy as np

from fedrec.data.sequences import Bools
from fedrec.ondevice.live import TEXT, LiveHistory
from fedrec.ondevice.loaded import Loaded
from fedrec.ondevice.profile import Profile, Told
from fedrec.ondevice.reading import Reader

# Enough for eight interests, and little enough to group at once.
_LATEST = 2000
_BLOCK = 4096


def told_now(history: LiveHistory, reader: Reader) -> Told:
    """The latest entries that say something about the taste."""
    table = history.latest(_LATEST)
    entries = reader.of(table[table["weight"] > 0])
    catalogue = reader.loaded.catalogue
    about = list(zip(entries.rows.tolist(), entries.ids.tolist(), strict=True))
    return Told(
        event_ids=entries.ids,
        vectors=entries.vectors,
        weights=entries.weights,
        categories=[None if row == TEXT else catalogue.item(row).category for row, _ in about],
        words=[reader.written(number) if row == TEXT else catalogue.title(row) for row, number in about],
    )


def muted_items(profile: Profile | None, loaded: Loaded) -> Bools | None:
    """(N,) the items of muted interests; None where nothing is muted."""
    if profile is None or not any(cluster.muted for cluster in profile.clusters):
        return None
    starts = range(0, len(loaded), _BLOCK)
    # Block by block: the whole catalogue as floats would be the largest thing in memory.
    return np.concatenate([profile.muted(loaded.index.vectors(slice(start, start + _BLOCK))) for start in starts])
