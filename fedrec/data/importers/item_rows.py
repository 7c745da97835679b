"""Rows of a table become the public catalogue: one row per item id, with its text."""

from collections import Counter

import polars as pl

from fedrec.data.importers.delimited import LINE
from fedrec.data.importers.files import PlainFile
from fedrec.data.importers.mapping import FLAGS, CatalogueTable, catalogue_columns
from fedrec.data.importers.repairs import count_repairs, first_of
from fedrec.data.importers.tables import RawTable, read_table
from fedrec.data.importers.times import seconds
from fedrec.errors import DataError

_FAULTS = {
    "popularity": "the popularity is not a number",
    "published": "the time of publication is not a number, or not of the mapping's `time_format`",
}


def read_items(file: PlainFile, table: CatalogueTable) -> tuple[pl.DataFrame, Counter[str]]:
    """The items of one file in the file's order, and what was mended or left out.

    Raises DataError if the popularity of an item is not a number, or its time of publication no time.
    """
    raw = read_table(file, table.layout, catalogue_columns(table))
    rows = raw.frame.with_columns(
        *(pl.col(name).str.split(separator).alias(name) for name, separator in table.lists.items() if separator),
        _flags(table).alias(FLAGS),
    )
    popularity = pl.col(table.popularity) if table.popularity else pl.lit(None, pl.String)
    number = popularity.cast(pl.Float32, strict=False)
    published, is_published = _published(raw, table)
    parts = [pl.col(table.title), *(_words(name, table) for name in table.text)]
    frame = raw.collect(
        rows.select(
            LINE,
            pl.col(table.id).alias("item_id"),
            pl.col(table.title).fill_null(pl.col(table.id)).alias("title"),
            pl.concat_str(parts, separator=". ", ignore_nulls=True).alias("text"),
            _first(table).alias("category"),
            pl.when(number.is_finite()).then(number).alias("popularity"),
            (pl.col(table.provider) if table.provider else pl.lit(None, pl.String)).alias("provider"),
            published.alias("published"),
            first_of({"popularity": popularity.is_not_null() & number.is_null(), "published": ~is_published}).alias(
                "fault"
            ),
            first_of(
                {
                    "item_without_id": pl.col(table.id).is_null(),
                    "duplicate_item": ~pl.col(table.id).is_first_distinct(),
                    "item_without_title": pl.col(table.title).is_null(),
                }
            ).alias("repair"),
        )
    )
    faulty = frame.filter(pl.col("fault").is_not_null()).sort(LINE).head(1)
    if len(faulty):
        reason = _FAULTS[faulty["fault"].item()]
        raise DataError(f"{raw.place(faulty[LINE].item())}: {reason}. Repair the line, or the mapping.")
    counts = count_repairs(frame, str(file.named))
    kept = frame.filter(pl.col("repair").is_null() | (pl.col("repair") == "item_without_title"))
    return kept.sort(LINE).drop(LINE, "fault", "repair"), counts


def _published(raw: RawTable, table: CatalogueTable) -> tuple[pl.Expr, pl.Expr]:
    """Seconds since 1970, null where a cell holds no time; and whether it may be read so."""
    if table.published is None:
        return pl.lit(None, pl.Int64), pl.lit(True)
    cell, kind = pl.col(table.published), raw.frame.collect_schema()[table.published]
    if table.published_pattern:
        # Words around a time are not the publisher's promise of one.
        return seconds(cell.str.extract(table.published_pattern, 1), kind, table.time), pl.lit(True)
    found = seconds(cell, kind, table.time)
    return found, cell.is_null() | found.is_not_null()


def _flags(table: CatalogueTable) -> pl.Expr:
    words = [pl.when(pl.col(name) == "1").then(pl.lit(word)) for name, word in table.flags.items()]
    return pl.concat_list(words).list.drop_nulls() if words else pl.lit(None, pl.List(pl.String))


def _is_list(name: str, table: CatalogueTable) -> bool:
    return name == FLAGS or name in table.lists


def _entries(name: str, table: CatalogueTable) -> pl.Expr:
    """The list without empty entries and without what the layout calls missing."""
    cells = pl.element().str.strip_chars()
    return pl.col(name).list.eval(cells.filter(~cells.is_in(["", *table.layout.missing])))


def _words(name: str, table: CatalogueTable) -> pl.Expr:
    if not _is_list(name, table):
        return pl.col(name)
    return _entries(name, table).list.join(", ").replace("", None)


def _first(table: CatalogueTable) -> pl.Expr:
    if table.category is None:
        return pl.lit(None, pl.String)
    return _entries(table.category, table).list.first() if _is_list(table.category, table) else pl.col(table.category)
