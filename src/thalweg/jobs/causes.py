"""Trials from where a descent stands, on its own data: they tell a bug from bad labels or rates.

The model learns from batches of the training part and is looked at on the validation part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from thalweg.errors import UsageError
from thalweg.health.tried import Tried
from thalweg.loop.descent import Descent
from thalweg.tasks.objectives import objective_saved
from thalweg.tasks.sources import in_order
from thalweg.tasks.task import Task
from thalweg.trials.trial import LONGEST, trial
from thalweg.types import Finding, Source

HELD, AT_ONCE = 16, 256
"""Batches of the validation part that are looked at, and samples of one at most."""


def trials_of(descent: Descent, findings: Sequence[Finding], *, budget: int, number: int) -> Tried:
    """Trials from where a descent stands, which goes on as if there had been none.

    Raises UsageError where there is nothing to try with.
    """
    task = _plain(descent.task)
    if task.phases:
        raise UsageError("networks that are trained in turns have losses that do not say")
    validation = task.validation
    size = descent.feed.batch_size
    return trial(
        task.model,
        descent.optimizer,
        loss_of=lambda batch: task.loss(task.model, batch),
        batches=[*(descent.feed.aside(LONGEST) or ())],
        held=None if validation is None else [*_held(validation.to(task.device), size)],
        findings=findings,
        budget=budget,
        number=number,
    )


def _plain(task: Task) -> Task:
    """The task without label smoothing, with which no loss could fall to 0."""
    if not task.reading.smoothing:
        return task
    plain = copy(task)
    plain.objective = objective_saved(replace(task.reading, smoothing=0.0))
    return plain


def _held(validation: Source, size: int) -> Iterator[Any]:
    """Batches of the validation part, from its beginning on."""
    size = min(size, AT_ONCE, len(validation))
    for first in range(0, min(HELD * size, len(validation)), size):
        yield validation.fetch(in_order(first, min(first + size, len(validation))))
