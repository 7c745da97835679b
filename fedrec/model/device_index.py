"""The item index as a device reads it: int8 codes straight from the file, exact scores, no copy of the catalogue."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrec.errors import DataError
from fedrec.model.item_index import INDEX_FORMAT, Floats, Ints, Whitening, check_digest
from fedrec.model.mapped_file import open_tensors

Codes = npt.NDArray[np.int8]

DEVICE_INDEX = "index.int8.safetensors"
# Small enough that a block of codes, turned into floats, stays in the cache of one core.
_BLOCK = 2048
# An index whose rows take no more than this as float32 is held so: a list is then a third faster.
_HELD_BYTES = 16 << 20


@dataclass(frozen=True, eq=False, kw_only=True)
class DeviceIndex:
    """Vectors of a catalogue's items, in its order: int8 rows of a release, then rows added on the device.

    codes: (N0, d) int8, memory-mapped; scales: (N0,) float32; row i is `codes[i] * scales[i]`.
    added: (N - N0, d) float32. content_hash: of the release's index, whatever was added.
    held: the released rows as float32, where that is small; None reads the codes every time.
    """

    item_ids: Sequence[str]
    codes: Codes
    scales: Floats
    whitening: Whitening
    encoder_name: str
    encoder_hash: str
    content_hash: str
    added: Floats
    held: Floats | None = field(repr=False)
    _buffer: Floats = field(repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    @classmethod
    def open(cls, path: Path) -> "DeviceIndex":
        """Map an int8 index file.

        Raises DataError if it is none, VerificationError if its content was changed.
        """
        tensors, metadata = open_tensors(path, mapped=["codes"])
        try:
            if metadata["format"] != INDEX_FORMAT:
                raise DataError(f"{path} has format {metadata['format']}, not {INDEX_FORMAT}. Fetch the release again.")
            if "codes" not in tensors:
                raise DataError(f"{path} is the index for training. A device opens the int8 one of the same release.")
            check_digest(path, tensors, metadata)
            codes, scales = tensors["codes"], tensors["scales"]
            small = codes.size * np.dtype(np.float32).itemsize <= _HELD_BYTES and scales.shape == codes.shape[:1]
            return cls(
                item_ids=tuple(json.loads(tensors["item_ids"].tobytes().decode())),
                codes=codes,
                scales=scales,
                whitening=Whitening(tensors["mean"], tensors["rotation"], tensors["scale"]),
                encoder_name=metadata["encoder_name"],
                encoder_hash=metadata["encoder_hash"],
                content_hash=metadata["content_hash"],
                added=np.zeros((0, codes.shape[1]), dtype=np.float32),
                held=codes.astype(np.float32) * scales[:, None] if small else None,
                _buffer=np.empty((_BLOCK, codes.shape[1]), dtype=np.float32),
            )
        except (KeyError, ValueError, IndexError) as error:
            raise DataError(f"{path} is not an item index ({error}). Fetch the release again.") from None

    def __post_init__(self) -> None:
        rows, width = self.codes.shape
        if self.scales.shape != (rows,) or self.added.shape[1:] != (width,) or len(self.whitening.mean) != width:
            raise ValueError(f"codes of {self.codes.shape} do not fit scales of {self.scales.shape}")
        if len(self.item_ids) != len(self):
            raise ValueError(f"{len(self.item_ids)} ids for {len(self)} rows")

    def __len__(self) -> int:
        return len(self.codes) + len(self.added)

    @property
    def width(self) -> int:
        """How many coordinates a vector has."""
        return int(self.codes.shape[1])

    @cached_property
    def _row_by_id(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def row_of(self, item_id: str) -> int | None:
        """The row of an item, None if the index lacks it."""
        return self._row_by_id.get(item_id)

    def vectors(self, rows: Ints | slice) -> Floats:
        """(R, d) float32 vectors of some rows."""
        places = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        if len(places) and not (places.min() >= 0 and places.max() < len(self)):
            raise IndexError(f"rows from {places.min()} to {places.max()} in an index of {len(self)}")
        released = places < len(self.codes)
        if released.all():
            return self._released(places)
        found = np.empty((len(places), self.width), dtype=np.float32)
        found[released] = self._released(places[released])
        found[~released] = self.added[places[~released] - len(self.codes)]
        return found

    def _released(self, rows: Ints) -> Floats:
        if self.held is not None:
            return self.held.take(rows, axis=0)
        found = self.codes.take(rows, axis=0).astype(np.float32)
        found *= self.scales.take(rows)[:, None]
        return found

    def scores(self, query: Floats) -> Floats:
        """(N,) float32: the dot product of every row with a query (d,), exactly."""
        given = np.asarray(query, dtype=np.float32)
        if given.shape != (self.width,):
            raise DataError(f"A query of shape {given.shape} does not fit an index of width {self.width}.")
        found = np.empty(len(self), dtype=np.float32)
        released = len(self.codes)
        found[released:] = self.added @ given
        if self.held is not None:
            np.dot(self.held, given, out=found[:released])
            return found
        with self._lock:
            for start in range(0, released, _BLOCK):
                codes = self.codes[start : start + _BLOCK]
                block = self._buffer[: len(codes)]
                np.copyto(block, codes)
                np.dot(block, given, out=found[start : start + len(codes)])
        found[:released] *= self.scales
        return found

    def extended(self, item_ids: Sequence[str], vectors: npt.ArrayLike) -> "DeviceIndex":
        """An index with new items, (M, d) vectors in its space, behind the old ones.

        Raises DataError if an id is there already or comes twice, or a vector does not fit.
        """
        given = np.asarray(vectors, dtype=np.float32)
        if given.shape != (len(item_ids), self.width) or not np.isfinite(given).all():
            raise DataError(f"Vectors of {given.shape} are not {len(item_ids)} finite rows of width {self.width}.")
        known = sum(self.row_of(item_id) is not None for item_id in item_ids)
        if known or len(set(item_ids)) != len(item_ids):
            raise DataError(f"{known} of {len(item_ids)} new items are in the index already, or one comes twice.")
        return DeviceIndex(
            item_ids=(*self.item_ids, *item_ids),
            codes=self.codes,
            scales=self.scales,
            whitening=self.whitening,
            encoder_name=self.encoder_name,
            encoder_hash=self.encoder_hash,
            content_hash=self.content_hash,
            added=np.concatenate([self.added, given]),
            held=self.held,
            _buffer=np.empty_like(self._buffer),
        )
