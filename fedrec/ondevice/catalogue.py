"""The public catalogue on a device: titles, categories and providers of many items in little memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedrec.model.catalogue_file import CatalogueFile, Codes, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What people may read of one item. published: seconds since 1970 in UTC, None where it is not known."""

    item_id: str
    title: str
    text: str | None = None
    category: str | None = None
    provider: str | None = None
    published: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class DeviceCatalogue:
    """The items of a release, then items added on the device, in the order of the index's rows.

    category_codes, provider_codes: (N,) positions in `categories` and `providers`, -1 where
    an item has none. published: (N,) int64 seconds since 1970 in UTC, 0 where it is not known.
    """

    released: CatalogueFile
    categories: Sequence[str]
    category_codes: Codes
    providers: Sequence[str]
    provider_codes: Codes
    published: Ints
    added: tuple[Item, ...] = ()

    @classmethod
    def open(cls, path: Path) -> "DeviceCatalogue":
        """Map a release's catalogue; raises DataError if the file is none."""
        return cls.of(CatalogueFile.open(path))

    @classmethod
    def of(cls, released: CatalogueFile) -> "DeviceCatalogue":
        """A catalogue without additions."""
        return cls(
            released=released,
            categories=tuple(released.categories),
            category_codes=released.category_codes,
            providers=tuple(released.providers),
            provider_codes=released.provider_codes,
            published=released.published,
        )

    def __len__(self) -> int:
        return len(self.published)

    def title(self, row: int) -> str:
        """The title of an item."""
        if row < len(self.released.ids):
            return self.released.titles[row]
        return self.added[row - len(self.released.ids)].title

    def item(self, row: int) -> Item:
        """All that is known of an item."""
        released = self.released
        if row >= len(released.ids):
            return self.added[row - len(released.ids)]
        category, provider = int(self.category_codes[row]), int(self.provider_codes[row])
        return Item(
            item_id=released.ids[row],
            title=released.titles[row],
            text=released.texts[row] or None,
            category=self.categories[category] if category >= 0 else None,
            provider=self.providers[provider] if provider >= 0 else None,
            published=int(self.published[row]) or None,
        )

    def has_rows(self, item_ids: Sequence[str]) -> bool:
        """Whether the items are these, in this order."""
        return len(item_ids) == len(self) and all(self.item_id(row) == item_id for row, item_id in enumerate(item_ids))

    def item_id(self, row: int) -> str:
        """The id of an item."""
        released = len(self.released.ids)
        return self.released.ids[row] if row < released else self.added[row - released].item_id

    def extended(self, items: Sequence[Item]) -> "DeviceCatalogue":
        """A catalogue with new items behind the old ones."""
        categories, category_codes = _extended(self.categories, self.category_codes, [item.category for item in items])
        providers, provider_codes = _extended(self.providers, self.provider_codes, [item.provider for item in items])
        return replace(
            self,
            categories=categories,
            category_codes=category_codes,
            providers=providers,
            provider_codes=provider_codes,
            published=np.concatenate(
                [self.published, np.array([item.published or 0 for item in items], dtype=np.int64)]
            ),
            added=(*self.added, *items),
        )


def _extended(names: Sequence[str], codes: Codes, given: Sequence[str | None]) -> tuple[Sequence[str], Codes]:
    """The names with the new ones behind them, and the codes of the old rows and the new."""
    places = {name: place for place, name in enumerate(names)}
    for name in given:
        if name:
            places.setdefault(name, len(places))
    added = np.array([places[name] if name else -1 for name in given], dtype=np.int32)
    return tuple(places), np.concatenate([codes, added])
