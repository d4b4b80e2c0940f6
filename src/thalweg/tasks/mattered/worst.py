"""The rows of a set on which the model did worst: the largest loss each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.tasks.measure import Seen, Sights, fitting
from thalweg.tasks.sources import rows_of
from thalweg.tasks.study import Study
from thalweg.tasks.task import Task

NUM_WORST = 10


def worst_of(
    study: Study, sights: Sights, name: str, *, is_whole: bool, count: int = NUM_WORST
) -> list[dict[str, Any]]:
    """The worst rows of a set, the worst first; none where there is no such set, or the loss cannot
    tell a row's from another's.

    is_whole: are they rows of a file of their own? `row` counts from 1 in the data or in that file.
    `loss` is what was minimised, as it weighs classes, but not times the row's own weight, which
    stands beside it; a row that weighs 0 is left out.
    """
    if study.kind is not None and study.kind not in KINDS:
        return []
    seen, task = sights.of(name), sights.task
    losses = None if seen is None else _losses(task, seen)
    if seen is None or losses is None:
        return []
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")
    if seen.weights is not None:
        order = order[seen.weights.numpy()[order] > 0]
    places = order[:count]
    stands = places if is_whole else rows_of(sights.sets[name], places)
    answers = _answers(study, task, seen, places)
    return [
        {"row": int(stand) + 1, **answer, "loss": float(losses[place]), **_weight(seen, place)}
        for stand, place, answer in zip(stands, places, answers, strict=True)
    ]


def _losses(task: Task, seen: Seen) -> np.ndarray | None:
    """Of each row, float64 (n,), its weight left aside."""
    if seen.losses is None:
        return None
    if seen.weights is None:
        return seen.losses.double().numpy()
    if seen.outputs is not None:
        return task.objective.each(seen.outputs, seen.targets).double().numpy()
    share = seen.weights.double()
    return (seen.losses.double() / (share / share.mean())).numpy()


def _weight(seen: Seen, place: int) -> dict[str, float]:
    return {} if seen.weights is None else {"weight": float(seen.weights[place])}


def _answers(study: Study, task: Task, seen: Seen, places: np.ndarray) -> list[dict[str, Any]]:
    """What is true of each row, and what was answered; nothing where that is not known."""
    if seen.outputs is None or seen.targets is None or study.kind is None:
        return [{} for _ in places]
    chosen = torch.from_numpy(places)
    outputs = fitting(seen.outputs, seen.targets)[chosen]
    return KINDS[study.kind](study, task, outputs, seen.targets[chosen])


def _classes(study: Study, task: Task, outputs: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """probability: of the answer; probability_true: of the true class."""
    stated = task.reading.probabilities(outputs)
    names = study.classes or tuple(str(i) for i in range(stated.shape[1]))
    found = []
    for row, answer, true in zip(
        stated, task.reading.classes_of(stated).tolist(), targets.long().tolist(), strict=True
    ):
        chances = {"probability": float(row[answer]), "probability_true": float(row[true])}
        found.append({"true": names[true], "answer": names[answer], **chances})
    return found


def _labels(study: Study, task: Task, outputs: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """Labels joined as the data has them; probability: that all of the answer's are right."""
    assert study.schema is not None
    target, stated = study.schema.target, task.reading.probabilities(outputs)

    def joined(has: np.ndarray) -> str:
        return target.separator.join(target.classes[i] for i in np.flatnonzero(has))

    sides = np.maximum(stated, 1 - stated)
    return [
        {"true": joined(true), "answer": joined(row > 0.5), "probability": float(sure)}
        for row, true, sure in zip(stated, targets.numpy() > 0.5, sides.prod(axis=1), strict=True)
    ]


def _numbers(study: Study, task: Task, outputs: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """In the target's own unit; error: the answer less the truth. Of several targets by name."""
    target = study.schema.target if study.schema else None
    mean = target.means if target else np.array([study.mean])
    deviation = target.deviations if target else np.array([study.deviation])
    true, answer = (
        values.double().reshape(len(values), -1).numpy() * deviation + mean
        for values in (targets, task.reading.numbers(outputs))
    )
    names = target.names if target else tuple(f"y{i}" for i in range(true.shape[1]))
    rows = zip(true.tolist(), answer.tolist(), (answer - true).tolist(), strict=True)
    keys = ("true", "answer", "error")
    return [
        {
            name: values[0] if len(values) == 1 else dict(zip(names, values, strict=True))
            for name, values in zip(keys, row, strict=True)
        }
        for row in rows
    ]


KINDS = {"classification": _classes, "multilabel": _labels, "regression": _numbers}
