"""Imports any table through a mapping: read, check, merge, hash the users, publish."""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import polars as pl

from fedrec import __version__
from fedrec.data.dataset import DatasetInfo, DatasetWriter
from fedrec.data.importers.event_rows import read_events
from fedrec.data.importers.files import PlainFile, find_files, plain_file
from fedrec.data.importers.item_rows import read_items
from fedrec.data.importers.mapping import CatalogueTable, EventTable, TableMapping
from fedrec.data.importers.user_keys import default_key_path, hash_users, new_key, read_key, write_key
from fedrec.errors import DataError

Progress = Callable[[str], None]
Table = TypeVar("Table", EventTable, CatalogueTable)


@dataclass(slots=True)
class _Reading:
    """Where files are found, and what was mended while reading them."""

    folder: Path
    scratch: Path
    progress: Progress
    repairs: Counter[str] = field(default_factory=Counter)

    def read(
        self, table: Table, read: Callable[[PlainFile, Table], tuple[pl.DataFrame, Counter[str]]]
    ) -> list[pl.DataFrame]:
        """The rows of every file that the table's patterns select."""
        frames = []
        for path in find_files(self.folder, table.layout):
            self.progress(f"reading {path.name}")
            with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
                frame, repairs = read(plain_file(path, table.layout, Path(scratch)), table)
            frames.append(frame)
            self.repairs.update(repairs)
        return frames


def import_table(
    source: Path,
    *,
    mapping: TableMapping,
    out: Path,
    user_key: Path | None = None,
    progress: Progress = lambda _: None,
) -> DatasetInfo:
    """Write the dataset folder `out` from the files under `source`.

    source: a folder, or the one file of events with its catalogue beside it.
    user_key: the key that user ids are hashed with; made when absent, by default beside `out`.
    Raises DataError and leaves no folder if the files are not what the mapping says.
    """
    out = out.resolve()
    key_path = (user_key or default_key_path(out)).resolve()
    if key_path.is_relative_to(out):
        raise DataError(f"The user key {key_path} would lie in the dataset folder. Keep it elsewhere.")
    stored = read_key(key_path)
    key = stored or new_key()
    folder, mapping = _locate(source, mapping)
    with DatasetWriter(out) as writer:
        # Unpacked copies hold private rows: they lie in the writer's own folder, which is removed.
        reading = _Reading(folder, writer.scratch, progress)
        items, events = _read(reading, mapping)
        progress("writing")
        writer.set_catalogue(items)
        writer.add_events(events.with_columns(hash_users(events["user_id"], key=key).alias("user_id")))
        if stored is None:
            write_key(key_path, key)
        try:
            return writer.commit(
                source=mapping.source or mapping.name,
                licence=mapping.licence,
                importer=f"fedrec {__version__}, {mapping.name}",
                repairs={name: count for name, count in sorted(reading.repairs.items()) if count},
            )
        except BaseException:
            if stored is None:
                key_path.unlink(missing_ok=True)
            raise


def _locate(source: Path, mapping: TableMapping) -> tuple[Path, TableMapping]:
    if source.is_dir():
        return source, mapping
    if not source.exists():
        raise DataError(f"{source} does not exist. Check the path.")
    # A `[` or `*` in a name given by hand is no pattern.
    name = "".join(f"[{letter}]" if letter in "[*?" else letter for letter in source.name)
    events = tuple(replace(table, layout=replace(table.layout, file=(name,), exclude=())) for table in mapping.events)
    return source.parent, replace(mapping, events=events)


def _read(reading: _Reading, mapping: TableMapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items and events, merged over the files; each item and each event once."""
    rows = pl.concat(reading.read(mapping.catalogue, read_items))
    items = rows.unique("item_id", keep="first", maintain_order=True)
    frames = [frame for table in mapping.events for frame in reading.read(table, read_events)]
    reading.progress("removing duplicates")
    events = pl.concat(frames) if frames else pl.DataFrame()
    known = events.filter(pl.col("item_id").is_null() | pl.col("item_id").is_in(items["item_id"].implode()))
    kept = known.unique(maintain_order=True)
    repairs = reading.repairs
    repairs["duplicate_item"] += len(rows) - len(items)
    repairs["unknown_item"] += len(events) - len(known)
    repairs["duplicate_event"] += len(known) - len(kept)
    if not len(kept):
        reasons = ", ".join(f"{count} {name}" for name, count in sorted(repairs.items()) if count)
        raise DataError(
            f"{reading.folder}: no usable event is left ({reasons or 'the files hold no row'}). "
            "Check the mapping's columns and units."
        )
    return items, kept
