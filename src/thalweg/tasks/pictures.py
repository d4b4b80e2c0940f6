"""The numbers behind the report's pictures of a test set: confusion matrix, residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from thalweg.tasks.measure import Seen
from thalweg.tasks.reading import Reading
from thalweg.tasks.study import Study
from thalweg.tasks.task import Task

MOST_RESIDUALS = 2000
"""Test rows that are kept for the picture of the residuals."""


def picture_of(study: Study, task: Task, seen: Seen) -> dict[str, Any]:
    """{"confusion": {...}} or {"residuals": {...}} of the test set, as seen; empty for one's own
    loss.
    """
    outputs, targets = seen.outputs, seen.targets
    is_other = study.kind in (None, "multilabel", "language")
    if is_other or outputs is None or targets is None:
        return {}
    if study.kind == "regression" and targets[0].numel() > 1:
        return {}
    if study.kind == "classification":
        return {"confusion": _confusion(study, outputs, targets, task.reading)}
    return {"residuals": _residuals(study, task.reading.numbers(outputs), targets)}


def _confusion(study: Study, outputs: Tensor, targets: Tensor, reading: Reading) -> dict[str, Any]:
    answers = reading.classes(outputs)
    width = outputs.shape[1] if outputs.dim() > 1 else 1
    count = max(len(study.classes or ()), width, int(answers.max()) + 1, int(targets.max()) + 1)
    names = study.classes or tuple(str(i) for i in range(count))
    matrix = np.zeros((count, count), dtype=np.int64)
    np.add.at(matrix, (targets.numpy().astype(np.int64), answers), 1)
    names = [*names, *(str(i) for i in range(len(names), count))]
    return {"classes": names, "matrix": matrix.tolist()}


def _residuals(study: Study, outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Evenly spread rows of the test set, at most MOST_RESIDUALS, in the target's own unit."""
    actual, predicted = (
        values.double().reshape(len(values), -1)[:, 0].numpy() * study.deviation + study.mean
        for values in (targets, outputs)
    )
    count = min(MOST_RESIDUALS, len(actual))
    chosen = np.unique(np.linspace(0, len(actual) - 1, count).round().astype(int))
    name = study.schema.target.name if study.schema else "target"
    return {
        "actual": actual[chosen].tolist(),
        "predicted": predicted[chosen].tolist(),
        "name": name,
        "unit": "",
    }
