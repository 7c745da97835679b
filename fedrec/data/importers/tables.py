"""Reads csv, tsv, json lines and parquet as columns of strings beside the number of each row's line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from fedrec.data.importers.delimited import LINE, check_columns, read_delimited
from fedrec.data.importers.files import PlainFile, bad_line, undecodable
from fedrec.data.importers.mapping import Layout
from fedrec.errors import DataError

_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    """A table as it stands in its file.

    frame: the columns asked for, as strings (lists of strings for `lists`, temporal columns
    of parquet as they are), and `@line`, counted from 1. In json lines, where blank lines
    are allowed, and in parquet it counts rows.
    """

    file: PlainFile
    layout: Layout
    frame: pl.LazyFrame

    def collect(self, lazy: pl.LazyFrame) -> pl.DataFrame:
        """Run a query over `frame`; raises DataError with the line that cannot be read."""
        try:
            return lazy.collect(engine="streaming")
        except _POLARS:
            # Polars quotes the data in its messages: they must not be shown.
            raise self._unreadable() from None

    def place(self, row: int) -> str:
        """The file and line of a row, for a message."""
        if self.layout.format == "parquet":
            return f"{self.file.named}, row {row}"
        if self.layout.format == "jsonl":
            lines = (number for number, line in _lines(self.file.plain) if line.strip())
            row = next(islice(lines, row - 1, None))
        return f"{self.file.named}, line {row}"

    def _unreadable(self) -> DataError:
        if self.layout.format == "jsonl":
            line = _bad_json_line(self.file.plain, dict(self.frame.collect_schema()))
            if line is not None:
                return DataError(
                    f"{self.file.named}, line {line} is not a JSON object with the columns of the mapping. "
                    "Repair the line, or the mapping."
                )
        if self.layout.format != "parquet" and bad_line(self.file.plain) is not None:
            return undecodable(self.file)
        return DataError(f"{self.file.named} cannot be read as the mapping says. Check what its columns hold.")


def read_table(file: PlainFile, layout: Layout, columns: Mapping[str, bool]) -> RawTable:
    """Open a table; `columns` names what is needed and whether it is a list of the format's own.

    Raises DataError if a column is missing, a row is ragged or a quote is never closed.
    """
    if layout.format == "jsonl":
        frame = _read_json_lines(file, columns)
    elif layout.format == "parquet":
        frame = _read_parquet(file, columns)
    else:
        frame = read_delimited(file, layout, columns)
    missing = ["", *layout.missing]
    text = [
        pl.when(~pl.col(name).str.strip_chars().is_in(missing)).then(pl.col(name).str.strip_chars()).alias(name)
        for name, kind in frame.collect_schema().items()
        if kind == pl.String
    ]
    return RawTable(file=file, layout=layout, frame=frame.with_columns(text))


def _read_json_lines(file: PlainFile, columns: Mapping[str, bool]) -> pl.LazyFrame:
    schema = {name: pl.List(pl.String()) if many else pl.String() for name, many in columns.items()}
    return pl.scan_ndjson(file.plain, schema=schema).with_row_index(LINE, offset=1)


def _read_parquet(file: PlainFile, columns: Mapping[str, bool]) -> pl.LazyFrame:
    try:
        frame = pl.scan_parquet(file.plain, glob=False)
        schema = frame.collect_schema()
    except _POLARS:
        raise DataError(f"{file.named} is damaged or not a parquet file. Fetch it again.") from None
    check_columns(file, tuple(schema.names()), columns)
    picked = []
    for name, many in columns.items():
        if many != isinstance(schema[name], pl.List):
            raise DataError(
                f"{file.named}: the column `{name}` {'is not' if many else 'is'} a list. Correct the mapping."
            )
        if not (schema[name].is_temporal() or schema[name].is_nested() or schema[name] == pl.Binary):
            picked.append(pl.col(name).cast(pl.String))
        elif many:
            picked.append(pl.col(name).cast(pl.List(pl.String)))
        elif schema[name] in (pl.Date, pl.Datetime):
            picked.append(pl.col(name).cast(pl.Datetime("us")))
        else:
            raise DataError(f"{file.named}: the column `{name}` holds no text, number or time. Correct the mapping.")
    return frame.select(picked).with_row_index(LINE, offset=1)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        yield from enumerate(file, start=1)


def _bad_json_line(path: Path, schema: Mapping[str, pl.DataType]) -> int | None:
    """The first line that polars refuses, found in ever smaller pieces; None if it takes all."""
    wanted = {name: kind for name, kind in schema.items() if name != LINE}
    lines = _lines(path)
    while batch := list(islice(lines, 10_000)):
        while not _parses([line for _, line in batch], wanted):
            if len(batch) == 1:
                return batch[0][0]
            half = batch[: len(batch) // 2]
            batch = batch[len(half) :] if _parses([line for _, line in half], wanted) else half
    return None


def _parses(lines: list[bytes], schema: Mapping[str, pl.DataType]) -> bool:
    text = b"".join(lines)
    try:
        return not text.strip() or pl.read_ndjson(text, schema=dict(schema)) is not None
    except _POLARS:
        return False
