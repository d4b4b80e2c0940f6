"""What torch's operations read and write: counts, gradients with their factor, stored values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.backends.base import CLIP_EPS, Group, Request
from thalweg.backends.rounding import draws, keys_of, rounded_by_chance
from thalweg.backends.spread import SPREAD, as_spread


@dataclass(frozen=True, slots=True)
class Order:
    """What is done to a group's gradients in a step: numbers, or 0-d tensors on a device.

    factor: they count this many times; limit: the largest norm of each one by itself
    scale: 1 / loss scale, a part of factor; skip: this step is a no-op
    """

    factor: Any
    limit: float | None
    scale: Any
    skip: Any

    def clipped(self, g: Tensor, norm: Any) -> Tensor:
        """Gradients times their factor, which a limit on their own norm may lower.

        norm: that of g as it came, asked only where there is a limit
        """
        factor = self.factor
        if self.limit is not None:
            factor = factor * clip_factor(self.limit, abs(self.scale) * norm(g))
        is_one = isinstance(factor, float) and factor == 1.0
        return g if is_one else g * factor


def clip_factor(limit: float | None, norm: Any) -> Any:
    """What a gradient of this norm is multiplied with, at most 1."""
    if limit is None:
        return 1.0
    factor = limit / (norm + CLIP_EPS)
    if isinstance(factor, Tensor):
        return torch.clamp(factor, max=1.0)
    return factor if not factor > 1.0 else 1.0


def limit_of(limit: float | None, norm: Any, request: Request) -> Any:
    """The limit of a segment whose gradient has this norm: its own, or that of an outlier."""
    if request.outlier == math.inf:
        return limit
    own = math.inf if limit is None else limit
    lowered = min(own, request.clip_to)
    if isinstance(norm, Tensor):
        return torch.where(norm > request.outlier, lowered, own)
    return lowered if norm > request.outlier else own


def count(group: Group, active: Sequence[int], skip: Any) -> None:
    """Count an update of the tensors that have a gradient; a skipped one is not counted."""
    if skip is True or not active:
        return
    taken = 1.0 if skip is False else 1.0 - torch.as_tensor(skip).to(group.steps.dtype)
    is_whole = len(active) == len(group.params)
    at = slice(None) if is_whole else torch.tensor(active, device=group.steps.device)
    group.steps[at] += taken


def keys_for(group: Group) -> list[Any]:
    """For each tensor the key of this step's draws; None where it is rounded otherwise."""
    if group.rounding != "stochastic":
        return [None] * len(group.params)
    return keys_of(group.seed, np.array(group.keys), group.steps.cpu().numpy()).tolist()


def no_sums(group: Group) -> Tensor:
    """Zeros for what a step measures of each tensor, (n, 4)."""
    double = torch.float32 if group.steps.device.type == "mps" else torch.float64
    return torch.zeros(len(group.params), 4, dtype=double, device=group.steps.device)


def targets_of(group: Group, i: int) -> list[Tensor]:
    """The memory of tensor i: itself, its states and what its way of rounding keeps beside it."""
    tensors = (group.params[i], *(group.states[name][i] for name in group.state_names))
    return [plain(group, tensor) for tensor in tensors]


def plain(group: Group, tensor: Tensor) -> Tensor:
    """Detached, unless autograd follows; complex numbers as pairs of reals."""
    tensor = tensor if group.is_differentiable else tensor.detach()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def arithmetic_of(group: Group, p: Tensor) -> torch.dtype:
    """The type that a tensor's update is computed in."""
    return torch.float64 if group.is_double or p.dtype == torch.float64 else torch.float32


def true_p(group: Group, old: Sequence[Tensor], stored: torch.dtype) -> Tensor:
    """What p stands for: what it lacks added; its copy, where nobody else has changed it.

    old: p, its states and what is kept beside it; stored: p's own type
    """
    p, beside = old[0], old[-1]
    if group.rounding == "kahan":
        return p + beside
    if group.rounding == "master":
        return torch.where(beside.to(stored).to(p.dtype) == p, beside, p)
    return p


def with_kahan(
    old: Sequence[Tensor], new: Sequence[Any], step: Tensor, stored: torch.dtype
) -> list[Any]:
    """p goes where it can, and what is lacking is kept for the next step."""
    wanted = old[-1] - step
    moved = (old[0] + wanted).to(stored).to(step.dtype)
    return [moved, *new[1:], wanted - (moved - old[0])]


def store(targets: Sequence[Tensor], new: Sequence[Any], key: int | None, skip: Any) -> None:
    """Write a tensor and its states; with a key, bfloat16 is rounded by chance."""
    bits: dict[torch.Size, Tensor] = {}
    for k, (target, value) in enumerate(zip(targets, new, strict=True)):
        if key is not None and target.dtype == torch.bfloat16:
            if target.shape not in bits:
                bits[target.shape] = draws(key, _indices(target))
            array = 0 if k == 0 else k + 1  # the gradient is array 1
            value = _by_chance(value.float(), bits[target.shape], array)  # noqa: PLW2901
        target.copy_(kept(target, value, skip))


def kept(old: Tensor, new: Any, skip: Any) -> Any:
    """The new value, unless a flag on the device says that the step is skipped."""
    return new if isinstance(skip, bool) else torch.where(skip, old, new.to(old.dtype))


def _indices(tensor: Tensor) -> Tensor:
    """The place of every element in the whole tensor, also where this rank holds only a part."""
    spread = as_spread(tensor)
    if spread is None:
        return torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape)
    shape, starts = sys.modules[f"{SPREAD}._utils"].compute_local_shape_and_global_offset(
        spread.shape, spread.device_mesh, spread.placements
    )
    device = spread.to_local().device
    places = torch.zeros(shape, dtype=torch.int64, device=device)
    stride = 1
    for axis in reversed(range(len(shape))):
        along = (starts[axis] + torch.arange(shape[axis], device=device)) * stride
        places = places + along.view([-1 if k == axis else 1 for k in range(len(shape))])
        stride *= tensor.shape[axis]
    return places


def _by_chance(value: Tensor, bits: Tensor, array: int) -> Tensor:
    spread = as_spread(value)
    if spread is None:
        return rounded_by_chance(value, bits, array)
    rounded = rounded_by_chance(spread.to_local(), bits, array)
    return type(spread).from_local(
        rounded,
        spread.device_mesh,
        spread.placements,
        shape=spread.shape,
        stride=spread.stride(),
    )
