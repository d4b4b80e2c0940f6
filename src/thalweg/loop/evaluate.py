"""Evaluations of one set in a row, each with the noise of its change."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from thalweg.tasks.measure import measure
from thalweg.tasks.task import Task
from thalweg.types import Evaluation, Source


class Evaluator:
    """Evaluations of one set in a row, each with the noise of its change.

    The noise is the standard error of the mean change of the samples' losses since the last
    evaluation that improved by more than that: the same samples are compared, so it is far smaller
    than the spread of the losses.
    """

    def __init__(self, task: Task, source: Source, split: str):
        self.task = task
        self.source = source
        self.split = split
        self._best = math.inf
        self._best_losses: Tensor | None = None

    def __call__(self, number: int) -> Evaluation:
        start = time.perf_counter()
        values, losses = measure(self.task, self.source)
        noise = self._noise(losses)
        if math.isfinite(values["loss"]) and values["loss"] < self._best - (noise or 0.0):
            self._best, self._best_losses = values["loss"], losses
        return Evaluation(number, self.split, values, noise, time.perf_counter() - start)

    def to_tree(self) -> dict[str, Any]:
        """What the next noise is found from."""
        return {"best": self._best, "losses": self._best_losses}

    def restore(self, tree: Mapping[str, Any]) -> None:
        self._best, self._best_losses = tree["best"], tree["losses"]

    def _noise(self, losses: Tensor | None) -> float | None:
        if losses is None or self._best_losses is None or len(losses) < 2:
            return None
        noise = float((losses - self._best_losses).double().std()) / math.sqrt(len(losses))
        return noise if math.isfinite(noise) else None
