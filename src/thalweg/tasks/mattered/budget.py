"""What measuring the columns may cost: counted in row passes, so that no clock decides a number."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.tasks.mattered.headline import Measure
from thalweg.tasks.task import Task

SHARE = 0.1
"""Of the work that training took, in which a row's pass forth and back counts as PASSES."""
PASSES = 3
LEAST_WORK = 1.5e10
"""Multiplications that are allowed after the shortest training: half a second."""

REPEATS = 5
"""Shuffles of a column, where the budget allows them; rows come first, down to one shuffle."""
MOST_ROWS = 20_000
LEAST_ROWS = 20

PLAIN = ("accuracy", "rmse", "mae", "r2", "loss")
"""Metrics that cost little beside a pass; of any other a row counts as COSTLY."""
COSTLY = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """rows: of the validation set that are looked at; repeats: shuffles of each column"""

    rows: int
    repeats: int


def passes_of(task: Task, metric: Measure, samples: int) -> int:
    """Row passes that are allowed; samples: rows that training saw, each as often as it did."""
    num_parameters = sum(p.numel() for p in task.model.parameters()) or 1
    allowed = max(SHARE * PASSES * samples, LEAST_WORK / num_parameters)
    return int(allowed if metric.name in PLAIN else allowed / COSTLY)


def sample_of(num_rows: int, num_columns: int, passes: int) -> Sample | None:
    """What the budget allows for so many columns; None where it is too little to say anything.

    >>> sample_of(500, 10, 100_000), sample_of(500, 10, 10_000), sample_of(500, 10, 2_000)
    (Sample(rows=500, repeats=5), Sample(rows=500, repeats=2), Sample(rows=200, repeats=1))
    """
    wanted = min(num_rows, MOST_ROWS)
    each = passes // num_columns
    repeats = min(REPEATS, max(1, each // wanted))
    rows = min(wanted, each // repeats)
    return Sample(rows, repeats) if rows >= min(LEAST_ROWS, num_rows) else None
