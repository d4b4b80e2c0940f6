"""Looking without learning: the mean loss and the metrics of a model on a set."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.tasks.task import Task
from thalweg.types import Evaluation, Source

CHUNK = 4096
"""Samples that are evaluated at once."""


class Evaluator:
    """Evaluations of one set in a row, each with the noise of its change.

    The noise is the standard error of the mean change of the samples' losses since the last
    evaluation that
    improved by more than that: the same samples are compared, so it is far smaller than the spread
    of the losses.
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

    def _noise(self, losses: Tensor | None) -> float | None:
        if losses is None or self._best_losses is None or len(losses) < 2:
            return None
        return float((losses - self._best_losses).double().std() / math.sqrt(len(losses)))


@torch.no_grad()
def measure(task: Task, source: Source) -> tuple[dict[str, float], Tensor | None]:
    """Mean loss and metrics by name, and the loss of each sample, shape (n,), where the loss can
    tell.
    """
    objective = task.objective
    losses, outputs, targets = [], [], []
    with evaluating(task.model):
        for _, (inputs, target) in chunks_of(source):
            output = task.model(inputs)
            if objective.each is not None:
                losses.append(objective.each(output, target))
            else:
                losses.append(objective.mean(output, target).reshape(1) * len(target))
            if task.metrics:
                outputs.append(output)
                targets.append(target)

    all_losses = torch.cat(losses)
    values = {"loss": float(all_losses.double().sum()) / len(source)}
    if task.metrics:
        values |= _metrics(task, torch.cat(outputs), torch.cat(targets))
    return values, all_losses if objective.each is not None else None


def _metrics(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    if outputs.dim() == targets.dim() + 1 and outputs.shape[-1] == 1:
        outputs = outputs.squeeze(-1)
    return {metric.name: metric.measure(outputs, targets) for metric in task.metrics}


def chunks_of(source: Source) -> Iterator[tuple[int, Any]]:
    """The whole source in order: (first index, batch), CHUNK samples at a time."""
    for start in range(0, len(source), CHUNK):
        yield start, source.fetch(np.arange(start, min(start + CHUNK, len(source))))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards every module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
