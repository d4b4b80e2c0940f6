"""Running statistics of normalisation layers: a step that is skipped undoes them.

Batch norm keeps the mean and variance of what it has seen, for evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from thalweg.optim.bounds import UNBOUNDED, Bounds

Measured = Mapping[str, Tensor | float]


class Statistics:
    """The running statistics of a model's normalisation layers.

    The forward pass has written them before the loss is known, so they are copied before each step.
    """

    def __init__(self, model: nn.Module):
        layers = [layer for layer in model.modules() if isinstance(layer, _NormBase)]
        self._buffers = [buffer for layer in layers for buffer in layer.buffers()]
        self._kept: list[Tensor] = []

    def keep(self) -> None:
        self._kept = [buffer.clone() for buffer in self._buffers]

    def undo_if_skipped(self, measured: Measured, bounds: Bounds = UNBOUNDED) -> None:
        """Put them back where the step was a no-op; no sync on a GPU."""
        if not self._buffers:
            return
        loss, norm = (torch.as_tensor(measured[name]) for name in ("loss", "gradient_norm"))
        bad = ~torch.isfinite(loss + norm) | (loss > bounds.loss)
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(torch.where(bad, kept, buffer))


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The layers whose running statistics training moves; not those that are frozen in eval()."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    return [layer for layer in layers if layer.training and layer.running_mean is not None]
