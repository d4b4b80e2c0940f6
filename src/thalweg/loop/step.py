"""One training step: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg.loop.batches import Batch
from thalweg.loop.order import key
from thalweg.tasks.task import Task


def take_step(
    task: Task,
    batch: Batch,
    update: Callable[[Tensor], Tensor | float],
    *,
    number: int,
    seed: int,
    device: torch.device,
) -> tuple[Tensor, Tensor | float]:
    """Apply one update; returns (loss, gradient norm), on the device and not waited for.

    update: applies the gradients that stand in `.grad`, given the loss, and returns their norm
    Dropout draws from (seed, number, part), so a step's noise is a function of its place alone.
    device: the task's
    """
    loss = None
    for part, (share, data) in enumerate(batch.parts):
        seed_generators(key(seed, number, part), device)
        value = task.loss(task.model, data)
        if share != 1.0:
            value = value * share
        value.backward()
        loss = value.detach() if loss is None else loss + value.detach()

    assert loss is not None
    return loss, update(loss)


def seed_generators(value: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of `device`, without the cost of torch.manual_seed."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
