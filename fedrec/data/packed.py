"""Everybody's histories as columns on the disk, packed once and mapped: memory does not grow with the population.

They lie in the dataset's folder, under a key of its content and of the settings that they were
packed with, so that they go with the data and no other settings read them.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt
import polars as pl

from fedrec.data.dataset import Dataset
from fedrec.data.entries import PositiveRule
from fedrec.data.packing import Packed, Packing, held_out_places
from fedrec.data.sequences import History, Ints, Sequences
from fedrec.data.splits import Split
from fedrec.errors import DataError

# Below it packing takes seconds and memory for a moment: nothing is kept.
LARGE = 2_000_000

# Raised whenever the same events are packed in another way.
_FORMAT = "fedrec-packed/1"
_FACTS, _TEXTS = "packed.json", "texts.json"
_EVENTS_AT_ONCE = 2**18
_ENTRIES: Mapping[str, type[np.generic]] = {
    "rows": np.int32,
    "times": np.int64,
    "weights": np.float32,
    "targets": np.bool_,
    "intents": np.float32,
    "ratings": np.float32,
}
_PEOPLE: Mapping[str, type[np.generic]] = {
    "offsets": np.int64,
    "validation_at": np.int64,
    "test_at": np.int64,
    "ids": np.uint8,
    "id_offsets": np.int64,
}
_COLUMNS: Mapping[str, type[np.generic]] = {**_ENTRIES, **_PEOPLE}


def open_split(dataset: Dataset, *, positives: PositiveRule, weights: Mapping[str, float], seed: int) -> Split:
    """The split of a dataset, mapped from the columns in its folder, which are packed first where they are not whole.

    The same as `leave_one_out(load_sequences(...))`. Raises DataError if the folder cannot be written.
    """
    settings = {"format": _FORMAT, "hash": dataset.info.hash, **asdict(positives), "weights": weights, "seed": seed}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    folder = dataset.path / "packed" / key[:32]
    if not _is_whole(folder):
        packing = Packing.of(dataset, positives=positives, weights=weights, seed=seed)
        try:
            _place(dataset, packing, folder)
        except OSError as error:
            raise DataError(
                f"{folder.parent} cannot be written ({error.strerror}), and so many histories are kept there. Make it "
                "writable, or copy the dataset."
            ) from None
    return _mapped(folder)


def whole_people(dataset: Dataset, *, at_once: int = _EVENTS_AT_ONCE) -> Iterator[pl.DataFrame]:
    """All events in some frames, no person's in two; `at_once` are read at a time."""
    rest: pl.DataFrame | None = None
    for start in range(0, dataset.info.events, at_once):
        part = dataset.events().slice(start, at_once).collect()
        part = part if rest is None else pl.concat([rest, part])
        is_last = part["user_id"] == part["user_id"][-1]
        rest = part.filter(is_last)
        if not is_last.all():
            yield part.filter(~is_last)
    if rest is not None:
        yield rest


class _Growing:
    """Columns that are written part by part, each a file that numpy maps."""

    def __init__(self, folder: Path) -> None:
        self._files = {name: (folder / f"{name}.npy").open("wb") for name in _COLUMNS}
        self._lengths = dict.fromkeys(_COLUMNS, 0)
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def append(self, **columns: npt.NDArray[Any]) -> None:
        """Write some values behind those that are there."""
        for name, values in columns.items():
            self._files[name].write(np.ascontiguousarray(values, dtype=_COLUMNS[name]).data)
            self._lengths[name] += len(values)

    def finish(self) -> None:
        """Say in each file how long it came to be."""
        for file in self._files.values():
            file.seek(0)
        self._begin()

    def _begin(self) -> None:
        # numpy leaves room in a header for a first axis that grows: the second one is as long as the first.
        for name, kind in _COLUMNS.items():
            header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": (self._lengths[name],)}
            np.lib.format.write_array_header_1_0(self._files[name], header)


def _place(dataset: Dataset, packing: Packing, folder: Path) -> None:
    """Pack into a folder beside the final one, which then has it whole or not at all."""
    folder.parent.mkdir(exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(dataset, packing, draft)
        # Another process may have been faster; what it made is the same.
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(dataset: Dataset, packing: Packing, folder: Path) -> None:
    with _Growing(folder) as columns:
        columns.append(offsets=np.zeros(1), id_offsets=np.zeros(1))
        before, ends = "", {"offsets": 0, "id_offsets": 0}
        for events in whole_people(dataset):
            packed = packing.pack(events)
            if not len(packed.user_ids):
                continue
            if packed.user_ids[0] <= before:
                raise DataError(f"{dataset.path}: the events are not sorted by user. Import the data again.")
            before = packed.user_ids[-1]
            _append(columns, packed, ends)
        columns.finish()
    if not before:
        raise DataError("No event is of an item in the catalogue or holds a text. Import the data again.")
    (folder / _TEXTS).write_text(json.dumps({"items": packing.items, "texts": list(packing.texts)}))
    (folder / _FACTS).write_text(json.dumps({"files": _hashes(folder)}))


def _append(columns: _Growing, packed: Packed, ends: dict[str, int]) -> None:
    """Write some people; ends: where the last entry and the last id end, moved on."""
    entries = packed.entries
    columns.append(**{name: getattr(entries, name) for name in _ENTRIES})
    validation, test = held_out_places(packed.lengths, entries.rows, entries.targets)
    ids = [user.encode() for user in packed.user_ids]
    lengths = {"offsets": packed.lengths, "id_offsets": np.array([len(each) for each in ids], dtype=np.int64)}
    columns.append(validation_at=validation, test_at=test, ids=np.frombuffer(b"".join(ids), dtype=np.uint8))
    for name, each in lengths.items():
        columns.append(**{name: ends[name] + np.cumsum(each)})
        ends[name] += int(each.sum())


def _mapped(folder: Path) -> Split:
    known = json.loads((folder / _TEXTS).read_text())
    # As plain arrays: every slice of a memmap costs a Python call of its own.
    columns: dict[str, Any] = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in _COLUMNS}
    sequences = Sequences(
        user_ids=UserIds(columns["ids"], columns["id_offsets"]),
        offsets=columns["offsets"],
        entries=History(**{name: columns[name] for name in _ENTRIES}),
        items=known["items"],
        texts=known["texts"],
    )
    return Split(sequences, columns["validation_at"], columns["test_at"])


def _is_whole(folder: Path) -> bool:
    """Whether everything lies there as it was written."""
    try:
        files: dict[str, str] = json.loads((folder / _FACTS).read_text())["files"]
        return files == _hashes(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for name in (*(f"{column}.npy" for column in _COLUMNS), _TEXTS):
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


class UserIds(Sequence[str]):
    """U ids as one UTF-8 blob; offsets: (U + 1,), where each begins."""

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: Ints) -> None:
        self._blob = blob
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, user: int) -> str: ...
    @overload
    def __getitem__(self, user: slice) -> list[str]: ...
    def __getitem__(self, user: int | slice) -> str | list[str]:
        if isinstance(user, slice):
            return [self[each] for each in range(*user.indices(len(self)))]
        at = range(len(self))[user]
        return self._blob[self._offsets[at] : self._offsets[at + 1]].tobytes().decode()
