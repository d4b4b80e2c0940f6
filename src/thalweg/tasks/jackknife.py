"""The noise of a metric's change, for metrics that are no mean over the rows.

A delete-a-group jackknife: the metric of the set without one of ten parts, ten times. The standard
error of a change is sqrt(9/10 * the sum of squared distances of the ten changes from their mean).
The same rows are compared, so it is far smaller than the noise of either value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

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
    return without_each(metric, outputs, seen.targets, seen.weights, place)


def without_each(
    metric: Callable[..., float],
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    place: Tensor,
) -> list[float]:
    """The metric of n samples without each part: metric(outputs, targets, weights).

    place: the part of each sample, (n,), from 0
    """
    found = []
    for part in range(int(place.max()) + 1):
        rows = place != part
        left = None if weights is None else weights[rows]
        found.append(metric(outputs[rows], targets[rows], left))
    return found


def noise_of(now: Sequence[float], before: Sequence[float]) -> float | None:
    """The standard error of the change; None where it cannot be told.

    >>> round(noise_of([1.0, 1.1] * 5, [1.0] * 10), 4)
    0.15
    """
    changes = [one - other for one, other in zip(now, before, strict=True)] if now else []
    return None if len(changes) < PARTS else error_of(changes)


def error_of(values: Sequence[float]) -> float | None:
    """The standard error of a number, from its values without each part; None where any of them is
    not finite.
    """
    count = len(values)
    if count < 2 or not all(map(math.isfinite, values)):
        return None
    mean = sum(values) / count
    spread = sum((value - mean) ** 2 for value in values)
    return math.sqrt((count - 1) / count * spread)
