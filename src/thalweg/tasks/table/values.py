"""The values of a column as numbers and as texts, whatever type they came in."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl

from thalweg.errors import DataError
from thalweg.tasks.table.begins import numbered
from thalweg.tasks.table.notation import plainly

LARGEST = 1e150
"""Numbers of at least this size count as infinite: their squares would be."""

EXACT = 2**53
"""Up to here every whole number is a float."""


def is_number(series: pl.Series) -> bool:
    """Does the column hold numbers, or what can be counted as such: booleans, dates, times?"""
    return series.dtype.is_numeric() or series.dtype == pl.Boolean or series.dtype.is_temporal()


def is_understood(series: pl.Series) -> bool:
    """Does the column hold something that can be learnt from?"""
    return is_number(series) or series.dtype in (pl.String, pl.Null)


def as_floats(series: pl.Series) -> np.ndarray:
    """A number column as float64 of shape (n,); missing and infinite values are NaN; dates and
    times are counted in microseconds, a time of day in nanoseconds.
    """
    if series.dtype == pl.Date:
        series = series.cast(pl.Datetime)
    if series.dtype in (pl.Datetime, pl.Duration):
        series = series.dt.cast_time_unit("us")
    if series.dtype.is_temporal():
        series = series.to_physical()
    values = series.cast(pl.Float64).to_numpy().astype(np.float64, copy=True)
    values[~(np.abs(values) < LARGEST)] = np.nan
    return values


def as_numbers(series: pl.Series, source: str) -> pl.Series:
    """The series as numbers. Raises DataError with the first value that is none."""
    if is_number(series) or series.dtype == pl.Null:
        return series
    numbers = series.cast(pl.Float64, strict=False) if series.dtype == pl.String else None
    if numbers is None:
        raise DataError(
            f"{source}: column {series.name!r} holds {series.dtype}, but was trained on numbers"
        )
    row = first_lost(series, numbers)
    if row is not None:
        raise DataError(
            f"{source}, row {row + 1:,}: column {series.name!r} holds {series[row]!r}, "
            "but was trained on numbers: mend that row"
        )
    return numbers


def plain_numbers(texts: pl.Series) -> pl.Series:
    """The numbers of a text column, float64, in whichever notation; missing where there is none."""
    return plainly(texts).cast(pl.Float64, strict=False)


def first_lost(series: pl.Series, converted: pl.Series) -> int | None:
    """The first row whose value a conversion made missing."""
    lost = converted.is_null() & series.is_not_null()
    return int(lost.arg_max() or 0) if lost.any() else None


def level_texts(series: pl.Series, levels: Sequence[str] | None = None) -> pl.Series:
    """The values as texts; 3.0 is "3" where that is a level, or where all numbers are whole.

    levels: those that were learnt; None: the values themselves are to be learnt
    """
    texts = series.cast(pl.String)
    if not series.dtype.is_float():
        return texts
    finite = series.set(~series.is_finite(), None)
    texts, whole = finite.cast(pl.String), class_texts(finite, "integer")
    if levels is None:
        is_whole = (finite.drop_nulls() == finite.drop_nulls().round()).all()
        return whole if is_whole else texts
    return whole.zip_with(whole.is_in(list(levels)), texts)


def class_texts(series: pl.Series, class_type: str) -> pl.Series:
    """Classes of one type as text, the same for 3, 3.0 and "3"; others stay as they are."""
    texts = series.cast(pl.String)
    if class_type == "boolean":
        return texts.str.to_lowercase()
    if class_type == "float":
        return _first(series.cast(pl.Float64, strict=False).cast(pl.String), texts)
    if class_type == "integer" and not series.dtype.is_integer():
        floats = series.cast(pl.Float64, strict=False)
        whole = floats.cast(pl.Int64, strict=False)
        return _first(whole.set(whole.cast(pl.Float64) != floats, None).cast(pl.String), texts)
    return texts


def _first(series: pl.Series, other: pl.Series) -> pl.Series:
    """The values of `series`, those of `other` where it has none."""
    return series.zip_with(series.is_not_null(), other)


def codes(texts: pl.Series, levels: Sequence[str]) -> np.ndarray:
    """Places of the texts among the levels, float64; any other text len(levels), missing NaN."""
    places = texts.cast(pl.Enum(levels), strict=False).to_physical().cast(pl.Float64)
    found = places.fill_null(len(levels))
    return found.set(texts.is_null(), None).to_numpy() if texts.null_count() else found.to_numpy()


NUM_FIRST = 1000
"""Values at the head of a column that often tell what it is not, at no cost."""


def first_known(series: pl.Series) -> pl.Series:
    """The first values that are not missing."""
    return series.head(NUM_FIRST).drop_nulls()


def strays(series: pl.Series) -> pl.Series:
    """The few texts in a column that holds numbers otherwise; none where most of it is text."""
    if series.dtype != pl.String:
        return series.clear()
    texts = series.filter(plain_numbers(series).is_null() & series.is_not_null())
    return texts if 2 * len(texts) < series.len() - series.null_count() else series.clear()


def short(value: Any) -> str:
    """A value as it stands in a message."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def listed(names: Sequence[str]) -> str:
    """The first names, and how many there are."""
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, ... ({len(names)} in all)"


def find_column(frame: pl.DataFrame, name: str, source: str) -> str:
    """`name` if it is a column. Raises DataError with the nearest name otherwise."""
    if name in frame.columns:
        return name
    near = nearest(name, frame.columns)
    hint = f"did you mean {near!r}?" if near else f"its columns are {listed(frame.columns)}"
    why = " (a file without a header)" if frame.columns == numbered(frame.width) else ""
    raise DataError(f"{source} has no column {name!r}: {hint}{why}")


def check_there(names: Sequence[str], frame: pl.DataFrame, source: str, why: str) -> None:
    """Raise DataError for columns that a table lacks, and what each may be called there instead.

    why: they are needed
    """
    absent = [name for name in names if name not in frame.columns]
    if not absent:
        return
    what = "the column" if len(absent) == 1 else f"{len(absent)} columns:"
    spare = [name for name in frame.columns if name not in names]
    near = {name: nearest(name, spare) for name in absent}
    meant = [f"rename {other!r} to {name!r}" for name, other in near.items() if other]
    hint = "; ".join(meant) or f"its columns are {listed(frame.columns)}"
    raise DataError(f"{source} lacks {what} {', '.join(map(repr, absent))}, {why}: {hint}")


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant."""
    folded = {row.strip().casefold(): row for row in known}
    close = get_close_matches(name.strip().casefold(), folded, n=1, cutoff=0.5)
    return folded[close[0]] if close else None
