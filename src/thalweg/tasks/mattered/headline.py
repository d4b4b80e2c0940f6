"""The one measure in which it is said what mattered: the one that heads the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.tasks.at_once import MOST
from thalweg.tasks.measure import fitting
from thalweg.tasks.metrics import Metric
from thalweg.tasks.scores import mean
from thalweg.tasks.task import Task

FIRST = ("accuracy", "rmse")


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric, or the loss, of a model's outputs as they are: (outputs, targets, weights) -> float

    rises: larger is better
    """

    name: str
    rises: bool
    of: Callable[[Tensor, Tensor, Tensor | None], float]

    def __call__(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
        return self.of(outputs, targets, weights)

    def worsening(self, now: float, before: float) -> float:
        """By how much a value is worse than the one before; below 0 where it is better."""
        return before - now if self.rises else now - before


def headline_of(task: Task) -> Measure:
    """The metric that is watched, else the accuracy or the rmse, else any; without one the loss."""
    known = {row.name: row for row in task.metrics}
    names = (task.watched.name, *FIRST, *known)
    found = next((known[name] for name in names if name in known), None)
    return loss_of(task) if found is None else _measure(found)


def _measure(metric: Metric) -> Measure:
    def of(outputs: Tensor, targets: Tensor, weights: Tensor | None) -> float:
        return metric(fitting(outputs, targets), targets, weights)

    return Measure(metric.name, metric.rises, of)


def loss_of(task: Task) -> Measure:
    """What was minimised."""

    def of(outputs: Tensor, targets: Tensor, weights: Tensor | None) -> float:
        pairs = zip(outputs.split(MOST), targets.split(MOST), strict=True)
        losses = [_each(task, *pair) for pair in pairs]
        return float(mean(torch.cat(losses), weights))

    return Measure("loss", False, of)


def _each(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of each row, (n,); of some function of the user's own they share their mean."""
    losses = task.objective.each(outputs, targets)
    return losses if losses.dim() else losses.expand(len(targets))
