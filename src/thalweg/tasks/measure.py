"""Looking without learning: outputs, mean loss and metrics of a model on a set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.tasks.sources import in_order
from thalweg.tasks.task import Task
from thalweg.types import Source

CHUNK = 4096
"""Samples that are evaluated at once."""


@torch.no_grad()
def measure(task: Task, source: Source) -> tuple[dict[str, float], Tensor | None]:
    """Mean loss and metrics by name; and each sample's loss, (n,), if the loss can tell."""
    objective = task.objective
    losses, outputs, targets = [], [], []
    with evaluating(task.model):
        for _, (inputs, target) in chunks_of(source):
            output = task.outputs(task.model, inputs)
            if objective.each is not None:
                losses.append(objective.each(output, target).cpu())
            else:
                losses.append(objective.mean(output, target).reshape(1).cpu() * len(target))
            if task.metrics:
                outputs.append(output.cpu())
                targets.append(target.cpu())

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
        yield start, source.fetch(in_order(start, min(start + CHUNK, len(source))))


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


@torch.no_grad()
def outputs_of(task: Task, source: Source) -> tuple[Tensor, Tensor]:
    """The model's outputs and the targets of a whole set, on the CPU."""
    outputs, targets = [], []
    with evaluating(task.model):
        for _, (inputs, target) in chunks_of(source.to(task.device)):
            outputs.append(task.outputs(task.model, inputs).cpu())
            targets.append(target.cpu())
    return torch.cat(outputs), torch.cat(targets)
