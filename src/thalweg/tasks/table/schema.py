"""What each column is, and how it enters the model: found once, saved with the run.

A schema is built from the training rows alone, so nothing about validation or test leaks into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import polars as pl

from thalweg.errors import DataError
from thalweg.tasks.table.levels import levels_of
from thalweg.tasks.table.notation import plainly

Kind = Literal["number", "category"]

IDENTIFIER_SHARE, IDENTIFIER_COUNT = 0.5, 100
"""A text column with more distinct values than both (share of its rows, count) is an identifier."""

MOST_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken as classes."""

LARGEST = 1e150
"""Numbers of at least this size count as infinite: their squares would be."""

_EXACT = 2**53
"""Up to here every whole number is a float."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input column. number: mean, deviation; category: its levels, most frequent first.

    has_missing: a missing value was seen in training, so an input says "was missing"
    vector: width of what the model learns for each level, which is given as a code; 0 is one-hot
    """

    name: str
    kind: Kind
    mean: float = 0.0
    deviation: float = 1.0
    levels: tuple[str, ...] = ()
    has_missing: bool = False
    vector: int = 0

    @property
    def width(self) -> int:
        """Inputs of the model that it becomes: a category has one more, for any other value; a
        code has two digits.
        """
        if self.vector:
            return 2 + self.has_missing
        own = len(self.levels) + 1 if self.kind == "category" else 1
        return own + self.has_missing

    @property
    def use(self) -> str:
        """How it enters the model, in words."""
        text = (
            "standardised"
            if self.kind == "number"
            else f"{self._levels_use}, {len(self.levels):,} levels + other"
        )
        return text + (", missing marked" if self.has_missing else "")

    @property
    def _levels_use(self) -> str:
        return f"vectors of {self.vector}" if self.vector else "one-hot"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A column that is left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """What is predicted: its classes, as text, or its mean and deviation."""

    name: str
    task: Literal["classification", "regression"]
    classes: tuple[str, ...] = ()
    class_type: Literal["text", "integer", "float", "boolean"] = "text"
    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True, slots=True)
