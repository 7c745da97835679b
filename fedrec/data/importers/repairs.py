"""What an importer mends or leaves out and counts, instead of stopping."""

from collections import Counter
from collections.abc import Mapping

import polars as pl

from fedrec.errors import DataError

REPAIRS: Mapping[str, str] = {
    "duplicate_event": "exactly the same event again: left out",
    "missing_user": "no user id: left out",
    "missing_item": "no item id, and not a search or a comment: left out",
    "missing_time": "no time: left out",
    "time_out_of_range": "a time before 1970 or after 2099: left out",
    "missing_value": "a rating that is empty or NaN: left out",
    "value_out_of_range": "a value that is infinite or outside the mapping's range: left out",
    "missing_text": "a search or a comment without words: left out",
    "kind_left_out": "a label that the mapping calls `ignore`: left out",
    "unknown_item": "an item that the catalogue lacks: its event is left out",
    "item_without_id": "a catalogue row without an id: left out",
    "duplicate_item": "an item id for the second time: the first row is kept",
    "item_without_title": "no title: the item id stands in",
}

# A whole column of these means that the mapping reads the wrong column, not that the data has holes.
_NEVER_ALL = ("missing_user", "missing_item", "missing_time", "missing_value", "missing_text", "item_without_id")


def first_of(reasons: Mapping[str, pl.Expr]) -> pl.Expr:
    """The first reason whose condition holds, or null."""
    return pl.coalesce(pl.lit(None, pl.String), *(pl.when(holds).then(pl.lit(name)) for name, holds in reasons.items()))


def count_repairs(frame: pl.DataFrame, where: str) -> Counter[str]:
    """How often each reason stands in the column `repair`.

    Raises DataError if one kind of hole is all that there is.
    """
    counts = Counter(dict(frame.group_by("repair").len().drop_nulls().iter_rows()))
    for name in _NEVER_ALL:
        if len(frame) and counts[name] == len(frame):
            raise DataError(f"{where}: every row is left out ({REPAIRS[name]}). Check the mapping's columns.")
    return counts
