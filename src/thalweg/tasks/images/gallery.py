"""Pictures for the report: samples as training sees them, and the worst mistakes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from thalweg.tasks.images.source import PictureSource, drawn
from thalweg.tasks.measure import Seen, fitting
from thalweg.tasks.study import Study
from thalweg.tasks.task import Task

NUM_SAMPLES = 24
NUM_WORST = 12

SMALL, LARGE = 64, 96
"""The longer side of a sample, and of a mistake, in the page."""


def gallery_of(study: Study, task: Task, seen: Seen, *, seed: int) -> dict[str, Any]:
    """{"samples": [...], "worst": [...]} of the test set, as seen; empty where the study is
    not one of pictures.
    """
    train, test = study.train, study.test
    if not isinstance(train, PictureSource) or not isinstance(test, PictureSource):
        return {}
    return {"samples": _samples(study, train, seed), "worst": _worst(study, task, test, seen)}


def worst_of(gallery: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The worst mistakes without their pictures, for the result's JSON."""
    return [
        {name: value for name, value in row.items() if name != "image"} for row in gallery["worst"]
    ]


def _samples(study: Study, train: PictureSource, seed: int) -> list[dict[str, Any]]:
    """Training pictures, spread over the data, drawn as in the first epoch."""
    few = np.unique(np.linspace(0, len(train) - 1, NUM_SAMPLES).round().astype(int))
    pictures = drawn(train, few, seed)
    return [
        {"image": data_uri(picture, SMALL), "label": _named(study, train.targets[int(i)])}
        for i, picture in zip(few, pictures, strict=True)
    ]


def _worst(study: Study, task: Task, test: PictureSource, seen: Seen) -> list[dict[str, Any]]:
    """The test pictures of the largest losses; of classes, those answered wrongly."""
    if seen.losses is None or seen.outputs is None or seen.targets is None:
        return []
    losses = seen.losses.double().numpy()
    outputs = fitting(seen.outputs, seen.targets)
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")
    answers, shares = _answers(study, task, outputs)
    if study.kind == "classification":
        order = order[answers[order] != seen.targets.numpy()[order]]
    return [
        {
            "image": data_uri(test.bytes_of(np.array([i]))[0], LARGE),
            "path": test.paths[i],
            "true": _named(study, seen.targets[i]),
            "answer": _named(study, answers[i]),
            "probability": None if shares is None else float(shares[i]),
            "loss": float(losses[i]),
        }
        for i in order[:NUM_WORST].tolist()
    ]


def _answers(study: Study, task: Task, outputs: Tensor) -> tuple[Any, np.ndarray | None]:
    """What the model answers, and how probable it takes that to be, of classes."""
    if study.kind != "classification":
        return task.reading.numbers(outputs), None
    probabilities = task.reading.probabilities(outputs)
    answers = task.reading.classes_of(probabilities)
    return answers, probabilities[np.arange(len(answers)), answers]


def _named(study: Study, value: Any) -> str:
    """A target as a reader knows it: its class, or its number in the target's own unit."""
    if study.kind == "classification" and study.classes:
        return study.classes[int(value)]
    values: Sequence[float] = np.asarray(value, dtype=np.float64).reshape(-1).tolist()
    if study.kind == "multilabel":
        return ", ".join(study.classes[i] for i, x in enumerate(values) if x > 0.5)  # pyright: ignore[reportOptionalSubscript]
    if study.schema is None:
        return ", ".join(f"{x:.4g}" for x in values)
    target = study.schema.target
    scaled = np.array(values) * target.deviations + target.means
    least = 1e-5 * target.deviations  # a 0 that was scaled and back
    return ", ".join(f"{x:.4g}" for x in np.where(abs(scaled) < least, 0.0, scaled))


def data_uri(picture: np.ndarray, longest: int) -> str:
    """A picture (height, width, channels) as a PNG that stands in a page, at most so large."""
    from PIL import Image

    image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
    if max(image.size) > longest:
        image.thumbnail((longest, longest))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
