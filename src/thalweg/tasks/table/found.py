"""What is found of a split at the start: rows that stand in two parts, columns that tell too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from thalweg.tasks.table.encode import tree_inputs
from thalweg.tasks.table.leaks import Leak, leaks_of
from thalweg.tasks.table.parts import Parts
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.twins import Twins, chance_of_frame, keys_of_frame, twins_of

MOST_VALUES = 200_000_000
"""Values of a table above which its columns are looked at in evenly spaced rows only."""


@dataclass(frozen=True, slots=True)
class Found:
    """parts: how the rows were shared out; twins: copies between two of them; leaks: columns that
    give the target away

    unlearnt: classes that stand in no training row
    """

    parts: Parts
    twins: tuple[Twins, ...] = ()
    leaks: tuple[Leak, ...] = ()
    unlearnt: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What is to be said, a line each."""
        said = [str(row) for row in (*self.twins_said, *self.leaks)]
        if self.unlearnt:
            names = ", ".join(map(repr, self.unlearnt[:8]))
            more = ", ..." if len(self.unlearnt) > 8 else ""
            said.append(
                f"{len(self.unlearnt):,} of the classes {'stand' if len(self.unlearnt) > 1 else 'stands'} "
                f"in no training row, so it is never predicted: {names}{more}"
            )
        return (*self.parts.words, *said)

    @property
    def twins_said(self) -> tuple[Twins, ...]:
        return tuple(row for row in self.twins if row.is_said)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the result's JSON."""
        return {
            "kind": self.parts.kind,
            "column": self.parts.column,
            "rows_in_two_parts": [row.to_dict() for row in self.twins],
            "gives_away": [row.to_dict() for row in self.leaks],
            "classes_not_trained": list(self.unlearnt),
            "notices": list(self.notices),
        }


def found_in(frame: pl.DataFrame, schema: Schema, parts: Parts, labels: np.ndarray) -> Found:
    """Of a table whose inputs are the columns of `schema`; labels: targets of every row."""
    inputs = frame.select([column.name for column in schema.columns])
    twins = twins_of(keys_of_frame(inputs), labels, parts.rows, chance=chance_of_frame(inputs))
    return Found(
        parts,
        tuple(twins),
        tuple(_leaks(frame, schema, parts, labels)),
        unlearnt_of(labels, parts, schema.target.classes),
    )


def _leaks(frame: pl.DataFrame, schema: Schema, parts: Parts, labels: np.ndarray) -> list[Leak]:
    rows = np.concatenate([parts.rows.train, parts.rows.validation])
    step = -(-len(rows) * len(schema.columns) // MOST_VALUES)
    rows = np.sort(rows)[::step]
    inputs = tree_inputs(frame[rows], schema)
    columns = {column.name: inputs[:, i] for i, column in enumerate(schema.columns)}
    task, targets = schema.target.task, labels[rows]
    return leaks_of(columns, targets, task=task, rows=np.arange(len(rows)))


def unlearnt_of(labels: np.ndarray, parts: Parts, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Classes, by name, that stand in no training row."""
    if not classes:
        return ()
    counts = np.bincount(labels[parts.rows.train], minlength=len(classes))
    return tuple(name for name, count in zip(classes, counts, strict=False) if count == 0)
