"""One update of any torch optimizer, never with a loss or gradient that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import CLIP_EPS
from thalweg.backends.torch import norm_of
from thalweg.errors import UsageError
from thalweg.optim.bounds import UNBOUNDED, Bounds, is_beyond, is_within
from thalweg.optim.optimizer import Optimizer

_multiply: Any = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]

Update = Callable[..., dict[str, Tensor | float]]


def updater(optimizer: torch.optim.Optimizer) -> Update:
    """update(loss, bounds, loss_scale) -> what was measured: applies the gradients in `.grad`.

    A step is skipped whose loss is above its bound, or whose loss or gradient is not finite; a
    gradient larger than its bound is scaled down. With bounds None none of this. The gradients
    count 1 / loss_scale times. With thalweg's optimizers and torch's fused ones this is decided on
    the device; with any other on the host, which costs one sync a step on a GPU.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer.apply
    if isinstance(optimizer, torch.optim.LBFGS):
        raise UsageError("LBFGS evaluates the loss several times a step: use it outside descend")
    is_elsewhere = any(p.device.type != "cpu" for p in _params(optimizer))
    update = update_fused if is_elsewhere and is_fused(optimizer) else _update_foreign
    return partial(update, optimizer)


def is_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Is this one of torch's whose step divides by a scale, or does nothing, on the device?"""
    return getattr(optimizer, "_step_supports_amp_scaling", False)


def waits(optimizer: torch.optim.Optimizer) -> bool:
    """Does every guarded step with it wait for the device?"""
    is_elsewhere = any(p.device.type != "cpu" for p in _params(optimizer))
    return is_elsewhere and not isinstance(optimizer, Optimizer) and not is_fused(optimizer)


def _params(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


@torch.no_grad()
def _update_foreign(
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    bounds: Bounds | None = UNBOUNDED,
    loss_scale: Tensor | None = None,
) -> dict[str, Tensor | float]:
    grads = [p.grad for p in _params(optimizer) if p.grad is not None]
    if loss_scale is not None and grads:
        _multiply(grads, float(1.0 / loss_scale))
    norm = norm_of(grads)
    if bounds is not None and not (math.isfinite(norm) and is_within(loss, bounds)):
        return {"gradient_norm": norm}
    factor = 1.0
    if bounds is not None and float(norm) > bounds.norm:
        factor = min(1.0, bounds.clip_to / (float(norm) + CLIP_EPS))
        _multiply(grads, factor)
    with torch.enable_grad():
        optimizer.step()
    return {"gradient_norm": norm, "clip_factor": factor}


@torch.no_grad()
def update_fused(
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    bounds: Bounds | None = UNBOUNDED,
    loss_scale: Tensor | None = None,
) -> dict[str, Tensor | float]:
    """As `updater` says, with a fused optimizer of torch's, by the hooks that its scaler uses."""
    grads = [p.grad for p in _params(optimizer) if p.grad is not None]
    scale = torch.ones_like(loss) if loss_scale is None else loss_scale
    norm = torch.as_tensor(norm_of(grads), device=loss.device) / scale
    factor = torch.ones_like(norm)
    given: Any = optimizer
    if bounds is not None:
        is_large = norm > bounds.norm
        shrunk = (bounds.clip_to / (norm + CLIP_EPS)).clamp(max=1.0)
        factor = torch.where(is_large, shrunk, factor)
        given.found_inf = (is_beyond(loss, bounds) | ~torch.isfinite(norm)).float()
    given.grad_scale = (scale / factor).float()
    try:
        with torch.enable_grad():
            optimizer.step()
    finally:
        del given.grad_scale
        if bounds is not None:
            del given.found_inf
    return {"gradient_norm": norm, "clip_factor": factor}


def backend_of(optimizer: torch.optim.Optimizer) -> tuple[str, str]:
    """What runs an optimizer's step, and in a few words why."""
    if isinstance(optimizer, Optimizer):
        backend, reason = optimizer.backend_and_reason
        return backend.name, reason
    return "torch.optim", "an optimizer of torch's own kind"
