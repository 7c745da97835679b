"""Rows of a table become events: times, values and kinds are checked, lists become one row per item."""

import re
from collections import Counter

import polars as pl

from fedrec.data.events import TEXT_KINDS, Kind
from fedrec.data.importers.delimited import LINE
from fedrec.data.importers.files import PlainFile
from fedrec.data.importers.mapping import IGNORE, LABEL, EventTable, ListRule, event_columns
from fedrec.data.importers.repairs import count_repairs, first_of
from fedrec.data.importers.tables import RawTable, read_table
from fedrec.data.importers.times import is_time, seconds
from fedrec.errors import DataError

_END_OF_TIME = 4_102_444_800  # 2100-01-01
_COLUMNS = ("user_id", "item_id", "timestamp", "kind", "value", "text", "context")
_FAULTS = {
    "time": "the time is not a number, or not of the mapping's `time_format`",
    "value": "the value is not a number",
    "label": "an item of the list lacks its label",
    "kind": "the mapping's `kind` does not say what this label means (`values`, or `other`)",
}


def read_events(file: PlainFile, table: EventTable) -> tuple[pl.DataFrame, Counter[str]]:
    """The events of one file in the file's order, and what was left out, by reason.

    Raises DataError naming the first line that the mapping cannot be right about.
    """
    raw = read_table(file, table.layout, event_columns(table))
    rows = _with_times(raw, table)
    if table.many:
        rows = _one_row_per_item(rows, table.many)
    rows = _with_kinds(rows, table)
    rows = rows.with_columns(first_of(_faults(table)).alias("fault"), first_of(_repairs(table)).alias("repair"))
    frame = raw.collect(rows.select(LINE, *_COLUMNS, "fault", "repair"))
    faulty = frame.filter(pl.col("fault").is_not_null()).sort(LINE).head(1)
    if len(faulty):
        reason = _FAULTS[faulty["fault"].item()]
        raise DataError(f"{raw.place(faulty[LINE].item())}: {reason}. Repair the line, or the mapping.")
    counts = count_repairs(frame, str(file.named))
    return frame.filter(pl.col("repair").is_null()).select(_COLUMNS), counts


def _with_times(raw: RawTable, table: EventTable) -> pl.LazyFrame:
    """Columns of the events' own names; `time_given`, `value_given`: whether the cell holds something."""
    time = pl.col(table.timestamp)
    texts = {
        key: pl.concat_str([pl.col(name) for name in names], separator=". ", ignore_nulls=True).replace("", None)
        if names
        else pl.lit(None, pl.String)
        for key, names in table.texts.items()
    }
    nothing = pl.lit(None, pl.String)
    value = pl.col(table.value) if table.value else nothing
    value = pl.when(value.str.to_lowercase() != "nan").then(value)
    return raw.frame.select(
        LINE,
        pl.col(table.user).alias("user_id"),
        (pl.col(table.item) if table.item else nothing).alias("item_id"),
        seconds(time, raw.frame.collect_schema()[table.timestamp], table.time).alias("timestamp"),
        is_time(time, raw.frame.collect_schema()[table.timestamp], table.time).alias("time_read"),
        time.is_not_null().alias("time_given"),
        value.cast(pl.Float32, strict=False).alias("value"),
        value.is_not_null().alias("value_given"),
        (pl.col(table.kind.column) if table.kind.column not in (None, LABEL) else nothing).alias("label"),
        **texts,
    )


def _one_row_per_item(rows: pl.LazyFrame, many: ListRule) -> pl.LazyFrame:
    if many.separator:
        rows = rows.with_columns(pl.col("item_id").str.split(many.separator))
    if many.history:
        rows = rows.sort("timestamp", maintain_order=True, nulls_last=True)
        rows = rows.filter(pl.col("user_id").is_first_distinct() | ~pl.col("time_read"))
        before = pl.col("timestamp") - pl.col("item_id").list.len().cast(pl.Int64)
        places = pl.int_ranges(pl.col("item_id").list.len().cast(pl.Int64))
        rows = rows.with_columns((before + places).alias("timestamp"))
    rows = rows.filter(pl.col("item_id").list.len() > 0)
    rows = rows.explode(["item_id", "timestamp"] if many.history else ["item_id"])
    rows = rows.with_columns(pl.col("item_id").str.strip_chars().replace("", None))
    if many.label:
        pattern = f"^(.*){re.escape(many.label)}(.*?)$"
        rows = rows.with_columns(
            pl.col("item_id").str.extract(pattern, 1).alias("item_id"),
            pl.col("item_id").str.extract(pattern, 2).alias("label"),
            (pl.col("item_id").is_null() | pl.col("item_id").str.contains(pattern)).alias("labelled"),
        )
    return rows


def _with_kinds(rows: pl.LazyFrame, table: EventTable) -> pl.LazyFrame:
    rule = table.kind
    if rule.constant:
        return rows.with_columns(pl.lit(rule.constant).alias("kind"))
    known = pl.col("label").fill_null("").replace_strict(dict(rule.values), default=rule.other, return_dtype=pl.String)
    return rows.with_columns(known.alias("kind"))


def _faults(table: EventTable) -> dict[str, pl.Expr]:
    faults = {
        "time": pl.col("time_given") & ~pl.col("time_read").fill_null(False),
        "value": pl.col("value_given") & pl.col("value").is_null(),
    }
    if table.many and table.many.label:
        faults["label"] = ~pl.col("labelled")
    return {**faults, "kind": pl.col("kind").is_null() & pl.col("item_id").is_not_null()}


def _repairs(table: EventTable) -> dict[str, pl.Expr]:
    kind, value, time = pl.col("kind"), pl.col("value"), pl.col("timestamp")
    worded = kind.is_in(list(TEXT_KINDS))
    least, most = table.value_range or (float("-inf"), float("inf"))
    beyond = value.is_infinite() | ~value.is_between(least, most)
    if table.value_range is None:
        beyond |= (kind == Kind.PLAY) & ~value.is_between(0, 1)
    return {
        "kind_left_out": kind == IGNORE,
        "missing_user": pl.col("user_id").is_null(),
        "missing_item": pl.col("item_id").is_null() & ~worded,
        "missing_text": worded & pl.col("text").is_null(),
        "missing_time": ~pl.col("time_given"),
        "time_out_of_range": time.is_null() | ~time.is_between(0, _END_OF_TIME - 1),
        "missing_value": (kind == Kind.RATE) & value.is_null(),
        "value_out_of_range": beyond,
    }
