"""A dataset folder: written whole or not at all, read lazily.

`events.parquet` is sorted by user and time in small row groups, so that one client's
slice is read at its own size; `catalogue.parquet` is public; `dataset.json` says what
the folder holds and where it came from. Where it says that there are no events, the
folder is a catalogue alone, as an aggregation service has it.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from fedrec.errors import DataError

EVENT_SCHEMA = pl.Schema(
    {
        "user_id": pl.String,
        "item_id": pl.String,
        "timestamp": pl.Int64,
        "kind": pl.String,
        "value": pl.Float32,
        "text": pl.String,
        "context": pl.String,
    }
)
CATALOGUE_SCHEMA = pl.Schema(
    {
        "item_id": pl.String,
        "title": pl.String,
        "text": pl.String,
        "category": pl.String,
        "popularity": pl.Float32,
        "provider": pl.String,
        "published": pl.Int64,
    }
)
_ROW_GROUP = 16_384
_EVENTS, _CATALOGUE = "events.parquet", "catalogue.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What `dataset.json` says; `repairs` counts what the importer mended or dropped, by reason."""

    name: str
    source: str
    licence: str
    importer: str
    users: int
    items: int
    events: int
    hash: str
    repairs: Mapping[str, int] = field(default_factory=dict)


class DatasetWriter:
    """Writes a dataset folder beside its final place and renames it when complete.

    Use as a context manager: `add_events` any number of times, `set_catalogue` once,
    `commit` once. Leaving without `commit` removes what was written.
    Events may come in any order unless `sorted_input`, which promises user order (by
    string comparison of `user_id`) and time order, and keeps memory flat in the population.
    `scratch` is a private folder for the caller's temporary files; it is gone afterwards.
    Raises DataError if the folder exists and is not empty.
    """

    def __init__(self, out: Path, *, sorted_input: bool = False) -> None:
        out = out.resolve()
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"{out} exists already. Choose another --out, or remove it first.")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        except OSError as error:
            raise DataError(f"{out} cannot be written ({error.strerror}). Choose another --out.") from None
        self._out = out
        self._sorted = sorted_input
        self.scratch = self._folder / "scratch"
        for folder in (self._folder / "parts", self.scratch):
            folder.mkdir()
        self._parts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_events(self, events: pl.DataFrame) -> None:
        """Append a batch of events; columns that are absent become null."""
        if len(events):
            part = self._folder / "parts" / f"{self._parts:08d}.parquet"
            _conform(events, EVENT_SCHEMA).write_parquet(part)
            self._parts += 1

    def set_catalogue(self, catalogue: pl.DataFrame) -> None:
        """Set the public catalogue; `vector_*` columns of other modalities are kept."""
        frame = _conform(catalogue, CATALOGUE_SCHEMA, keep_prefix="vector_")
        if frame["item_id"].is_duplicated().any():
            raise DataError("The catalogue names an item twice. Item ids must be unique.")
        frame.write_parquet(self._folder / _CATALOGUE)

    def commit(
        self, *, source: str, licence: str, importer: str, repairs: Mapping[str, int] | None = None
    ) -> DatasetInfo:
        """Publish the folder under its final name and return what `dataset.json` says."""
        if not self._parts:
            raise DataError("No usable event was found. Check the mapping's columns and the input files.")
        if not (self._folder / _CATALOGUE).is_file():
            raise DataError("The dataset has no catalogue. Set one before it is committed.")
        parts = self._folder / "parts"
        events = pl.scan_parquet(sorted(parts.iterdir()), glob=False)
        if not self._sorted:
            events = events.sort("user_id", "timestamp", maintain_order=True)
        target = self._folder / _EVENTS
        events.sink_parquet(target, row_group_size=_ROW_GROUP, statistics=True)
        shutil.rmtree(parts)
        shutil.rmtree(self.scratch)
        counts = (
            pl.scan_parquet(target, glob=False)
            .select(pl.col("user_id").n_unique().alias("users"), pl.len().alias("events"))
            .collect()
            .row(0, named=True)
        )
        info = DatasetInfo(
            name=self._out.name,
            source=source,
            licence=licence,
            importer=importer,
            users=counts["users"],
            items=pl.scan_parquet(self._folder / _CATALOGUE, glob=False).select(pl.len()).collect().item(),
            events=counts["events"],
            hash=_hash_files(self._folder, _EVENTS, _CATALOGUE),
            repairs=dict(repairs or {}),
        )
        (self._folder / "dataset.json").write_text(json.dumps(asdict(info), indent=2) + "\n")
        # The folder was made for its owner only; a dataset is as readable as the place it lies in.
        self._folder.chmod(self._out.parent.stat().st_mode & 0o755)
        if self._out.exists():
            self._out.rmdir()
        self._folder.rename(self._out)
        return info


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset folder opened for reading; nothing is loaded until it is asked for."""

    path: Path
    info: DatasetInfo

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Read `dataset.json`; raises DataError if the folder is not a dataset."""
        try:
            info = DatasetInfo(**json.loads((path / "dataset.json").read_text()))
        except FileNotFoundError:
            raise DataError(
                f"{path} is not a dataset folder (no dataset.json). Make one with `fedrec data import` or `synth`."
            ) from None
        except (ValueError, TypeError) as error:
            raise DataError(f"{path / 'dataset.json'} cannot be read ({error}). Import the data again.") from None
        for name in _files_of(info):
            if not (path / name).is_file():
                raise DataError(f"{path} lacks {name}. Import the data again.")
        return cls(path, info)

    def verify(self) -> None:
        """Raise DataError unless the files are the ones that `dataset.json` was written for."""
        if _hash_files(self.path, *_files_of(self.info)) != self.info.hash:
            raise DataError(f"{self.path}: the files are not those that dataset.json describes. Import the data again.")

    def events(self) -> pl.LazyFrame:
        """All events, sorted by user and time, as a lazy frame; raises DataError for a catalogue alone."""
        if not self.info.events:
            raise DataError(f"{self.path} holds a catalogue and no events. Name the whole dataset.")
        return pl.scan_parquet(self.path / _EVENTS, glob=False)

    def user_events(self, user_ids: list[str]) -> pl.DataFrame:
        """The events of some users; reads only the row groups that hold them."""
        return self.events().filter(pl.col("user_id").is_in(user_ids)).collect()

    def user_ids(self) -> list[str]:
        """Every user, in the order of the file."""
        column = self.events().select(pl.col("user_id").unique(maintain_order=True)).collect()
        return column["user_id"].to_list()

    def catalogue(self) -> pl.DataFrame:
        """The public catalogue, in the order that rows of the item index follow."""
        return pl.read_parquet(self.path / _CATALOGUE, glob=False)


def _conform(frame: pl.DataFrame, schema: pl.Schema, *, keep_prefix: str | None = None) -> pl.DataFrame:
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    ]
    extra = [name for name in frame.columns if keep_prefix and name.startswith(keep_prefix)]
    try:
        return frame.select(*columns, *extra)
    except pl.exceptions.InvalidOperationError:
        # Polars quotes the cells that it cannot convert: they must not be shown.
        kinds = {name: str(kind) for name, kind in frame.schema.items() if kind != schema.get(name, kind)}
        raise DataError(f"Columns cannot be converted to the dataset's schema: {kinds}.") from None


def _files_of(info: DatasetInfo) -> tuple[str, ...]:
    return (_EVENTS, _CATALOGUE) if info.events else (_CATALOGUE,)


def _hash_files(folder: Path, *names: str) -> str:
    digest = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
