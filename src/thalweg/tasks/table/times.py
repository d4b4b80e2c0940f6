"""A column as moments in time, to put rows in order; refused where it is none."""

from __future__ import annotations

import numpy as np
import polars as pl

from thalweg.errors import DataError
from thalweg.tasks.table import dates
from thalweg.tasks.table.values import first_lost


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
    found = dates.format_of(series)
    times = dates.parsed(series, found.text if found else dates.nearest_format(series))
    row = first_lost(series, times)
    if row is not None:
        raise DataError(_no_time(series, row))
    if found is not None and found.other is not None:
        raise DataError(
            f"split time: column {series.name!r} can be read with the day or with the month first, "
            f"such as {series.drop_nulls()[0]!r}: write dates as 2024-01-31"
        )
    return times


def _no_time(series: pl.Series, row: int) -> str:
    value = series[row]
    what = "is missing" if value is None else f"is {value!r}, which is no time,"
    return (
        f"split time: column {series.name!r} {what} in row {row + 1:,}: it must hold dates or "
        "times (as 2024-01-31), or numbers that count time"
    )
