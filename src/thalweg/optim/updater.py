"""One update of any torch optimizer, never with a loss or gradient that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from thalweg.backends.torch import norm_of
from thalweg.errors import UsageError
from thalweg.optim.optimizer import Optimizer


def updater(optimizer: torch.optim.Optimizer) -> Callable[[Tensor], dict[str, Tensor | float]]:
    """update(loss) -> what was measured: applies the gradients that stand in `.grad`.

    With thalweg's optimizers a step that is not finite is skipped on the device. With any other the
    host decides, which costs one sync a step on a GPU.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer.apply
    if isinstance(optimizer, torch.optim.LBFGS):
        raise UsageError("LBFGS evaluates the loss several times a step: use it outside descend")
    return partial(_update_foreign, optimizer)


def _update_foreign(optimizer: torch.optim.Optimizer, loss: Tensor) -> dict[str, Tensor | float]:
    params = (p for group in optimizer.param_groups for p in group["params"])
    norm = norm_of([p.grad for p in params if p.grad is not None])
    if math.isfinite(norm + loss):
        optimizer.step()
    return {"gradient_norm": norm}


def backend_of(optimizer: torch.optim.Optimizer) -> tuple[str, str]:
    """What runs an optimizer's step, and in a few words why."""
    if isinstance(optimizer, Optimizer):
        backend, reason = optimizer.backend_and_reason
        return backend.name, reason
    return "torch.optim", "an optimizer of torch's own kind"
