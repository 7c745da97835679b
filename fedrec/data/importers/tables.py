"""Reads csv, tsv, json lines and parquet as columns of strings beside the number of each row's line.

Text without quotes is split by polars line by line, so a row is a line; text with quotes goes
through the `csv` module, which knows on which line a record of several lines begins. Nothing is
guessed from the data: a malformed row is an error with its line.
"""

import csv
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fedrec.data.importers.files import PlainFile, undecodable
from fedrec.data.importers.mapping import Layout
from fedrec.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader

LINE = "@line"
_ROWS = 100_000
_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


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
        if self.layout.format == "parquet":
            return DataError(f"{self.file.named} is damaged or not a parquet file. Fetch it again.")
        if self.layout.format == "jsonl":
            line = _bad_json_line(self.file.plain, dict(self.frame.collect_schema()))
            if line is not None:
                return DataError(
                    f"{self.file.named}, line {line} is not a JSON object with the columns of the mapping. "
                    "Repair the line, or the mapping."
                )
        return undecodable(self.file)


def read_table(file: PlainFile, layout: Layout, columns: Mapping[str, bool]) -> RawTable:
    """Open a table; `columns` names what is needed and whether it is a list of the format's own.

    Raises DataError if a column is missing, a row is ragged or a quote is never closed.
    """
    if layout.format == "jsonl":
        frame = _read_json_lines(file, columns)
    elif layout.format == "parquet":
        frame = _read_parquet(file, columns)
    elif layout.quotes and _holds(file.plain, b'"'):
        frame = _read_quoted(file, layout, columns)
    else:
        frame = _read_lines(file, layout, columns)
    missing = ["", *layout.missing]
    text = [
        pl.when(~pl.col(name).str.strip_chars().is_in(missing)).then(pl.col(name).str.strip_chars()).alias(name)
        for name, kind in frame.collect_schema().items()
        if kind == pl.String
    ]
    return RawTable(file=file, layout=layout, frame=frame.with_columns(text))


def _read_lines(file: PlainFile, layout: Layout, columns: Mapping[str, bool]) -> pl.LazyFrame:
    lines = pl.scan_lines(file.plain, row_index_name=LINE, row_index_offset=1, glob=False)
    head = layout.header
    if head is None:
        head = tuple(cell.strip() for cell in _first_line(file).split(layout.separator))
        lines = lines.slice(1)
    _check_columns(file, head, columns)
    lines = lines.filter(pl.col("line").str.strip_chars() != "")
    fields = pl.col("line").str.count_matches(layout.separator, literal=True).cast(pl.Int64) + 1
    table = RawTable(file=file, layout=layout, frame=lines)
    ragged = table.collect(lines.select(LINE, fields.alias("fields")).filter(pl.col("fields") != len(head)).head(1))
    if len(ragged):
        raise _ragged(file, *ragged.row(0), expected=len(head))
    # One cut less than there are fields would leave a separator in the last one.
    parts = pl.col("line").str.split_exact(layout.separator, len(head))
    picked = [parts.struct.field(f"field_{head.index(name)}").alias(name) for name in columns]
    return lines.select(LINE, *picked)


def _read_quoted(file: PlainFile, layout: Layout, columns: Mapping[str, bool]) -> pl.LazyFrame:
    if len(layout.separator) != 1:
        raise DataError(f"{file.named}: a separator of several characters needs `quotes = false` in the mapping.")
    try:
        with file.plain.open(encoding="utf-8", newline="") as opened:
            frames = list(
                _quoted_batches(file, csv.reader(opened, delimiter=layout.separator, strict=True), layout, columns)
            )
    except UnicodeDecodeError:
        raise undecodable(file) from None
    return pl.concat(frames).lazy()


def _quoted_batches(
    file: PlainFile, reader: "Reader", layout: Layout, columns: Mapping[str, bool]
) -> Iterator[pl.DataFrame]:
    records = _records(file, reader)
    head = layout.header
    if head is None:
        head = tuple(cell.strip() for cell in next(records, (1, []))[1])
    _check_columns(file, head, columns)
    places = [head.index(name) for name in columns]
    schema = pl.Schema([(LINE, pl.Int64()), *((name, pl.String()) for name in columns)])
    yield schema.to_frame()
    while batch := list(islice(records, _ROWS)):
        for line, cells in batch:
            if len(cells) != len(head):
                raise _ragged(file, line, len(cells), expected=len(head))
        data = {name: [cells[place] for _, cells in batch] for name, place in zip(columns, places, strict=True)}
        yield pl.DataFrame({LINE: [line for line, _ in batch], **data}, schema=schema)


def _records(file: PlainFile, reader: "Reader") -> Iterator[tuple[int, list[str]]]:
    """Every record that is not blank, with the line on which it begins."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise DataError(
                f"{file.named}, line {line}: a quote is never closed, or text follows one. "
                "Double the quotes inside a field, or set `quotes = false` in the mapping."
            ) from None
        if cells:
            yield line, cells


def _read_json_lines(file: PlainFile, columns: Mapping[str, bool]) -> pl.LazyFrame:
    schema = {name: pl.List(pl.String()) if many else pl.String() for name, many in columns.items()}
    return pl.scan_ndjson(file.plain, schema=schema).with_row_index(LINE, offset=1)


def _read_parquet(file: PlainFile, columns: Mapping[str, bool]) -> pl.LazyFrame:
    try:
        frame = pl.scan_parquet(file.plain, glob=False)
        schema = frame.collect_schema()
    except _POLARS:
        raise DataError(f"{file.named} is damaged or not a parquet file. Fetch it again.") from None
    _check_columns(file, tuple(schema.names()), columns)
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


def _check_columns(file: PlainFile, head: tuple[str, ...], columns: Mapping[str, bool]) -> None:
    for name in columns:
        if head.count(name) != 1:
            fault = "names it twice" if name in head else "lacks it"
            raise DataError(f"{file.named}, line 1: the mapping reads the column `{name}`, but the file {fault}.")


def _ragged(file: PlainFile, line: int, fields: int, *, expected: int) -> DataError:
    return DataError(
        f"{file.named}, line {line} has {fields} fields where {expected} are expected. "
        "Check the mapping's `separator` and `header`, or repair the line."
    )


def _first_line(file: PlainFile) -> str:
    with file.plain.open("rb") as opened:
        try:
            return opened.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise undecodable(file) from None


def _holds(path: Path, byte: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(byte) >= 0


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
