"""Tensors that are spread over ranks (DTensor): whole, and spread again."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

SPREAD = "torch.distributed.tensor"
"""The package of DTensor."""


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
