"""Drift: how new rows differ from those that a run was trained on, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from thalweg.tasks.table.kinds import KINDS, Column, tree_values, words_of
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.values import as_floats, short

SURE = 1e-4
"""Chance, at most, that rows like the training rows alone make a share as large as that seen."""

LEAST_SHARE = 0.01
"""A share grown by less is not worth a word."""

RANGE_ROWS = 10
"""The range of n training rows leaves out up to so many rows of n others (two, on average)."""

MOST_EMPTY = 0.1
"""Of new texts, as many as may be empty without a word."""

LEAST_ROWS = 10
MOVED, SURE_MOVED = 0.5, 6.0
"""A mean has moved by at least so many deviations, and so many of its own standard errors."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What has changed in a column; numbers: by name, as they stand in the sentence."""

    column: str
    kind: str
    sentence: str
    numbers: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"column": self.column, "kind": self.kind, **self.numbers, "text": self.sentence}


def drift_of(frame: pl.DataFrame, schema: Schema, source: str = "the data") -> list[Drift]:
    """Every column whose values differ from those that were learnt from; few rows say little.

    Raises DataError for text where numbers or dates were learnt.
    """
    if not schema.rows or not frame.height:
        return []
    found = [] if schema.words is None else _empty(frame, schema.words.columns)
    for column in schema.columns:
        if column.missing is not None:
            found += _of_column(frame.get_column(column.name), column, schema.rows, source)
    return found


def _of_column(series: pl.Series, column: Column, rows: int, source: str) -> list[Drift]:
    found = []
    kind = KINDS[column.kind]
    if column.unseen is not None:
        found += _unseen(words_of(series, column), series, column, rows)
    if kind.numbers is not None:
        values = tree_values(series, column, source)
        found += _neither(values, series, column, rows) if column.low is None else []
        found += _moved(values, column) + _outside(values, series, column, rows)
    return found + _missing(series, column, rows)


def _unseen(texts: pl.Series, series: pl.Series, column: Column, rows: int) -> list[Drift]:
    """Values that have no level."""
    new = texts.filter(texts.is_not_null() & ~texts.is_in(list(column.levels)))
    share, before = len(new) / len(series), column.unseen or 0.0
    is_full = before == 0.0 and share >= LEAST_SHARE
    if not is_full and not _is_more(len(new), len(series), before, rows):
        return []
    shown = ", ".join(map(short, new.unique(maintain_order=True).head(3)))
    return [
        Drift(
            column.name,
            "unseen",
            f"column {column.name!r}: {share:.1%} of its values have no level of their own, such "
            f"as {shown} (expected {before:.1%})",
            {"share": share, "expected": before},
        )
    ]


def _neither(values: np.ndarray, series: pl.Series, column: Column, rows: int) -> list[Drift]:
    """Words that are neither of the two of a column of truths."""
    bad = series.filter(pl.Series(np.isnan(values)) & series.is_not_null())
    if len(bad) < LEAST_SHARE * len(series) or not len(bad):
        return []
    no, yes = column.levels or ("false", "true")
    share = len(bad) / len(series)
    return [
        Drift(
            column.name,
            "unseen",
            f"column {column.name!r}: {share:.1%} of its values are neither {no!r} nor {yes!r}, "
            f"such as {short(bad[0])}; they count as missing",
            {"share": share, "expected": 0.0},
        )
    ]


def _moved(values: np.ndarray, column: Column) -> list[Drift]:
    """A mean of numbers elsewhere than in training; dates go on, and are looked at by range."""
    known = values[~np.isnan(values)]
    if len(known) < LEAST_ROWS or column.parts or column.kind == "date":
        return []
    by = (float(known.mean()) - column.mean) / column.deviation
    own = max(1.0, float(known.std()) / column.deviation)
    if abs(by) < MOVED or abs(by) * len(known) ** 0.5 < SURE_MOVED * own:
        return []
    return [
        Drift(
            column.name,
            "moved",
            f"column {column.name!r}: its mean is {known.mean():.4g}, and was {column.mean:.4g}: "
            f"moved by {abs(by):.1f} deviations",
            {"mean": float(known.mean()), "trained_mean": column.mean, "deviations": by},
        )
    ]


def _outside(values: np.ndarray, series: pl.Series, column: Column, rows: int) -> list[Drift]:
    """Numbers beyond the smallest and the largest that were trained on."""
    if column.low is None or column.high is None:
        return []
    known = values[~np.isnan(values)]
    wide = column.high - column.low
    outside = int(((known < column.low) | (known > column.high)).sum())
    far = int(((known < column.low - wide) | (known > column.high + wide)).sum())
    is_far = far >= LEAST_SHARE * len(series) and far > 0
    if not is_far and not _is_more(outside, len(series), RANGE_ROWS / rows, rows):
        return []
    share = outside / len(series)
    low, high = (_shown(value, column) for value in (column.low, column.high))
    smallest, largest = (_shown(value, column) for value in (known.min(), known.max()))
    return [
        Drift(
            column.name,
            "outside",
            f"column {column.name!r}: {share:.1%} of its values lie outside of what was trained "
            f"on, {low} .. {high}: they reach from {smallest} to {largest}",
            {"share": share, "low": column.low, "high": column.high},
        )
    ]


def _empty(frame: pl.DataFrame, columns: Sequence[str]) -> list[Drift]:
    """Texts without a word in them, of which training had few: a bag of nothing has one answer."""
    texts = frame.select(pl.concat_str(pl.col(*columns).cast(pl.String), ignore_nulls=True))
    count = int((texts.to_series().str.strip_chars() == "").sum())
    if count < MOST_EMPTY * frame.height:
        return []
    name = "+".join(columns)
    sentence = (
        f"{count:,} of {frame.height:,} texts in {name!r} are empty: their answers say nothing"
    )
    return [Drift(name, "empty", sentence, {"share": count / frame.height})]


def _missing(series: pl.Series, column: Column, rows: int) -> list[Drift]:
    count, what = series.null_count(), "missing"
    if series.dtype.is_float():
        count = int(np.isnan(as_floats(series)).sum())
        is_more = count > series.is_nan().fill_null(value=True).sum()
        what = "missing or infinite" if is_more else "missing"
    share, before = count / len(series), column.missing or 0.0
    is_new = before == 0.0 and share >= LEAST_SHARE
    if not is_new and not _is_more(count, len(series), before, rows):
        return []
    return [
        Drift(
            column.name,
            "missing",
            f"column {column.name!r}: {share:.1%} of its values are {what}, and {before:.1%} "
            "were in training",
            {"share": share, "expected": before},
        )
    ]


def _is_more(count: int, total: int, expected: float, rows: int) -> bool:
    """Is a share larger than expected, by more than chance? By Chernoff's bound of a binomial.

    rows: that the expected share was measured on, so that it is itself uncertain
    """
    share = count / total
    expected = max(expected, 1 / rows)
    expected = min(expected + 4 * (expected / rows) ** 0.5, 1.0)
    if share < expected + LEAST_SHARE:
        return False
    first = share * np.log(share / expected)
    second = (1 - share) * np.log((1 - share) / (1 - expected)) if share < 1 else 0.0
    return bool(np.exp(-total * (first + second)) < SURE)


def _shown(value: float, column: Column) -> str:
    if column.kind == "date":
        return str(np.datetime64(int(value), "us").astype("datetime64[s]")).replace("T00:00:00", "")
    return f"{value:.4g}"
