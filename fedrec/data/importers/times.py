"""Times as tables write them: numbers since 1970, written dates, parquet's own."""

import polars as pl

YEAR = "year"
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def seconds(time: pl.Expr, kind: pl.DataType, form: str) -> pl.Expr:
    """Whole seconds since 1970, null where there are none that fit."""
    if kind == pl.Datetime:
        return time.dt.epoch("s")
    if form == YEAR:
        return pl.datetime(time.cast(pl.Int32, strict=False), 1, 1).dt.epoch("s")
    if form not in _PER_SECOND:
        return time.str.to_datetime(form, strict=False, ambiguous="earliest").dt.epoch("s")
    whole = time.cast(pl.Int64, strict=False) // _PER_SECOND[form]
    rounded = (time.cast(pl.Float64, strict=False) / _PER_SECOND[form]).floor().cast(pl.Int64, strict=False)
    return pl.coalesce(whole, rounded)


def is_time(time: pl.Expr, kind: pl.DataType, form: str) -> pl.Expr:
    """Whether a cell is a time of this form, in range or not."""
    if kind == pl.Datetime or form == YEAR or form not in _PER_SECOND:
        return seconds(time, kind, form).is_not_null()
    return time.cast(pl.Float64, strict=False).is_not_nan()