class Schema:
    """All columns of a table and its target."""

    columns: tuple[Column, ...]
    dropped: tuple[Dropped, ...]
    target: Target

    @property
    def width(self) -> int:
        """Inputs of the model."""
        return sum(column.width for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """As plain values that TOML can hold."""
        return {
            "target": _plain(self.target),
            "columns": [_plain(column) for column in self.columns],
            "dropped": [_plain(column) for column in self.dropped],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Schema:
        target = Target(**{**data["target"], "classes": tuple(data["target"]["classes"])})
        columns = tuple(
            Column(**{**row, "levels": tuple(row["levels"])}) for row in data["columns"]
        )
        return cls(columns, tuple(Dropped(**row) for row in data["dropped"]), target)


def _plain(row: Any) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__slots__}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


def find_target(frame: pl.DataFrame, name: str, source: str) -> str:
    """`name` if it is a column. Raises DataError with the nearest names otherwise."""
    if name in frame.columns:
        return name
    folded = {column.strip().casefold(): column for column in frame.columns}
    close = get_close_matches(name.strip().casefold(), folded, n=1, cutoff=0.5)
    near = [folded[match] for match in close]
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {_listed(frame.columns)}"
    raise DataError(f"{source} has no column {name!r}: {hint}")


def describe_target(frame: pl.DataFrame, name: str, task: str) -> Target:
    """The target's task and classes. Raises DataError for one that cannot be learnt."""
    column = frame.get_column(name)
    if not _is_understood(column) or column.dtype.is_temporal():
        raise DataError(
            f"the target {name!r} holds values of type {column.dtype}: it must be numbers or texts"
        )
    check_complete(column)
    kind = _task_of(column) if task == "auto" else task
    if column.n_unique() == 1:
        raise DataError(
            f"the target {name!r} has only one value, {column[0]!r}: there is nothing to learn"
        )
    if task != "classification" and (column.n_unique() > MOST_CLASSES or kind == "regression"):
        _check_stray(column)
    if kind == "classification":
        classes, class_type = _classes(column)
        return Target(name, "classification", classes, class_type)
    if not column.dtype.is_numeric() and column.dtype != pl.Boolean:
        raise DataError(
            f"the target {name!r} holds no numbers, but {column[0]!r} and the like: "
            "regression needs numbers (or leave out --task regression)"
        )
    return Target(name, "regression")


def with_scale(target: Target, values: np.ndarray) -> Target:
    """A regression target with mean and deviation of the training values, float64 of shape (n,)."""
    deviation = float(values.std()) or 1.0
    return Target(target.name, "regression", mean=float(values.mean()), deviation=deviation)


def describe_columns(
    frame: pl.DataFrame, *, embeds: bool = False
) -> tuple[tuple[Column, ...], tuple[Dropped, ...]]:
    """Every column of the training rows (target excluded): how it is used, or why it is not.

    embeds: can the model learn vectors for the levels of a category?
    """
    columns, dropped = [], []
    for series in frame.iter_columns():
        reason = _reason_to_drop(series)
        if reason:
            dropped.append(Dropped(series.name, reason))
        else:
            columns.append(_number(series) if is_number(series) else _category(series, embeds))
    return tuple(columns), tuple(dropped)


def is_number(series: pl.Series) -> bool:
    """Does the column hold numbers, or what can be counted as such: booleans, dates, times?"""
    return series.dtype.is_numeric() or series.dtype == pl.Boolean or series.dtype.is_temporal()


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


def _number(series: pl.Series) -> Column:
    values = as_floats(series)
    return Column(
        series.name,
        "number",
        mean=float(np.nanmean(values)),
        deviation=float(np.nanstd(values)) or 1.0,
        has_missing=bool(np.isnan(values).any()),
    )


def _category(series: pl.Series, embeds: bool) -> Column:
    levels, vector = levels_of(series.cast(pl.String), embeds=embeds)
    has_missing = series.null_count() > 0
    return Column(series.name, "category", levels=levels, has_missing=has_missing, vector=vector)


def _is_understood(series: pl.Series) -> bool:
    return is_number(series) or series.dtype in (pl.String, pl.Null)


def _reason_to_drop(series: pl.Series) -> str | None:
    if not _is_understood(series):
        return f"values of type {series.dtype} are not understood"
    if series.null_count() == len(series):
        return "every value is missing"
    return _reason_to_drop_number(series) if is_number(series) else _reason_to_drop_text(series)


def _reason_to_drop_text(series: pl.Series) -> str | None:
    known = series.drop_nulls()
    distinct = known.n_unique()
    if distinct == 1 and len(known) == len(series):
        return f"constant: every value is {_short(known[0])}"
    if distinct <= max(IDENTIFIER_COUNT, IDENTIFIER_SHARE * len(known)):
        return None
    stray = _stray(series)
    if len(stray):
        return f"numbers, but {len(stray):,} rows hold text, such as {_short(stray[0])}"
    return f"identifier-like: {distinct:,} distinct texts in {len(known):,} rows"


def _reason_to_drop_number(series: pl.Series) -> str | None:
    values = as_floats(series)
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return "every value is missing or infinite"
    if len(known) == len(values) and known.min() == known.max():
        return f"constant: every value is {known[0]:g}"
    return None


def row_numbers(frame: pl.DataFrame) -> list[Dropped]:
    """Columns that only count the rows in the table's order: 0, 1, 2 or 1, 2, 3."""
    found = []
    for series in frame.iter_columns():
        if not series.dtype.is_integer() or series.null_count() or len(series) < 3:
            continue
        first = series[0]
        if (
            first in (0, 1)
            and (series == pl.int_range(first, first + len(series), eager=True)).all()
        ):
            found.append(
                Dropped(
                    series.name, f"identifier-like: it counts the rows, {first}, {first + 1}, ..."
                )
            )
    return found


def _task_of(column: pl.Series) -> str:
    if column.dtype.is_numeric():
        whole = bool((column == column.round()).all()) if column.dtype.is_float() else True
        is_few = column.n_unique() <= MOST_CLASSES
        return "classification" if whole and is_few else "regression"
    return "classification"


def _classes(column: pl.Series) -> tuple[tuple[str, ...], Any]:
    distinct = column.unique().sort()
    limit = max(IDENTIFIER_COUNT, IDENTIFIER_SHARE * len(column))
    if len(distinct) > limit:
        raise DataError(
            f"the target {column.name!r} has {len(distinct):,} distinct values in "
            f"{len(column):,} rows: too many to be classes; for numbers use --task regression"
        )
    class_type = _class_type(distinct)
    return tuple(class_texts(distinct, class_type)), class_type


def _class_type(distinct: pl.Series) -> str:
    dtype = distinct.dtype
    if dtype.is_float():
        is_whole = (distinct == distinct.round()) & (distinct.abs() <= _EXACT)
        return "integer" if is_whole.all() else "float"
    if dtype.is_integer():
        is_plain = distinct.cast(pl.Int64, strict=False).null_count() == 0
        return "integer" if is_plain else "text"
    return "boolean" if dtype == pl.Boolean else "text"


def _stray(series: pl.Series) -> pl.Series:
    """The few texts in a column that holds numbers otherwise; none where most of it is text."""
    if series.dtype != pl.String:
        return series.clear()
    numbers = plainly(series).cast(pl.Float64, strict=False)
    texts = series.filter(numbers.is_null() & series.is_not_null())
    return texts if 2 * len(texts) < series.len() - series.null_count() else series.clear()


def _check_stray(column: pl.Series) -> None:
    """Raise DataError for a target of numbers with a few texts among them."""
    stray = _stray(column)
    if len(stray):
        row = int((column == stray[0]).arg_max() or 0) + 1
        raise DataError(
            f"the target {column.name!r} is {stray[0]!r} in row {row:,} ({len(stray):,} such rows) "
            f"and a number in most others: remove or mend those rows"
        )


def check_complete(column: pl.Series) -> None:
    """Raise DataError, with the row, for a target with missing or infinite values."""
    if column.null_count():
        row = int(column.is_null().arg_max() or 0) + 1
        raise DataError(
            f"the target {column.name!r} is missing in {column.null_count():,} rows "
            f"(first: row {row:,}); remove those rows"
        )
    if not column.dtype.is_float():
        return
    bad = ~(column.abs() < LARGEST)
    if bad.any():
        row = int(bad.arg_max() or 0) + 1
        raise DataError(
            f"the target {column.name!r} is {column[row - 1]} in row {row:,} "
            f"({int(bad.sum()):,} such rows): it must be finite and below {LARGEST:g}; "
            "remove or mend those rows"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, ... ({len(names)} in all)"
