"""The one table of kinds of columns: how each is recognised, what it becomes, what is said of it.

A column's inputs stand side by side: its numbers, then one for each level and one for any other
value, and last, where a missing value was seen in training, one that says "was missing".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl

from thalweg.tasks.models.inputs import DIGIT
from thalweg.tasks.table import dates
from thalweg.tasks.table.levels import MOST_LEVELS, levels_of, width_of
from thalweg.tasks.table.measured import counted, one_hot, spread, standard, with_levels
from thalweg.tasks.table.truths import pair_of, truths, two_of
from thalweg.tasks.table.values import (
    as_floats,
    as_numbers,
    codes,
    first_known,
    is_number,
    level_texts,
    plain_numbers,
    strays,
)

MOST_WORDS = 20
"""Words that may stand among the numbers of a mixed column, and the fewest numbers beside them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input column, and what was measured of it on the training rows.

    mean, deviation: of its numbers, of dates in microseconds since 1970
    levels: of a category, most frequent first; the words of a mixed column; (false, true)
    has_missing: a missing value was seen in training, so an input says "was missing"
    vector: width of what the model learns for each level, given as a code; 0: none
    format, parts: how dates are read, and what they are taken apart into
    low, high, values, missing, unseen: smallest and largest number, how many different ones, share
    of missing values, and of values without a level that new rows may well have; None in runs of
    older versions
    """

    name: str
    kind: str
    mean: float = 0.0
    deviation: float = 1.0
    levels: tuple[str, ...] = ()
    has_missing: bool = False
    vector: int = 0
    format: str = ""
    parts: tuple[str, ...] = ()
    year_mean: float = 0.0
    year_deviation: float = 1.0
    low: float | None = None
    high: float | None = None
    values: int | None = None
    missing: float | None = None
    unseen: float | None = None

    @property
    def width(self) -> int:
        """Inputs of the model that it becomes."""
        return KINDS[self.kind].width(self) + self.has_missing

    @property
    def use(self) -> str:
        """How it enters the model, in words."""
        return KINDS[self.kind].use(self) + (", missing marked" if self.has_missing else "")

    def to_dict(self) -> dict[str, Any]:
        """What its kind has, and whatever differs from the default."""
        own = {"name", "kind", "has_missing", *KINDS[self.kind].statistics}
        values = {
            row.name: getattr(self, row.name)
            for row in fields(self)
            if row.name in own or getattr(self, row.name) != row.default
        }
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table.

    one, many: what a column and what several are called; treated: what is done with them
    is_one(series): is it recognised? (the first row of the table that says so)
    learn(series, known) -> the statistics that its column needs; known: those that were given, with
    vector 0 where the model cannot learn any
    width(column), use(column): its inputs without the mark of missing values, and in words
    fill(block, series, column, source): write the inputs; which rows are missing, bool (n,)
    statistics: fields of the column that it has
    numbers(series, column, source): float64 (n,), NaN where there is none; None without numbers
    """

    name: str
    one: str
    many: str
    treated: str
    is_one: Callable[[pl.Series], bool]
    learn: Callable[[pl.Series, Mapping[str, Any]], dict[str, Any]]
    width: Callable[[Column], int]
    use: Callable[[Column], str]
    fill: Callable[[np.ndarray, pl.Series, Column, str], np.ndarray]
    statistics: tuple[str, ...]
    numbers: Callable[[pl.Series, Column, str], np.ndarray] | None = None


def learn(series: pl.Series, kind: str, given: Mapping[str, Any]) -> Column:
    """The column of a kind, from its training rows; given: what is known of it already."""
    found = KINDS[kind].learn(series, given)
    return Column(series.name, kind, **{**found, **given})


def kind_of(series: pl.Series) -> str:
    """The kind that a column is recognised as."""
    return next(row.name for row in KINDS.values() if row.is_one(series))


def fill(block: np.ndarray, column: Column, series: pl.Series, source: str) -> None:
    """Write one column's inputs into its block of zeros, float32 of shape (rows, column.width).

    Raises DataError for text where numbers or dates were learnt, with its row.
    """
    missing = KINDS[column.kind].fill(block, series, column, source)
    if column.has_missing:
        block[missing, -1] = 1.0


