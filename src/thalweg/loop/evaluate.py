"""Evaluations of one set in a row, each with the noise of its change."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from thalweg.tasks.jackknife import in_parts, noise_of
from thalweg.tasks.measure import Seen, look_at
from thalweg.tasks.task import Task
from thalweg.types import Evaluation, Source


class Evaluator:
    """Evaluations of one set in a row, each with the noise of its change.

    The noise is the standard error of the mean change of the samples' losses since the last
    evaluation that improved by more than that: the same samples are compared, so it is far smaller
    than the spread of the losses. That of a metric that is watched is found from ten parts of the
    set (`thalweg.tasks.jackknife`).
    """

    def __init__(self, task: Task, source: Source, split: str):
        self.task = task
        self.source = source
        self.split = split
        self._best = math.inf
        self._best_losses: Tensor | None = None
        self._best_watched = math.inf
        self._best_parts: list[float] | None = None

    def __call__(self, number: int) -> Evaluation:
        start = time.perf_counter()
        seen = look_at(self.task, self.source)
        values, losses = seen.values, seen.losses
        noise = self._noise(losses)
        if math.isfinite(values["loss"]) and values["loss"] < self._best - (noise or 0.0):
            self._best, self._best_losses = values["loss"], losses
        noise_watched = None if self.task.watched.is_loss else self._noise_watched(seen)
        seconds = time.perf_counter() - start
        return Evaluation(number, self.split, values, noise, seconds, noise_watched)

    def to_tree(self) -> dict[str, Any]:
        """What the next noise is found from."""
        return {
            "best": self._best,
            "losses": self._best_losses,
            "watched": self._best_watched,
            "parts": self._best_parts,
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        self._best, self._best_losses = tree["best"], tree["losses"]
        self._best_watched = tree.get("watched", math.inf)  # an older state has none
        self._best_parts = tree.get("parts")

    def _noise_watched(self, seen: Seen) -> float | None:
        """Of the metric's change since its last improvement beyond that; None: not known."""
        watched = self.task.watched
        parts = in_parts(self.task, seen)
        noise = None if self._best_parts is None else noise_of(parts, self._best_parts)
        cost = watched.cost(seen.values)
        if math.isfinite(cost) and cost < self._best_watched - (noise or 0.0):
            self._best_watched, self._best_parts = cost, parts
        return noise

    def _noise(self, losses: Tensor | None) -> float | None:
        if losses is None or self._best_losses is None or len(losses) < 2:
            return None
        noise = float((losses - self._best_losses).double().std()) / math.sqrt(len(losses))
        return noise if math.isfinite(noise) else None
