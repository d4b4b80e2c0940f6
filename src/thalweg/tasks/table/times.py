"""A column as moments in time, to put rows in order; refused where it is none."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from thalweg.errors import DataError

FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
)
"""How texts may write a time, the same in the whole column."""


def times_of(series: pl.Series) -> np.ndarray:
    """One number a row, float64 or int64, the larger the later; numbers stand for themselves.

    Raises DataError for a column that is no time, with its first value that is none.
    """
    if series.dtype == pl.String:
        series = _parsed(series)
    if not series.dtype.is_numeric() and not series.dtype.is_temporal():
        raise DataError(_no_time(series, 0))
    values = series.to_physical() if series.dtype.is_temporal() else series
    bad = values.is_null()
    bad = bad | ~values.is_finite().fill_null(False) if values.dtype.is_float() else bad
    if bad.any():
        raise DataError(_no_time(series, int(bad.arg_max() or 0)))
    return values.to_numpy()


def _parsed(series: pl.Series) -> pl.Series:
    """Texts as times, in the one format that reads them all."""
    read = [(form, found) for form in FORMATS if (found := _read(series, form)) is not None]
    counts = [found.null_count() - series.null_count() for _, found in read]
    best = int(np.argmin(counts)) if counts else -1
    if not counts or counts[best]:
        failed = read[best][1].is_null() & series.is_not_null() if counts else None
        row = 0 if failed is None else int(failed.arg_max() or 0)
        raise DataError(_no_time(series, row))
    both = [form for (form, _), count in zip(read, counts, strict=True) if count == 0]
    if {"%d/%m/%Y", "%m/%d/%Y"} <= set(both):
        raise DataError(
            f"split time: column {series.name!r} can be read with the day or with the month first, "
            f"such as {series.drop_nulls()[0]!r}: write dates as 2024-01-31"
        )
    return read[best][1]


def _read(series: pl.Series, form: str) -> pl.Series | None:
    """The texts as times, null where one is none; None where this format is none of the column."""
    with suppress(PolarsError):
        return series.str.to_datetime(form, strict=False, time_unit="us", time_zone=_zone(form))
    return None


def _zone(form: str) -> str | None:
    return "UTC" if "%#z" in form else None


def _no_time(series: pl.Series, row: int) -> str:
    value = series[row]
    what = "is missing" if value is None else f"is {value!r}, which is no time,"
    return (
        f"split time: column {series.name!r} {what} in row {row + 1:,}: it must hold dates or "
        "times (as 2024-01-31), or numbers that count time"
    )
