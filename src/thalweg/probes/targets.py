"""The model's output in one step, and the targets of a squared loss, found from its gradient.

The gradient of mean((o - t)^2) by o is 2 (o - t) / n, times a scale that the loss's own value
gives. So t is known without asking anyone for it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from thalweg.facts import Targets
from thalweg.probes.loss_graph import squared_outputs

MOST_VALUES = 1_000_000
WHOLE = 1e-3
"""How far from a whole number a target may be found: float32's rounding of a difference."""


class Output:
    """Keeps an output of the model, and its gradient, until `close`."""

    def __init__(self, output: Tensor):
        self._node = output.grad_fn
        self._values = output.detach()
        self._version = output._version
        self._gradient: Tensor | None = None
        self._loss: tuple[float, bool] | None = None
        self._handle: Any = output.register_hook(self._keep) if self._is_small else None
        self.is_finite = bool(torch.isfinite(self._values).all())
        self.differ = differ(self._values)

    @property
    def _is_small(self) -> bool:
        return self._values.numel() <= MOST_VALUES and self._values.dtype == torch.float32

    def _keep(self, gradient: Tensor) -> None:
        self._gradient = gradient.detach()

    def saw_loss(self, loss: Tensor) -> None:
        """Is it a squared loss of this output?"""
        found = squared_outputs(loss)
        if found is not None and found[0] is self._node:
            self._loss = float(loss.detach()), found[1]

    def close(self) -> None:
        """Let go of the tensors."""
        if self._handle is not None:
            self._handle.remove()
        self._node = self._gradient = None

    @torch.no_grad()
    def targets(self) -> Targets | None:
        """None where the loss is not a squared one of this output, or the gradient was not seen."""
        is_changed = self._values._version != self._version
        if self._loss is None or self._gradient is None or is_changed or not self.is_finite:
            return None
        value, is_mean = self._loss
        gradient = self._gradient.double()
        size = float(gradient.square().sum())
        total = value * gradient.numel() if is_mean else value
        if not (size > 0 and math.isfinite(size) and total > 0):
            return None
        found = self._values.double() - gradient * math.sqrt(total / size)
        return described(found, self._values)


def described(targets: Tensor, values: Tensor) -> Targets:
    """Whole numbers or not, how many, and their range."""
    whole = targets.round()
    scale = max(1.0, float(targets.abs().max()))
    distinct, counts = whole.unique(return_counts=True)
    return Targets(
        are_whole=float((targets - whole).abs().max()) < WHOLE * scale,
        num_distinct=len(distinct),
        lowest=float(targets.min()),
        highest=float(targets.max()),
        rarest=float(counts.min()) * len(distinct) / targets.numel(),
        outputs=values.shape[1] if values.ndim > 1 else 1,
        num=targets.numel(),
    )


def differ(values: Tensor) -> float | None:
    """How far samples differ in an output, as a share of its size; None where it is one sample."""
    if values.ndim < 2 or values.shape[0] < 2 or not values.is_floating_point():
        return None
    rows = values.reshape(values.shape[0], -1)[:4096].float()
    size = float(rows.abs().max())
    return float((rows - rows[:1]).abs().max()) / size if size > 0 else 0.0
