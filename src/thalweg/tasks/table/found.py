"""What is found of a split at the start: rows in two parts, columns that tell too much."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from thalweg.tasks.images.copies import Copies
from thalweg.tasks.table.encode import column_values
from thalweg.tasks.table.given import Given
from thalweg.tasks.table.leaks import Leak, leaks_of
from thalweg.tasks.table.parts import Parts
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.target import Target
from thalweg.tasks.table.twins import Twins, chance_of, keys_of_frame, twins_of, twins_text

MOST_OUTPUTS = 10
"""Of several targets so many are looked at for columns that give them away."""


@dataclass(frozen=True, slots=True)
class Found:
    """parts: how the rows were shared out; twins: copies between two of them; leaks: columns that
    give the target away

    unlearnt: classes that stand in no training row; copies: of pictures, instead of twins
    counts: training rows of each class, in the order of the classes
    """

    parts: Parts
    twins: tuple[Twins, ...] = ()
    leaks: tuple[Leak, ...] = ()
    unlearnt: tuple[str, ...] = ()
    copies: tuple[Copies, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What is to be said, a line each: how the rows were shared out, and what is wrong."""
        return (*self.parts.words, *self.warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes scores look better or worse than they are, a line each."""
        said = [] if not self.twins_said else [twins_text(self.twins_said)]
        said += [str(row) for row in (*self.copies, *self.leaks)]
        if self.unlearnt:
            names = ", ".join(map(repr, self.unlearnt[:8]))
            more = ", ..." if len(self.unlearnt) > 8 else ""
            said.append(f"no training row holds the class {names}{more}: it cannot be learnt")
        return tuple(said)

    @property
    def twins_said(self) -> tuple[Twins, ...]:
        return tuple(row for row in self.twins if row.is_said)

    @property
    def notes(self) -> dict[str, str]:
        """What is to be said of a column, by its name."""
        return {leak.column: f"gives {leak.what} away: {leak.how}" for leak in self.leaks}

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the result's JSON."""
        return {
            "kind": self.parts.kind,
            "column": self.parts.column,
            "rows_in_two_parts": [row.to_dict() for row in (*self.twins, *self.copies)],
            "gives_away": [row.to_dict() for row in self.leaks],
            "classes_not_trained": list(self.unlearnt),
            "train_rows_of_classes": list(self.counts),
            "notices": list(self.parts.words),
            "warnings": list(self.warnings),
        }


def found_in(given: Given, schema: Schema, parts: Parts, labels: np.ndarray) -> Found:
    """Of a table whose inputs are the columns of `schema`; labels: targets of every row, (rows,) or
    (rows, outputs).
    """
    frame = given.frame
    inputs = frame.select([column.name for column in schema.columns])
    twins = twins_of(
        keys_of_frame(inputs),
        labels if labels.ndim == 1 else ids_of(labels),
        parts.rows,
        chance=chance_of([keys_of_frame(half) for half in _halves(inputs)]),
        given=given.names,
    )
    return Found(
        _with_words(parts, schema, frame),
        tuple(each.at(given.stands) for each in twins),
        tuple(_leaks(frame, schema, parts, labels)),
        unlearnt_of(labels, parts, schema.target.classes) if labels.ndim == 1 else (),
        counts=counts_of(labels, parts, schema.target.classes),
    )


def _with_words(parts: Parts, schema: Schema, frame: pl.DataFrame) -> Parts:
    """The parts, with what else is to be said of the column that decides: is it an input, and do
    files of their own hold groups that train?
    """
    if parts.column is None:
        return parts
    said = []
    if parts.column in [column.name for column in schema.columns]:
        said.append(
            f"column {parts.column!r} stays an input; --drop {parts.column} to leave it out"
        )
    if parts.kind == "group":
        said += _shared_groups(frame.get_column(parts.column), parts)
    return replace(parts, words=(*parts.words, *said))


def _shared_groups(groups: pl.Series, parts: Parts) -> list[str]:
    """A line for each part whose rows were given and hold groups that train."""
    known, found = groups.gather(parts.rows.train).unique(), []
    for name, rows in (("validation", parts.rows.validation), ("test", parts.rows.test)):
        held = groups.gather(rows).unique()
        count = int(held.is_in(known.implode()).sum())
        if count:
            found.append(f"{count:,} of {len(held):,} groups of the {name} rows train as well")
    return found


def _halves(inputs: pl.DataFrame) -> list[pl.DataFrame]:
    """Every other column, and those between, where there are any."""
    names = inputs.columns
    return [inputs.select(half) for half in (names[::2], names[1::2]) if half]


def _leaks(frame: pl.DataFrame, schema: Schema, parts: Parts, labels: np.ndarray) -> list[Leak]:
    rows = np.concatenate([parts.rows.train, parts.rows.validation])

    def look(places: np.ndarray) -> dict[str, np.ndarray]:
        return column_values(frame[rows[places]], schema)

    task = "regression" if schema.target.task == "regression" else "classification"
    each = [labels] if labels.ndim == 1 else labels.T[:MOST_OUTPUTS]
    each = each if task == "regression" else [ids.astype(np.int64) for ids in each]
    found: dict[str, Leak] = {}
    for i, ids in enumerate(each):
        what = _what(schema.target, i)
        for leak in leaks_of(look, ids[rows], task=task, num_columns=len(schema.columns)):
            found.setdefault(leak.column, replace(leak, what=what))
    return list(found.values())


def _what(target: Target, place: int) -> str:
    """What one output is called."""
    if target.task == "multilabel":
        return f"the label {target.classes[place]!r}"
    return f"the target {target.names[place]!r}" if len(target.names) > 1 else "the target"


def ids_of(labels: np.ndarray) -> np.ndarray:
    """One number for each row of several targets, the same for the same targets."""
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)


def unlearnt_of(labels: np.ndarray, parts: Parts, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Classes, by name, that stand in no training row."""
    counts = counts_of(labels, parts, classes)
    return tuple(name for name, count in zip(classes, counts, strict=False) if count == 0)


def counts_of(labels: np.ndarray, parts: Parts, classes: tuple[str, ...]) -> tuple[int, ...]:
    """Training rows of each class; none where a row has several labels."""
    if not classes or labels.ndim != 1:
        return ()
    return tuple(np.bincount(labels[parts.rows.train], minlength=len(classes)).tolist())
