"""Tables with one run in each column, or a group of columns for each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thalweg.record.foreign.cells import Cells
from thalweg.record.foreign.names import HELD, METRICS, REWARDS, TEST, TRAIN, Named, named

LEAST_ROWS = 10
MOST_RUNS = 500
_TELLING = {*METRICS, *TRAIN, *HELD, *TEST, *REWARDS, "lr", "score", "scores", "episode"}
_TELLING |= {"episodes", "timesteps", "epsilon"}
"""A name with one of these is that of a measure, and not of a run."""

_RANGE = ("__MIN", "__MAX")
"""Columns that a web page adds to those that it exports: the ends of what it averaged."""


@dataclass(frozen=True, slots=True)
class Part:
    """One run of a table. name: of the run; loss: of the column that is its loss, or None: guess"""

    name: str
    cells: Cells
    loss: str | None = None


def parts_of_table(cells: Cells, *, strict: bool) -> list[Part]:
    """The runs that a table holds side by side; empty where it holds one, or is no log.

    strict: also what no name tells to be a run's loss is none
    """
    return _by_prefix(cells) or _by_column(cells, strict=strict)


def _by_prefix(cells: Cells) -> list[Part]:
    """Of columns "run - train/loss", with a step beside them."""
    runs: dict[str, dict[str, str]] = {}
    shared = {}
    for name in cells.names:
        run, mark, column = name.rpartition(" - ")
        if not mark:
            shared[name] = name
        elif not column.endswith(_RANGE):
            runs.setdefault(run, {})[name] = column
    rows = [named(column) for columns in runs.values() for column in columns.values()]
    if not any(row.is_loss or row.has(set(METRICS)) for row in rows):
        return []
    return [Part(run, _taken(cells, shared | columns)) for run, columns in runs.items() if columns]


def _by_column(cells: Cells, *, strict: bool) -> list[Part]:
    """Of columns that are alike but for a number, or that no name tells anything of."""
    rows = [named(name) for name in cells.names]
    counters = {row.name: row.name for row in rows if row.is_counter or row.is_epoch}
    runs = [row for row in rows if row.name not in counters and not row.name.startswith("column_")]
    if not _are_alike(runs):
        runs = [row for row in runs if not _counts(cells, row.name)]
    least = 0.2 if counters else 0.5
    if not 2 <= len(runs) <= MOST_RUNS or cells.num_rows < LEAST_ROWS or cells.texts:
        return []
    if any(cells.count(row.name) < least * cells.num_rows for row in runs):
        return []
    told = [row for row in rows if row.is_loss or row.is_aside or row.has(_TELLING)]
    if not _are_alike(runs) and (told or (strict and not counters)):
        return []
    return [
        Part(row.name, _taken(cells, counters | {row.name: row.name}), row.name) for row in runs
    ]


def _are_alike(rows: list[Named]) -> bool:
    """Do the names differ by numbers alone?"""
    return len({tuple(word for word in row.words if not word.isdigit()) for row in rows}) == 1


def _counts(cells: Cells, name: str) -> bool:
    """Whole numbers, in every line and each larger than the last by as much: a loss does not."""
    values = cells.values[name]
    rises = np.diff(values)
    is_whole = bool(cells.has[name].all()) and bool(np.all(values == np.round(values)))
    return is_whole and len(rises) > 0 and bool(rises[0] > 0) and bool(np.all(rises == rises[0]))


def _taken(cells: Cells, names: Mapping[str, str]) -> Cells:
    """Some of the columns, each by its new name; lines in which they have nothing are left out."""
    columns = [name for name in names if not named(name).is_counter and not named(name).is_epoch]
    has = np.any([cells.has[name] for name in columns], axis=0)
    found = Cells(int(has.sum()))
    for name, new in names.items():
        found.add(new, cells.values[name][has], cells.has[name][has])
    return found
