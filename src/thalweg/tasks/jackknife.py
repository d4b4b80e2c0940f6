"""The noise of a metric's change, for metrics that are no mean over the rows.

A delete-a-group jackknife: the metric of the set without one of ten parts, ten times. The standard
error of a change is sqrt(9/10 * the sum of squared distances of the ten changes from their mean).
The same rows are compared, so it is far smaller than the noise of either value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from thalweg.tasks.measure import Seen, fitting
from thalweg.tasks.task import Task

PARTS = 10
"""Row i belongs to part i mod 10."""


def in_parts(task: Task, seen: Seen) -> list[float]:
    """The watched metric of the set without each of its parts; none where it has too few rows."""
    metric = next(row for row in task.metrics if row.name == task.watched.name)
    if seen.outputs is None or seen.targets is None or len(seen.targets) < 2 * PARTS:
        return []
    outputs = fitting(seen.outputs, seen.targets)
    place = torch.arange(len(outputs)) % PARTS
    found = []
    for part in range(PARTS):
        rows = place != part
        weights = None if seen.weights is None else seen.weights[rows]
        found.append(metric(outputs[rows], seen.targets[rows], weights))
    return found


def noise_of(now: Sequence[float], before: Sequence[float]) -> float | None:
    """The standard error of the change; None where it cannot be told.

    >>> round(noise_of([1.0, 1.1] * 5, [1.0] * 10), 4)
    0.15
    """
    changes = [one - other for one, other in zip(now, before, strict=True)] if now else []
    known = [change for change in changes if math.isfinite(change)]
    if len(known) < PARTS:
        return None
    mean = sum(known) / PARTS
    spread = sum((change - mean) ** 2 for change in known)
    return math.sqrt((PARTS - 1) / PARTS * spread)
