"""Reads text that separators divide into fields, keeping the number of each row's line.

Without quotes, polars splits line by line, so a row is a line. With quotes, the `csv` module
reads, which knows on which line a record of several lines begins. Nothing is guessed from the
data: a malformed row is an error with its line.
"""

import csv
import mmap
from collections.abc import Iterable, Iterator
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


def read_delimited(file: PlainFile, layout: Layout, columns: Iterable[str]) -> pl.LazyFrame:
    """The columns asked for, as strings, and `@line`, counted from 1.

    Raises DataError if a column is missing, a row is ragged or a quote is never closed.
    """
    names = tuple(columns)
    if layout.quotes and _holds(file.plain, b'"'):
        return _read_quoted(file, layout, names)
    return _read_lines(file, layout, names)


def _read_lines(file: PlainFile, layout: Layout, columns: tuple[str, ...]) -> pl.LazyFrame:
    lines = pl.scan_lines(file.plain, row_index_name=LINE, row_index_offset=1, glob=False)
    head = layout.header
    if head is None:
        head = tuple(cell.strip() for cell in _first_line(file).split(layout.separator))
        lines = lines.slice(1)
    check_columns(file, head, columns)
    lines = lines.filter(pl.col("line").str.strip_chars(" \r") != "")
    fields = pl.col("line").str.count_matches(layout.separator, literal=True).cast(pl.Int64) + 1
    try:
        ragged = lines.select(LINE, fields.alias("fields")).filter(pl.col("fields") != len(head)).head(1).collect()
    except (pl.exceptions.PolarsError, OSError):
        raise undecodable(file) from None
    if len(ragged):
        raise _ragged(file, *ragged.row(0), expected=len(head))
    # One cut less than there are fields would leave a separator in the last one.
    parts = pl.col("line").str.split_exact(layout.separator, len(head))
    picked = [parts.struct.field(f"field_{head.index(name)}").alias(name) for name in columns]
    return lines.select(LINE, *picked)


def _read_quoted(file: PlainFile, layout: Layout, columns: tuple[str, ...]) -> pl.LazyFrame:
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
    file: PlainFile, reader: "Reader", layout: Layout, columns: tuple[str, ...]
) -> Iterator[pl.DataFrame]:
    records = _records(file, reader)
    head = layout.header
    if head is None:
        head = tuple(cell.strip() for cell in next(records, (1, []))[1])
    check_columns(file, head, columns)
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


def check_columns(file: PlainFile, head: tuple[str, ...], columns: Iterable[str]) -> None:
    """Raises DataError unless the file names every column exactly once."""
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
