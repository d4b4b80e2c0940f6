"""One run as an experiment tracker keeps it: rows of values, and the settings it was given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.record.foreign.cells import Cells, add_column

STEP = "step"
"""The column of the steps that the tracker counts itself."""

_OF_MACHINE = ("system/", "system.", "_wandb")
"""What trackers write beside the run: the machine's load, and their own affairs."""


@dataclass(slots=True)
class Gathered:
    """Values by name, each with the row that it stands in.

    >>> gathered = Gathered()
    >>> gathered.row({"loss": 0.5, "lr": 0.1})
    >>> gathered.row({"loss": "NaN"})
    >>> gathered.cells().values["loss"].tolist()
    [0.5, nan]
    """

    num_rows: int = 0
    columns: dict[str, tuple[list[int], list[Any]]] = field(default_factory=dict)

    def row(self, values: Mapping[str, Any]) -> None:
        """One more row."""
        for name, value in values.items():
            known = self.columns.get(name)
            rows, column = known or self.columns.setdefault(name, ([], []))
            rows.append(self.num_rows)
            column.append(value)
        self.num_rows += 1

    def cells(self) -> Cells:
        """As a table; of a value that stands twice in a row, the last."""
        found = Cells(self.num_rows)
        for name, (rows, column) in self.columns.items():
            if not name.startswith(_OF_MACHINE):
                _add(found, name, rows, column)
        return found


def _add(cells: Cells, name: str, rows: list[int], column: list[Any]) -> None:
    """Numbers, NaN and infinities also as texts; what is none is blank."""
    own = Cells(len(column))
    add_column(own, name, column)
    values, has = np.full(cells.num_rows, np.nan), np.zeros(cells.num_rows, dtype=bool)
    if name in own.values:
        values[rows], has[rows] = own.values[name], own.has[name]
    cells.add(name, values, has)


@dataclass(frozen=True, slots=True)
class Tracked:
    """format: mlflow, trackio or wandb; settings: in the user's words; notes: of the reading;
    files: where the run kept what it saved, such as checkpoints, if known
    """

    format: str
    cells: Cells
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    files: Path | None = None


def of_entries(entries: Iterable[tuple[str, int, float, float]]) -> Cells:
    """From (name, step, value, seconds) in the order in which they were written.

    A row is what was written at one step, until a name comes again. (One that is called "step" is
    left out: it would stand twice.)
    """
    gathered, stamps = Gathered(), []
    row: dict[str, Any] = {}
    now = None
    for name, step, value, seconds in entries:
        if name == STEP:
            continue
        if step != now or name in row:
            if row:
                gathered.row(row)
            now, row = step, {STEP: step}
            stamps.append(seconds)
        row[name] = value
    if row:
        gathered.row(row)
    cells = gathered.cells()
    cells.stamps = np.array(stamps, dtype=np.float64) if stamps else None
    return cells


def loaded(text: Any) -> dict[str, Any]:
    """A JSON object, whether bytes or text; empty where it is none."""
    try:
        values = json.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
