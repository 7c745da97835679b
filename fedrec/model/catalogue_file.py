"""The catalogue of a release: what people may read of every item, in the order of the item index. Public plane."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.errors import DataError
from fedrec.model.mapped_file import open_tensors, write_tensors
from fedrec.model.packed_text import PackedText

Codes = npt.NDArray[np.signedinteger[Any]]
Ints = npt.NDArray[np.int64]

CATALOGUE = "catalogue.safetensors"
_FORMAT = "fedrec-catalogue/1"
_TEXTS = ("ids", "titles", "texts", "categories", "providers")
_PARTS = ("blob", "offsets")


@dataclass(frozen=True, eq=False, kw_only=True)
class CatalogueFile:
    """N items as packed columns.

    texts: "" where an item has none. category_codes, provider_codes: (N,) positions in
    `categories` and `providers`, -1 where an item has none. published: (N,) seconds since
    1970 in UTC, 0 where it is not known.
    """

    ids: PackedText
    titles: PackedText
    texts: PackedText
    categories: PackedText
    category_codes: Codes
    providers: PackedText
    provider_codes: Codes
    published: Ints

    @classmethod
    def of(
        cls,
        item_ids: Sequence[str],
        *,
        titles: Sequence[str | None],
        texts: Sequence[str | None],
        categories: Sequence[str | None],
        providers: Sequence[str | None],
        published: Sequence[int | None],
    ) -> "CatalogueFile":
        """The columns of a catalogue, packed."""
        category_names, category_codes = _coded(categories)
        provider_names, provider_codes = _coded(providers)
        return cls(
            ids=PackedText.of(item_ids),
            titles=PackedText.of(title or "" for title in titles),
            texts=PackedText.of(text or "" for text in texts),
            categories=PackedText.of(category_names),
            category_codes=category_codes,
            providers=PackedText.of(provider_names),
            provider_codes=provider_codes,
            # 0 stands for unknown: what came out in the first second of 1970 came out in the next.
            published=np.array([0 if at is None else at or 1 for at in published], dtype=np.int64),
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "category_codes": self.category_codes,
            "provider_codes": self.provider_codes,
            "published": self.published,
        }
        for name in _TEXTS:
            packed: PackedText = getattr(self, name)
            tensors |= {f"{name}.blob": packed.blob, f"{name}.offsets": packed.offsets}
        write_tensors(path, tensors, {"format": _FORMAT})

    @classmethod
    def open(cls, path: Path) -> "CatalogueFile":
        """Map a file; its texts stay on the disk until they are read.

        Raises DataError if it is no catalogue.
        """
        tensors, metadata = open_tensors(path, mapped=[f"{name}.{part}" for name in _TEXTS for part in _PARTS])
        if metadata.get("format") != _FORMAT:
            raise DataError(f"{path} has format {metadata.get('format')}, not {_FORMAT}. Fetch the release again.")
        try:
            columns: dict[str, Any] = {
                name: PackedText(tensors[f"{name}.blob"], tensors[f"{name}.offsets"]) for name in _TEXTS
            }
            columns |= {name: tensors[name] for name in ("category_codes", "provider_codes", "published")}
            found = cls(**columns)
            found._require_whole()
        except (KeyError, ValueError) as error:
            raise DataError(f"{path} is not a catalogue ({error}). Fetch the release again.") from None
        return found

    def _require_whole(self) -> None:
        rows = len(self.ids)
        columns = (self.titles, self.texts, self.category_codes, self.provider_codes, self.published)
        if any(len(column) != rows for column in columns):
            raise ValueError(f"columns of {[len(column) for column in columns]} rows for {rows} items")
        for codes, names in ((self.category_codes, self.categories), (self.provider_codes, self.providers)):
            if rows and not (codes.min() >= -1 and codes.max() < len(names)):
                raise ValueError(f"codes up to {codes.max()} for {len(names)} names")


def _coded(names: Sequence[str | None]) -> tuple[list[str], Codes]:
    """The different names in order, and each row's position among them."""
    known = sorted({name for name in names if name})
    codes = {name: code for code, name in enumerate(known)}
    kind = np.int16 if len(known) <= np.iinfo(np.int16).max else np.int32
    return known, np.array([codes[name] if name else -1 for name in names], dtype=kind)
