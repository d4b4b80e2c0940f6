"""What is predicted: one column of classes or of numbers, several of numbers, or several labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import polars as pl

from thalweg.errors import DataError
from thalweg.tasks.table.describe import IDENTIFIER_COUNT, IDENTIFIER_SHARE
from thalweg.tasks.table.names import names_of
from thalweg.tasks.table.values import (
    EXACT,
    LARGEST,
    as_floats,
    class_texts,
    find_column,
    is_understood,
    nearest,
    plain_numbers,
    strays,
)

MOST_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken as classes."""

MOST_RARE = 5
"""Classes of one row that are named."""

Task = Literal["classification", "regression", "multilabel"]


@dataclass(frozen=True, slots=True)
class Scale:
    """One numeric target among several: its column, mean and deviation."""

    name: str
    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """What is predicted: its classes, as text, or its mean and deviation.

    scales: of several numeric targets, one each; name is then theirs, joined
    separator: between the labels in one text; classes are then the labels
    """

    name: str
    task: Task
    classes: tuple[str, ...] = ()
    class_type: Literal["text", "integer", "float", "boolean"] = "text"
    mean: float = 0.0
    deviation: float = 1.0
    scales: tuple[Scale, ...] = ()
    separator: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that hold it."""
        return tuple(scale.name for scale in self.scales) or (self.name,)

    @property
    def num_outputs(self) -> int:
        """Outputs of a model that predicts it."""
        return len(self.classes) or len(self.scales) or 1

    @property
    def means(self) -> np.ndarray:
        """Means of its numbers, float64 of shape (outputs,)."""
        return np.array([scale.mean for scale in self.scales] or [self.mean])

    @property
    def deviations(self) -> np.ndarray:
        return np.array([scale.deviation for scale in self.scales] or [self.deviation])

    def to_dict(self) -> dict[str, Any]:
        """As plain values that TOML can hold; what only several columns have is left out."""
        values = {row.name: getattr(self, row.name) for row in fields(self)}
        values["classes"] = list(self.classes)
        values["scales"] = [asdict(scale) for scale in self.scales]
        rare = ("scales", "separator")
        return {name: value for name, value in values.items() if value or name not in rare}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Target:
        scales = tuple(Scale(**row) for row in data.get("scales", ()))
        return cls(**{**data, "classes": tuple(data.get("classes", ())), "scales": scales})


def find_target(frame: pl.DataFrame, name: str, source: str) -> str:
    """`name` if it is a column. Raises DataError with the nearest names otherwise."""
    return find_column(frame, name, source)


def target_names(frame: pl.DataFrame, text: str, source: str) -> tuple[str, ...]:
    """The columns that a target means: the one of that name, or several, joined by commas.

    Raises DataError for one that is not there, with the nearest name.
    """
    names = names_of(text)
    if text in frame.columns or len(names) < 2:
        return (find_target(frame, text, source),)
    return tuple(dict.fromkeys(find_target(frame, name, source) for name in names))


def describe_target(
    frame: pl.DataFrame, name: str, task: str, otherwise: str = "or leave out --task regression"
) -> Target:
    """The target's task and classes. Raises DataError for one that cannot be learnt.

    otherwise: what else can be done about a target that holds no numbers
    """
    column = frame.get_column(name)
    if not is_understood(column) or column.dtype.is_temporal():
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
            f"regression needs numbers ({otherwise})"
        )
    return Target(name, "regression")


def describe_numbers(frame: pl.DataFrame, names: Sequence[str]) -> Target:
    """Several numeric targets. Raises DataError for one that holds no numbers."""
    for name in names:
        describe_target(frame, name, "regression", "of several targets each one is a number")
    return Target(",".join(names), "regression", scales=tuple(map(Scale, names)))


def describe_labels(frame: pl.DataFrame, name: str, separator: str, rows: np.ndarray) -> Target:
    """A target of several labels in one text, those that stand in the training rows.

    A missing text is one without labels. Raises DataError for a column that is none of texts.
    """
    column = frame.get_column(name)
    if column.dtype != pl.String:
        raise DataError(
            f"the target {name!r} holds values of type {column.dtype}: --separator needs texts, "
            f"such as 'red{separator}blue'"
        )
    if is_unparted(column, separator) and plain_numbers(column).null_count() == column.null_count():
        raise DataError(
            f"the target {name!r} holds numbers, such as {column.drop_nulls()[0]!r}, and no "
            f"{separator!r} that parts labels: leave --separator out"
        )
    labels = labels_of(column[rows], separator).explode().drop_nulls().unique().sort()
    if len(labels) < 2:
        raise DataError(
            f"the target {name!r} has {len(labels)} labels in its training rows, parted by "
            f"{separator!r}: there is nothing to learn"
        )
    if len(labels) > max(IDENTIFIER_COUNT, IDENTIFIER_SHARE * len(rows)):
        raise DataError(
            f"the target {name!r} has {len(labels):,} labels in {len(rows):,} training rows, "
            f"parted by {separator!r}: too many to be learnt"
        )
    return Target(name, "multilabel", tuple(labels), separator=separator)


def is_unparted(column: pl.Series, separator: str) -> bool:
    """Does the separator of labels stand in no text of a column, though there are texts?"""
    known = column.drop_nulls()
    return len(known) > 0 and not known.str.contains(separator, literal=True).any()


def labels_of(column: pl.Series, separator: str) -> pl.Series:
    """The labels of each row, as lists of texts; none where the text is missing."""
    parts = column.cast(pl.String).fill_null("").str.split(separator)
    return parts.list.eval(pl.element().str.strip_chars()).list.eval(
        pl.element().filter(pl.element() != "")
    )


def with_scale(target: Target, values: np.ndarray) -> Target:
    """A regression target with mean and deviation of the training values, float64 of shape (n,)."""
    deviation = float(values.std()) or 1.0
    return Target(target.name, "regression", mean=float(values.mean()), deviation=deviation)


def measured(target: Target, frame: pl.DataFrame, rows: np.ndarray) -> Target:
    """A regression target with what its training rows say of its numbers."""
    if target.task != "regression":
        return target
    found = [
        with_scale(Target(name, "regression"), as_floats(frame.get_column(name))[rows])
        for name in target.names
    ]
    if not target.scales:
        return found[0]
    scales = tuple(Scale(row.name, row.mean, row.deviation) for row in found)
    return Target(target.name, "regression", scales=scales)


def rare_classes(frame: pl.DataFrame, target: Target) -> list[str]:
    """A line for each class, or label, that stands in one row of the table only."""
    if not target.classes:
        return []
    column = frame.get_column(target.name)
    is_many = target.task == "multilabel"
    texts = (
        labels_of(column, target.separator) if is_many else class_texts(column, target.class_type)
    )
    table = pl.DataFrame({"class": texts}).with_row_index("row", offset=1)
    table = table.explode("class") if is_many else table
    counts = table.drop_nulls().group_by("class").agg(pl.len(), pl.col("row").min())
    single = counts.filter(pl.col("len") == 1).sort("row")
    lines = [
        f"{target.name!r}: class {name!r} stands in one row ({row:,}) only{_meant(name, counts)}"
        for name, row in single.select("class", "row").head(MOST_RARE).iter_rows()
    ]
    more = len(single) - MOST_RARE
    return lines + ([f"{target.name!r}: and so do {more:,} more classes"] if more > 0 else [])


def _meant(name: str, counts: pl.DataFrame) -> str:
    others = counts.filter(pl.col("len") > 1).get_column("class").to_list()
    near = nearest(name, others)
    return f"; is it {near!r}?" if near else ""


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
        is_whole = (distinct == distinct.round()) & (distinct.abs() <= EXACT)
        return "integer" if is_whole.all() else "float"
    if dtype.is_integer():
        is_plain = distinct.cast(pl.Int64, strict=False).null_count() == 0
        return "integer" if is_plain else "text"
    return "boolean" if dtype == pl.Boolean else "text"


def _check_stray(column: pl.Series) -> None:
    """Raise DataError for a target of numbers with a few texts among them."""
    stray = strays(column)
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
