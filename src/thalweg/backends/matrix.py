"""Matrix rules on torch tensors: any device, DTensor, and autograd through the step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import Group
from thalweg.rules.matrix import MatrixRule

SPREAD = "torch.distributed.tensor"
"""The package of DTensor."""


@dataclass(frozen=True, slots=True)
class TorchArrays:
    """The array names of matrix rules, as torch has them.

    has_bfloat16: False leaves arrays alone that a rule wants in bfloat16
    """

    has_bfloat16: bool = True

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def addmm(self, c: Tensor, a: Tensor, b: Tensor, *, beta: float, alpha: float) -> Tensor:
        return torch.addmm(c, a, b, beta=beta, alpha=alpha)

    def transpose(self, a: Tensor) -> Tensor:
        return a.mT

    def lerp(self, a: Tensor, b: Tensor, share: Any) -> Tensor:
        return torch.lerp(a, b, share.to(a.dtype) if isinstance(share, Tensor) else share)

    def mean(self, a: Tensor, axis: int) -> Tensor:
        return a.mean(axis, keepdim=True)

    def norm(self, a: Tensor) -> Tensor:
        return torch.linalg.vector_norm(a)

    def sqrt(self, a: Tensor) -> Tensor:
        return torch.sqrt(a)

    def maximum(self, a: Any, b: Any) -> Any:
        return _larger(a, b, sign=1)

    def minimum(self, a: Any, b: Any) -> Any:
        return _larger(a, b, sign=-1)

    def bfloat16(self, a: Tensor) -> Tensor:
        return a.bfloat16() if self.has_bfloat16 else a

    def astype(self, a: Tensor, like: Tensor) -> Tensor:
        return a.to(like.dtype)

    def eps(self, a: Tensor) -> float:
        return torch.finfo(a.dtype).eps


def _larger(a: Any, b: Any, *, sign: int) -> Any:
    """The larger (sign 1) or smaller (-1) of two tensors or numbers."""
    if isinstance(b, Tensor):
        a, b = b, a
    if not isinstance(a, Tensor):
        return max(a, b) if sign > 0 else min(a, b)
    if isinstance(b, Tensor):
        return torch.maximum(a, b) if sign > 0 else torch.minimum(a, b)
    return torch.clamp(a, min=b) if sign > 0 else torch.clamp(a, max=b)


ARRAYS = TorchArrays()
WITH_SLOPE = TorchArrays(has_bfloat16=False)
"""Rounding has a slope of zero nearly everywhere: where autograd follows, there is none of it."""


def new_values(group: Group, i: int, g: Tensor, old: Sequence[Tensor]) -> list[Tensor]:
    """p and the states of tensor i after an update; old: before.

    What is spread over ranks is gathered, every rank computes the same, and keeps its part of it.
    """
    rule = group.formula
    assert isinstance(rule, MatrixRule)
    hyper = [group.hyper[name] for name in rule.wanted]
    xp = WITH_SLOPE if group.is_differentiable else ARRAYS
    p, *states = map(whole, old)
    new = rule.update(xp, _count(group.steps[i]), p, whole(g), *states, *hyper)
    return [spread_as(value, like) for value, like in zip(new, old, strict=True)]


def _count(t: Tensor) -> Any:
    """A number of updates, read where that costs no waiting."""
    if t.device.type == "cpu":
        return t.item()
    return t if t.device.type == "mps" else t.double()


def as_spread(tensor: Tensor) -> Any:
    """The tensor as the DTensor that it is; None for any other.

    torch's package for them takes half a second to import, so it is looked up, not imported: who
    has such a tensor has loaded it.
    """
    package = sys.modules.get(SPREAD)
    return tensor if package is not None and isinstance(tensor, package.DTensor) else None


def whole(t: Tensor) -> Tensor:
    """A tensor that may be spread over ranks, as a plain one."""
    parts = as_spread(t)
    return t if parts is None else parts.full_tensor()


def spread_as(t: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, the same on every rank, spread as `like` is; nothing is sent for it."""
    parts = as_spread(like)
    if parts is None:
        return t
    package, mesh = sys.modules[SPREAD], parts.device_mesh
    everywhere = package.DTensor.from_local(
        t, mesh, [package.Replicate()] * mesh.ndim, run_check=False
    )
    return everywhere.redistribute(placements=parts.placements)
