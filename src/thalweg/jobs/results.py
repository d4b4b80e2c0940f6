"""What came out of a fit: the object of `--json`, and the numbers behind the pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from thalweg.health.advice import comparison, next_step
from thalweg.health.verdict import verdict_object
from thalweg.jobs.machine import Machine
from thalweg.loop.descent import Descent
from thalweg.optim.updater import backend_of
from thalweg.scale.precision import FLOAT32
from thalweg.tasks.images.gallery import gallery_of
from thalweg.tasks.intervals import intervals_of
from thalweg.tasks.measure import Sights, few, measure
from thalweg.tasks.pictures import picture_of
from thalweg.tasks.study import Study
from thalweg.tasks.task import Task
from thalweg.tasks.temperature import chosen_temperature
from thalweg.tasks.temperature import said_of as temperature_said
from thalweg.tasks.text.samples import samples_of
from thalweg.tasks.threshold import CHOSEN_BY, chosen_threshold, said_of
from thalweg.types import Verdict


def result_of(
    study: Study,
    descent: Descent,
    *,
    chosen: dict[str, Any],
    sights: Sights,
    machine: Machine,
    verdict: Verdict,
    folder: Path | None,
) -> dict[str, Any]:
    """The result of a fit, measured with the weights that were kept.

    sights: of the sets that validate and test
    """
    task, progress = descent.task, descent.progress
    assert descent.ending is not None
    baselines = study.baselines(chosen["seed"])  # before the outputs of all rows take their room
    sets, some = {"train": task.data, **sights.sets}, few(task.data)
    scores = {
        "train": measure(task, some)[0],
        **{name: sights.values(name) for name in sights.sets},
    }
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
            **{f"{name}_rows": len(source) for name, source in sets.items()},
            "train_rows_scored": len(some),
        },
        "split": study.found.to_dict() if study.found else None,
        **({"images": study.images.to_dict()} if study.images else {}),
        "target": study.schema.target.name if study.schema else None,
        "model": chosen.get("model", type(task.model).__name__),
        "optimizer": chosen["optimizer"].partition(":")[0],
        "lr": chosen["lr"],
        "batch_size": chosen["batch_size"],
        "clip": chosen.get("clip"),
        "precision": chosen.get("precision", FLOAT32.name),
        "backend": backend_of(descent.optimizer)[0],
        "device": str(task.device),
        "machine": machine.to_dict(),
        "steps": progress.steps,
        "epochs": round(progress.epochs, 4),
        "seconds": round(progress.seconds, 3),
        "weights": chosen.get("weights"),
        "metric": task.watched.name,
        "metric_rises": task.watched.rises,
        **_answers(study, task, sights, task.watched.name),
        **scores,
        "baselines": baselines,
        "verdict": verdict_object(verdict),
    }
    return {**result, "comparison": comparison(result), "next": next_step(result)}


def best_values(descent: Descent) -> dict[str, float] | None:
    """What a look at the validation set has shown of the weights that were kept; None where no look
    chose them.
    """
    best = descent.best
    rows = [row.values for row in descent.evaluations if best and row.number == best.number]
    return dict(rows[-1]) if rows else None


def choose_temperature(task: Task, sights: Sights) -> None:
    """Set the stated probabilities right, where the loss wanted others than the true ones: labels
    were smoothed, or rows that are answered well counted little.
    """
    is_focal = (task.reading.loss or "").partition(":")[0] == "focal"
    is_bent = task.reading.smoothing or is_focal
    if is_bent and (seen := sights.of("validation")) is not None:
        found = chosen_temperature(task.reading, seen)
        task.reading = replace(task.reading, temperature=found or 1.0)


def choose_threshold(study: Study, task: Task, sights: Sights, *, is_asked: bool) -> None:
    """Let the task answer by the threshold that is best on the validation rows, where one is.

    is_asked: was a metric? Otherwise it is the accuracy, of classes of which one is rare
    """
    name = task.watched.name if is_asked else "accuracy"
    is_rare = any(row.name == "balanced_accuracy" for row in task.metrics)
    if study.kind != "classification" or len(study.classes or ()) != 2:
        return
    if name in ("accuracy", "loss") and not is_rare:
        return
    name = "accuracy" if name == "loss" else name
    seen = sights.of("validation")
    if seen is None:
        return
    found = chosen_threshold(task.reading, seen, name, is_asked=name != "accuracy")
    if found is not None:
        task.reading = replace(task.reading, threshold=found)


def _answers(study: Study, task: Task, sights: Sights, metric: str) -> dict[str, Any]:
    """What is special about how answers are read, for the result."""
    reading, found = task.reading, {}
    if reading.temperature != 1:
        sentence = temperature_said(reading.temperature)
        found["temperature"] = {"value": reading.temperature, "sentence": sentence}
    if reading.threshold is not None:
        by = metric if metric in CHOSEN_BY else "accuracy"
        found["threshold"] = {
            "class": study.classes[reading.positive] if study.classes else reading.positive,
            "probability": reading.threshold,
            "chosen_by": by,
            "sentence": said_of(reading, by, study.classes),
        }
    seen = sights.of("test")
    if reading.link == "quantiles" and seen is not None:
        found["intervals"] = intervals_of(reading, seen)
    return found


def pictures_of(study: Study, descent: Descent, sights: Sights, *, seed: int) -> dict[str, Any]:
    """What the report draws besides the curves: confusion matrix or residuals, samples and worst
    mistakes of pictures, samples of a language model, and columns.
    """
    seen = sights.of("test")
    assert seen is not None
    found = picture_of(study, descent.task, seen)
    if study.kind == "language":
        found["samples"] = samples_of(descent.task, study.inputs, seed=seed)
    gallery = gallery_of(study, descent.task, seen, seed=seed)
    found |= {"gallery": gallery} if gallery else {}
    if study.schema is not None:
        notes = study.found.notes if study.found else {}
        words = study.schema.words
        texts = [(name, words.use) for name in words.columns] if words else []
        used = [
            {"name": c.name, "kind": c.kind, "use": c.use, "note": notes.get(c.name, "")}
            for c in study.schema.columns
        ]
        left = [
            {"name": d.name, "kind": "", "use": "dropped", "note": d.reason}
            for d in study.schema.dropped
        ]
        read = [{"name": name, "kind": "text", "use": use, "note": ""} for name, use in texts]
        found["columns"] = read + used + left
    return found
