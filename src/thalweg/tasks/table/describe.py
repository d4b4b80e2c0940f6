"""Every column of the training rows: which kind it is taken for, or why it is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from thalweg.tasks.table import dates
from thalweg.tasks.table.kinds import Column, kind_of, learn
from thalweg.tasks.table.values import (
    as_floats,
    first_known,
    is_number,
    is_understood,
    short,
    strays,
)

IDENTIFIER_SHARE, IDENTIFIER_COUNT = 0.5, 100
"""A text column with more distinct values than both (share of its rows, count) is an identifier."""

FREE_TEXT = "free text"
"""So begins the reason why a column is left out that could be learnt from in another way."""

LEAST_WORDS = 3
"""A text of so many words, in the middle of such a column, makes it one of free text."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A column that is left out, and why; is_asked: because the user said so."""

    name: str
    reason: str
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked of one column: its kind, and what is known of it already."""

    kind: str
    given: Mapping[str, Any] = field(default_factory=dict)


def describe_columns(
    features: Iterable[pl.Series],
    wanted: Mapping[str, Wanted] | None = None,
    *,
    embeds: bool = False,
) -> tuple[tuple[Column, ...], tuple[Dropped, ...]]:
    """Every column of the training rows (target excluded): how it is used, or why it is not.

    embeds: can the model learn vectors for the levels of a category?
    """
    columns, dropped = [], []
    known = {} if embeds else {"vector": 0}
    for series in features:
        asked = (wanted or {}).get(series.name)
        if asked is not None:
            columns.append(learn(series, asked.kind, {**asked.given, **known}))
            continue
        kind, reason = _recognised(series)
        if kind is None:
            dropped.append(Dropped(series.name, reason))
        else:
            columns.append(learn(series, kind, known))
    return tuple(columns), tuple(dropped)


def is_of_no_use(series: pl.Series) -> bool:
    """Would this column be left out, with nobody asking for that?"""
    return _recognised(series)[0] is None or bool(row_numbers(series.to_frame()))


def notices_of(frame: pl.DataFrame, columns: tuple[Column, ...], rows: np.ndarray) -> list[str]:
    """What a reader of the run should know of how its columns were taken, a line each."""
    lines = []
    for column in columns:
        if column.kind == "mixed":
            words = ", ".join(map(short, column.levels[:4]))
            more = ", ..." if len(column.levels) > 4 else ""
            lines.append(
                f"column {column.name!r} holds numbers with words among them ({words}{more}): "
                "each word is an input of its own"
            )
        series = frame.get_column(column.name)
        num_infinite = int(series.is_infinite().sum()) if series.dtype.is_float() else 0
        if num_infinite:
            values = "value counts" if num_infinite == 1 else "values count"
            lines.append(f"column {column.name!r}: {num_infinite:,} infinite {values} as missing")
        other = _other_format(series, column, rows)
        if other:
            lines.append(
                f"column {column.name!r} is taken as dates {dates.words(column.format)}, though "
                f"{dates.words(other)} reads them all as well: --types "
                f"{column.name}=date:{other} takes that"
            )
    return lines


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


def _other_format(series: pl.Series, column: Column, rows: np.ndarray) -> str | None:
    if column.kind != "date" or not column.format or series.dtype != pl.String:
        return None
    found = dates.format_of(series[rows])
    return found.other if found and found.text == column.format else None


def _recognised(series: pl.Series) -> tuple[str | None, str]:
    """Its kind; or None, and why it is left out."""
    if not is_understood(series):
        return None, f"values of type {series.dtype} are not understood"
    if series.null_count() == len(series):
        return None, "every value is missing"
    reason = _reason_to_drop_number(series) if is_number(series) else _reason_of_constant(series)
    if reason:
        return None, reason
    kind = kind_of(series)
    reason = _reason_to_drop_text(series) if kind == "category" else None
    return (None, reason) if reason else (kind, "")


def _reason_of_constant(series: pl.Series) -> str | None:
    if series.null_count() or first_known(series).n_unique() > 1 or series.n_unique() > 1:
        return None
    return f"constant: every value is {short(series[0])}"


def _reason_to_drop_text(series: pl.Series) -> str | None:
    known = series.drop_nulls()
    distinct = known.n_unique()
    if distinct <= max(IDENTIFIER_COUNT, IDENTIFIER_SHARE * len(known)):
        return None
    stray = strays(series)
    if len(stray):
        return f"numbers, but {len(stray):,} rows hold text, such as {short(stray[0])}"
    if is_free_text(known):
        return f"{FREE_TEXT}: --text {series.name} trains on it"
    return f"identifier-like: {distinct:,} distinct texts in {len(known):,} rows"


def is_free_text(known: pl.Series) -> bool:
    """Are the texts of a column mostly sentences, rather than names and numbers of things?"""
    middle = known.str.count_matches(r"\p{L}{2,}").median()
    return middle is not None and float(middle) >= LEAST_WORDS  # pyright: ignore[reportArgumentType]


def _reason_to_drop_number(series: pl.Series) -> str | None:
    values = as_floats(series)
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return "every value is missing or infinite"
    if len(known) == len(values) and known.min() == known.max():
        return f"constant: every value is {known[0]:g}"
    return None
