"""Rows that were given to validate or to test: checked against the table, and put below it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from thalweg.errors import DataError, UsageError, about
from thalweg.tasks.table.asked import Asked, Parting
from thalweg.tasks.table.describe import is_of_no_use
from thalweg.tasks.table.frames import frame_of_arrays
from thalweg.tasks.table.parts import Parts
from thalweg.tasks.table.read import read_table
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.target import Target, check_complete
from thalweg.tasks.table.values import check_there, class_texts

MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Given:
    """frame: the table's own rows, below them those to validate and then those to test

    num_own: rows of the table itself; num_validation, num_test: that were given; 0 is none
    called: what to call the rows to validate and to test in messages
    """

    frame: pl.DataFrame
    num_own: int
    num_validation: int = 0
    num_test: int = 0
    called: tuple[str, str] = ("the validation data", "the test data")

    @property
    def own(self) -> pl.DataFrame:
        return self.frames[0]

    @property
    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """The table's own rows, those to validate, those to test."""
        held = self.num_own + self.num_validation
        own = self.frame.head(self.num_own)
        return own, self.frame[self.num_own : held], self.frame[held:]

    def sources(self, source: str) -> list[tuple[str, pl.DataFrame]]:
        """Each part that has rows, with what to call it; source: the table itself."""
        parts = zip((source, *self.called), self.frames, strict=True)
        return [(name, frame) for name, frame in parts if frame.height]

    def where(self, source: str) -> Callable[[int], str]:
        """What to call a row in messages, by its place among all; source: the table itself.

        The function keeps no row.
        """
        names = (source, *self.called)
        firsts = (0, self.num_own, self.num_own + self.num_validation)

        def words(row: int) -> str:
            part = bisect_right(firsts, row) - 1
            return f"{names[part]}, row {row - firsts[part] + 1:,}"

        return words

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parts that were given."""
        counts = {"validation": self.num_validation, "test": self.num_test}
        return tuple(name for name, count in counts.items() if count)

    @property
    def stands(self) -> np.ndarray:
        """Where each row stands in the table or the file that it came with, from 0."""
        counts = (self.num_own, self.num_validation, self.num_test)
        return np.concatenate([np.arange(count) for count in counts])

    def parting(self, parting: Parting) -> Parting:
        """How the table's own rows are shared out: none where rows were given."""
        if self.num_validation:
            parting = replace(parting, validation_share=0)
        return replace(parting, test_share=0) if self.num_test else parting

    def parts(self, parts: Parts) -> Parts:
        """The parts of the table's own rows with those that were given."""
        first, second = self.num_own, self.num_own + self.num_validation
        validation, test = np.arange(first, second), np.arange(second, second + self.num_test)
        rows = Split(
            parts.rows.train,
            validation if self.num_validation else parts.rows.validation,
            test if self.num_test else parts.rows.test,
        )
        is_all = self.num_validation and self.num_test
        return replace(parts, rows=rows, kind="given" if is_all else parts.kind)


def given_rows(frame: pl.DataFrame, asked: Asked, target: Target) -> Given:
    """The table with the rows that were given. Raises DataError where those do not fit it."""
    check_alone(asked.parting, asked.validation, asked.test)
    if asked.validation is None and asked.test is None:
        return Given(frame, frame.height)
    held = {"validation": asked.validation, "test": asked.test}
    called = _called(asked.validation, "validation"), _called(asked.test, "test")
    parts, counts = [frame], []
    for data, source in zip(held.values(), called, strict=True):
        if data is None:
            counts.append(0)
            continue
        found = _fitted(data, frame, asked, target, source)
        counts.append(found.height)
        parts.append(found)
    return Given(_below(parts), frame.height, *counts, called=called)


def _called(data: Any, part: str) -> str:
    return f"{part} {data}" if isinstance(data, str | Path) else f"the {part} data"


def check_alone(parting: Parting, validation: Any, test: Any) -> None:
    """Raise UsageError for a wish that has no effect beside rows that were given."""
    if parting.how is not None and validation is not None and test is not None:
        raise UsageError(
            f"split {parting.how} has no effect: validation and test were both given, so every "
            "row of the data trains; leave it out"
        )


def _fitted(
    data: Any, frame: pl.DataFrame, asked: Asked, target: Target, source: str
) -> pl.DataFrame:
    """The rows with the table's columns, in its order and types; those that are not used may be
    absent.
    """
    needed = {*target.names, asked.weights, asked.by}
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    if isinstance(data, tuple | list) and len(data) in (2, 3):
        found = frame_of_arrays(*data)
    else:
        found = read_table(data, texts=texts).frame
    lacking = [name for name in frame.columns if name not in found.columns]
    absent = [n for n in lacking if n not in needed and _is_unused(frame.get_column(n), asked)]
    found = found.with_columns(pl.lit(None).alias(name) for name in absent)
    check_there(frame.columns, found, source, "which the data has")
    with about(source):
        for name in () if target.task == "multilabel" else target.names:
            check_complete(found.get_column(name))
            _check_classes(found.get_column(name), target)
        columns = [_typed(found.get_column(name), frame.get_column(name)) for name in frame.columns]
    return pl.DataFrame(columns)


def _is_unused(column: pl.Series, asked: Asked) -> bool:
    """Is it left out, because that was asked for or because nothing can be learnt from it?"""
    is_wanted = column.name in (*asked.types, *asked.columns) or bool(asked.given)
    return asked.leaves_out(column.name) or (not is_wanted and is_of_no_use(column))


def _check_classes(series: pl.Series, target: Target) -> None:
    """Raise DataError for classes that the data does not have, naming them."""
    if target.task != "classification":
        return
    is_unseen = ~class_texts(series, target.class_type).is_in(list(target.classes))
    if not is_unseen.any():
        return
    unseen = series.filter(is_unseen)
    names = [repr(value) for value in unseen.unique(maintain_order=True)]
    shown = ", ".join(names[:MOST_SHOWN]) + (", ..." if len(names) > MOST_SHOWN else "")
    what = "class" if len(names) == 1 else f"{len(names):,} classes"
    raise DataError(
        f"{what} {shown} of {target.name!r} in {len(unseen):,} rows (first: row "
        f"{int(is_unseen.arg_max() or 0) + 1:,}), and in no row of the data: mend or remove them"
    )


def _typed(series: pl.Series, like: pl.Series) -> pl.Series:
    """The column in the type of the table's. Raises DataError with the first value that is not."""
    if series.dtype == like.dtype or (series.dtype.is_numeric() and like.dtype.is_numeric()):
        return series
    if like.dtype == pl.Null:
        return pl.Series(series.name, [None] * len(series), dtype=pl.Null)
    typed = series.cast(like.dtype, strict=False)
    bad = typed.is_null() & series.is_not_null()
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise DataError(
            f"row {row + 1:,}: column {series.name!r} holds {series[row]!r}, where the data holds "
            f"{'numbers' if like.dtype.is_numeric() else like.dtype}: mend that row"
        )
    return typed


def _below(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="vertical_relaxed")
