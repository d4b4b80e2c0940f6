"""What came out of a fit: the object of `--json`, and the numbers behind the pictures."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.health.advice import comparison, next_step
from thalweg.loop.descent import Descent
from thalweg.loop.evaluate import chunks_of, evaluating, measure
from thalweg.tasks.study import Study
from thalweg.types import Source, Verdict

MOST_RESIDUALS = 2000
"""Test rows that are kept for the picture of the residuals."""


def result_of(
    study: Study,
    descent: Descent,
    *,
    chosen: dict[str, Any],
    verdict: Verdict,
    folder: Path | None,
    seconds: float,
) -> dict[str, Any]:
    """The result of a fit; `train` and `test` are measured with the weights that were kept."""
    task, progress = descent.task, descent.progress
    assert descent.ending is not None
    sets = {
        "train": task.data,
        "validation": task.validation,
        "test": study.test.to(task.device),
    }
    scores = {name: measure(task, source)[0] for name, source in sets.items() if source is not None}
    result = {
        "schema": 1,
        "command": "fit",
        "status": descent.ending.status,
        "reason": descent.ending.reason,
        "run": str(folder) if folder else None,
        "task": {
            "kind": study.kind,
            "rows": study.rows,
            "features": study.num_features,
            "classes": len(study.classes) if study.classes else None,
            **{f"{name}_rows": len(source) for name, source in sets.items() if source is not None},
        },
        "model": chosen.get("model", type(task.model).__name__),
        "optimizer": chosen["optimizer"].partition(":")[0],
        "lr": chosen["lr"],
        "batch_size": chosen["batch_size"],
        "backend": getattr(getattr(descent.optimizer, "backend", None), "name", "torch"),
        "device": str(task.device),
        "steps": progress.steps,
        "epochs": round(progress.epochs, 4),
        "seconds": round(seconds, 3),
        **scores,
        "baselines": study.baselines(chosen["seed"]),
        "verdict": verdict_object(verdict),
    }
    return {**result, "comparison": comparison(result), "next": next_step(result)}


def verdict_object(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it stands in JSON."""
    return {
        "state": verdict.state,
        "healthy": verdict.healthy,
        "sentence": verdict.sentence,
        "findings": [dataclasses.asdict(finding) for finding in verdict.findings],
        "not_checkable": list(verdict.not_checkable),
    }


def pictures_of(study: Study, descent: Descent) -> dict[str, Any]:
    """What the report draws besides the curves: the confusion matrix or the residuals, and the
    columns.
    """
    found: dict[str, Any] = {}
    if study.kind is not None:
        outputs, targets = _outputs(descent, study.test)
        found = (
            _confusion(study, outputs, targets)
            if study.kind == "classification"
            else _residuals(study, outputs, targets)
        )
    if study.schema is not None:
        used = [
            {"name": c.name, "kind": c.kind, "use": c.use, "note": ""} for c in study.schema.columns
        ]
        left = [
            {"name": d.name, "kind": "", "use": "dropped", "note": d.reason}
            for d in study.schema.dropped
        ]
        found["columns"] = used + left
    return found


def tidy(value: Any) -> Any:
    """The value as strict JSON can hold it: a number that is not finite is spelled out, as in
    "NaN".
    """
    if isinstance(value, dict):
        return {str(name): tidy(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@torch.no_grad()
def _outputs(descent: Descent, source: Source) -> tuple[Tensor, Tensor]:
    """The model's outputs and the targets of a whole set, on the CPU."""
    task = descent.task
    outputs, targets = [], []
    with evaluating(task.model):
        for _, (inputs, target) in chunks_of(source.to(task.device)):
            outputs.append(task.model(inputs).cpu())
            targets.append(target.cpu())
    return torch.cat(outputs), torch.cat(targets)


def _confusion(study: Study, outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    count = max(outputs.shape[1], int(targets.max()) + 1)
    names = study.classes or tuple(str(i) for i in range(count))
    matrix = np.zeros((count, count), dtype=np.int64)
    np.add.at(matrix, (targets.numpy(), outputs.argmax(dim=1).numpy()), 1)
    names = [*names, *(str(i) for i in range(len(names), count))]
    return {"confusion": {"classes": names, "matrix": matrix.tolist()}}


def _residuals(study: Study, outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Evenly spread rows of the test set, at most MOST_RESIDUALS, in the target's own unit."""
    actual = targets.double().reshape(len(targets), -1)[:, 0].numpy() * study.deviation + study.mean
    predicted = (
        outputs.double().reshape(len(outputs), -1)[:, 0].numpy() * study.deviation + study.mean
    )
    chosen = np.unique(
        np.linspace(0, len(actual) - 1, min(MOST_RESIDUALS, len(actual))).round().astype(int)
    )
    name = study.schema.target.name if study.schema else "target"
    return {
        "residuals": {
            "actual": actual[chosen].tolist(),
            "predicted": predicted[chosen].tolist(),
            "name": name,
            "unit": "",
        }
    }
