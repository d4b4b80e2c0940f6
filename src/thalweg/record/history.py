"""What a record holds, as columns: one shape for every run, on disk or in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg.types import MEASURES, Evaluation, Event, Measures, Step

COLUMNS = ("number", "samples", "epoch", "lr", "seconds", *MEASURES)
"""The columns of a step, in the order of its row."""

Row = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at a run: the first, or one that resumed it.

    number: counted from 1
    from_step: the step after which it went on; 0 is the start
    started: seconds since 1970 in UTC; None where an old record does not say
    """

    number: int
    from_step: int
    started: float | None = None


@dataclass(slots=True)
class History:
    """All that a record holds; of several attempts, what the newest say.

    steps: by column name a masked array of shape (n,): masked where not measured, NaN and
    infinities as they were
    evaluations, events: oldest first
    scalars: numbers of the user's own, by name a list of (step number, value)
    settings, environment, results: what was asked, where it ran, what came out
    attempts: oldest first; one that was never resumed has one
    num_thinned: steps and scalars that were left out because the disk was full or too slow
    damage: what could not be read, in one line; empty where everything was
    """

    steps: dict[str, np.ma.MaskedArray]
    evaluations: list[Evaluation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    num_thinned: int = 0
    damage: str = ""


def row_of(step: Step) -> Row:
    """A step as the values of COLUMNS; None is "not measured"."""
    measured: Mapping[str, float | None] = step.measured()
    own = (step.number, step.samples, step.epoch, step.lr, step.seconds)
    return (*own, *(measured.get(name) for name in MEASURES))


def step_of(row: Row) -> Step:
    """The step that `row_of` made a row of."""
    named = {name: value for name, value in zip(COLUMNS, row, strict=True) if value is not None}
    own = {name: named.pop(name) for name in COLUMNS[: -len(MEASURES)]}
    return Step(**own, measures=Measures(lambda: named))  # pyright: ignore[reportArgumentType]


def columns_of(rows: Iterable[Row]) -> dict[str, np.ma.MaskedArray]:
    """Rows of COLUMNS as masked columns."""
    rows = list(rows)
    columns = {}
    for i, name in enumerate(COLUMNS):
        values = [row[i] for row in rows]
        mask = np.array([value is None for value in values], dtype=bool)
        data = np.array(
            [math.nan if value is None else value for value in values], dtype=np.float64
        )
        columns[name] = np.ma.MaskedArray(data, mask=mask)
    return columns
