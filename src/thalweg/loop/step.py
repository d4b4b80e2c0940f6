"""One training step: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from thalweg.loop.batches import Batch
from thalweg.loop.order import Purpose, key
from thalweg.tasks.task import Task

Measured = Mapping[str, Tensor | float]


def take_step(
    task: Task,
    batch: Batch,
    update: Callable[[Tensor], Measured],
    *,
    number: int,
    seed: int,
    device: torch.device,
) -> dict[str, Tensor | float]:
    """Apply one update; returns what was measured of it, on the device and not waited for.

    update: applies the gradients that stand in `.grad`, given the loss, and says what it measured
    device: where the task's model lives
    The data's own randomness and dropout draw from (seed, number, part): a function of the place.
    """
    losses = []
    seed_generators(key(Purpose.STEP, seed, number, 0), device)
    for part, (share, data) in enumerate(batch.parts):
        value = task.loss(task.model, data)
        if share != 1.0:
            value = value * share
        value.backward()
        losses.append(value.detach())
        if share != 1.0:
            seed_generators(key(Purpose.STEP, seed, number, part + 1), device)

    loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
    return {"loss": loss, **update(loss)}


class Statistics:
    """The running statistics of a model's normalisation layers: a step that is skipped undoes them.

    The forward pass has written them before the loss is known, so they are copied before each step.
    """

    def __init__(self, model: nn.Module):
        layers = [layer for layer in model.modules() if isinstance(layer, _NormBase)]
        self._buffers = [b for layer in layers for b in layer.buffers() if b.is_floating_point()]
        self._kept: list[Tensor] = []

    def keep(self) -> None:
        self._kept = [buffer.clone() for buffer in self._buffers]

    def undo_if_skipped(self, measured: Measured) -> None:
        """Put them back where the loss or the gradient's norm is not finite; no sync on a GPU."""
        if not self._buffers:
            return
        bad = ~torch.isfinite(torch.as_tensor(measured["loss"] + measured["gradient_norm"]))
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(torch.where(bad, kept, buffer))


def seed_generators(value: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of `device`, without the cost of torch.manual_seed."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