def tree_values(series: pl.Series, column: Column, source: str) -> np.ndarray:
    """One number for each value, for a tree; missing is NaN."""
    numbers = KINDS[column.kind].numbers
    if numbers is None:
        return codes(level_texts(series, column.levels), column.levels)
    return numbers(series, column, source)


def words_of(series: pl.Series, column: Column) -> pl.Series:
    """The texts of a column that has levels; missing where there is a number instead."""
    return _words(series) if column.kind == "mixed" else level_texts(series, column.levels)


def _plain_numbers(series: pl.Series, column: Column, source: str) -> np.ndarray:
    return as_floats(as_numbers(series, source))


def _learn_number(series: pl.Series, given: Mapping[str, Any]) -> dict[str, Any]:
    numbers = plain_numbers(series) if series.dtype == pl.String else series
    return {**spread(as_floats(numbers)), "values": numbers.drop_nulls().n_unique()}


def _fill_number(block: np.ndarray, series: pl.Series, column: Column, source: str) -> np.ndarray:
    values = tree_values(series, column, source)
    return standard(block[:, 0], values, column.mean, column.deviation)


def _learn_boolean(series: pl.Series, given: Mapping[str, Any]) -> dict[str, Any]:
    levels = given.get("levels") or two_of(series)
    found = {**spread(as_floats(truths(series, levels))), "levels": levels}
    return {name: value for name, value in found.items() if name not in ("low", "high")}


def _truth_numbers(series: pl.Series, column: Column, source: str) -> np.ndarray:
    return as_floats(truths(series, column.levels))


def _learn_category(series: pl.Series, given: Mapping[str, Any]) -> dict[str, Any]:
    texts = level_texts(series)
    counts = counted(texts)
    levels, vector = given.get("levels"), 0
    if levels is None:
        levels, vector = levels_of(counts, embeds="vector" not in given)
    elif "vector" not in given and len(levels) > MOST_LEVELS:
        vector = width_of(len(levels))
    return {**with_levels(texts, counts, levels, len(series), len(levels)), "vector": vector}


def _fill_category(block: np.ndarray, series: pl.Series, column: Column, source: str) -> np.ndarray:
    places = codes(level_texts(series, column.levels), column.levels)
    if not column.vector:
        return one_hot(block, places)
    missing = np.isnan(places)
    block[:, 0], block[:, 1] = np.divmod(np.where(missing, len(column.levels), places), DIGIT)
    return missing


def _category_use(column: Column) -> str:
    how = f"vectors of {column.vector}" if column.vector else "one-hot"
    return f"{how}, {len(column.levels):,} levels + other"


def _is_mixed(series: pl.Series) -> bool:
    """Mostly numbers, none with a leading zero as codes have it, and a few words."""
    if series.dtype != pl.String or _is_all_words(first_known(series)):
        return False
    words = strays(series)
    if len(words) == 0 or words.n_unique() > MOST_WORDS:
        return False
    numbers = series.filter(plain_numbers(series).is_not_null())
    is_code = numbers.str.contains(r"^0\d")
    return not is_code.any() and numbers.n_unique() > MOST_WORDS


def _is_all_words(known: pl.Series) -> bool:
    """Is no number among many values? Then it is no use to look at all."""
    return len(known) > MOST_WORDS and known.cast(pl.Float64, strict=False).is_null().all()


def _words(series: pl.Series) -> pl.Series:
    """The texts that are no numbers; missing elsewhere."""
    if series.dtype != pl.String:
        return pl.Series(series.name, [None] * len(series), dtype=pl.String)
    return series.set(plain_numbers(series).is_not_null(), None)


def _mixed_numbers(series: pl.Series, column: Column | None = None, source: str = "") -> np.ndarray:
    return as_floats(plain_numbers(series) if series.dtype == pl.String else series)


def _learn_mixed(series: pl.Series, given: Mapping[str, Any]) -> dict[str, Any]:
    numbers = spread(_mixed_numbers(series))
    texts = _words(series)
    words = with_levels(texts, counted(texts), given.get("levels"), len(series), MOST_WORDS)
    missing = {
        "has_missing": series.null_count() > 0,
        "missing": series.null_count() / len(series),
    }
    return {**numbers, **words, **missing}


