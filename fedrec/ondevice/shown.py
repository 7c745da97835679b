"""How often items were shown lately: kept only while a rule of the person's lists needs to know."""

from collections.abc import Sequence

import numpy as np

from fedrec.data.sequences import Ints
from fedrec.data.store.store import Store
from fedrec.ondevice.loaded import Loaded
from fedrec.ondevice.rerank import Steering

_COUNTED_FOR = 30 * 86_400


class Shown:
    """items: (N,) times that each item was shown; providers: (P + 1,) times that anything of each was."""

    def __init__(self, store: Store, loaded: Loaded, *, now: int) -> None:
        self._store = store
        self._codes = loaded.catalogue.provider_codes
        self.items: Ints = np.zeros(len(loaded), dtype=np.int64)
        # The last place is that of items without a provider.
        self.providers: Ints = np.zeros(len(loaded.catalogue.providers) + 1, dtype=np.int64)
        for item_id, times in store.shown_counts(now - _COUNTED_FOR).items():
            row = loaded.index.row_of(item_id)
            if row is not None:
                self._count(np.array([row]), times)

    def add(self, rows: Ints, item_ids: Sequence[str], steering: Steering, *, now: int) -> None:
        """Count a list that was shown, where a rule of the person's lists needs to know."""
        if steering.max_shown or steering.provider_share < 1:
            self._count(rows, 1)
            self._store.add_shown(item_ids, now)

    def _count(self, rows: Ints, times: int) -> None:
        np.add.at(self.items, rows, times)
        np.add.at(self.providers, self._codes[rows], times)
