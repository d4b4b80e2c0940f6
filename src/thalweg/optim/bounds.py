"""What one step may be at most, before it is applied: decided in the update, on the device."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Bounds(NamedTuple):
    """loss: above it the step is a no-op; a gradient above `norm` is scaled down to `clip_to`."""

    loss: float = math.inf
    norm: float = math.inf
    clip_to: float = math.inf


UNBOUNDED = Bounds()
"""Every finite step is applied as it is."""


def is_within(loss: Tensor, bounds: Bounds) -> bool:
    """Is a loss finite and not above its bound? Waits for the device."""
    value = loss.item()
    return math.isfinite(value) and value <= bounds.loss


def is_beyond(loss: Tensor, bounds: Bounds) -> Tensor | bool:
    """Is a loss not finite, or above its bound? A flag on the device; known at once on the CPU."""
    if loss.device.type == "cpu":
        return not is_within(loss, bounds)
    return ~(torch.isfinite(loss) & (loss <= bounds.loss))