def _fill_mixed(block: np.ndarray, series: pl.Series, column: Column, source: str) -> np.ndarray:
    no_number = standard(block[:, 0], _mixed_numbers(series), column.mean, column.deviation)
    no_word = one_hot(block[:, 1:], codes(_words(series), column.levels))
    return no_number & no_word


def _learn_date(series: pl.Series, given: Mapping[str, Any]) -> dict[str, Any]:
    format = given.get("format") or _format(series)
    times = dates.parsed(series, format)
    found = {"format": format, **spread(as_floats(times))}
    parts = dates.parts(times)
    known = {name: values[~np.isnan(values)] for name, values in parts.items()}
    found["parts"] = tuple(
        name for name, values in known.items() if len(values) and values.min() < values.max()
    )
    if "year" in given.get("parts", found["parts"]) and len(known["year"]):
        found["year_mean"] = float(known["year"].mean())
        found["year_deviation"] = float(known["year"].std()) or 1.0
    return found


def _format(series: pl.Series) -> str:
    """How the dates of a column are written; empty where they have a type of their own."""
    if series.dtype.is_numeric():
        return dates.epoch(series)
    found = dates.format_of(series)
    return found.text if found else ""


def _date_numbers(series: pl.Series, column: Column, source: str) -> np.ndarray:
    return as_floats(dates.instants(series, column.format, source))


def _date_width(column: Column) -> int:
    return 1 + sum(dates.PARTS[part] for part in column.parts)


def _fill_date(block: np.ndarray, series: pl.Series, column: Column, source: str) -> np.ndarray:
    times = dates.instants(series, column.format, source)
    missing = standard(block[:, 0], as_floats(times), column.mean, column.deviation)
    place = 1
    values = dates.parts(times)
    for name in column.parts:
        if name == "year":
            standard(block[:, place], values[name], column.year_mean, column.year_deviation)
        else:
            for i, side in enumerate(dates.circle(name, values[name])):
                block[:, place + i] = np.where(missing, 0.0, side)
        place += dates.PARTS[name]
    return missing


_MEASURED = ("mean", "deviation", "missing")
_RANGE = ("low", "high")

KINDS = {
    row.name: row
    for row in (
        Kind(
            "boolean",
            "column of yes or no",
            "columns of yes or no",
            "one input each",
            is_one=lambda series: series.dtype == pl.Boolean or pair_of(series) is not None,
            learn=_learn_boolean,
            width=lambda column: 1,
            use=lambda column: f"standardised, {column.levels[1]} is 1",
            fill=_fill_number,
            statistics=("levels", *_MEASURED),
            numbers=_truth_numbers,
        ),
        Kind(
            "date",
            "column of dates",
            "columns of dates",
            "time since the first and parts of the calendar",
            is_one=dates.is_date,
            learn=_learn_date,
            width=_date_width,
            use=lambda column: ", ".join(("elapsed time standardised", *column.parts)),
            fill=_fill_date,
            statistics=("format", "parts", *_MEASURED, *_RANGE),
            numbers=_date_numbers,
        ),
        Kind(
            "number",
            "number",
            "numbers",
            "brought to one scale",
            is_one=is_number,
            learn=_learn_number,
            width=lambda column: 1,
            use=lambda column: "standardised",
            fill=_fill_number,
            statistics=(*_MEASURED, *_RANGE, "values"),
            numbers=_plain_numbers,
        ),
        Kind(
            "mixed",
            "column of numbers and words",
            "columns of numbers and words",
            "brought to one scale, one input for each word",
            is_one=_is_mixed,
            learn=_learn_mixed,
            width=lambda column: 1 + len(column.levels) + 1,
            use=lambda column: f"standardised, and one-hot, {len(column.levels)} words + other",
            fill=_fill_mixed,
            statistics=("levels", *_MEASURED, *_RANGE, "unseen"),
            numbers=_mixed_numbers,
        ),
        Kind(
            "category",
            "category",
            "categories",
            "one input for each value",
            is_one=lambda series: True,
            learn=_learn_category,
            width=lambda column: 2 if column.vector else len(column.levels) + 1,
            use=_category_use,
            fill=_fill_category,
            statistics=("levels", "missing", "unseen"),
        ),
    )
}
