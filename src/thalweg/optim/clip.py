"""How gradients are clipped: `clip=1.0` is short for `clip=ByNorm(1.0)`.

Parameter groups with the same clip share one norm, so a `clip` given to the optimizer limits the
norm of all gradients together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from thalweg.errors import UsageError
from thalweg.rules.options import ByValue, check_limit
from thalweg.rules.rule import number_of

__all__ = ["ByNorm", "ByValue", "Clip", "PerTensor", "clip_of"]


@dataclass(frozen=True, slots=True)
class ByNorm:
    """Gradients are scaled down together so that their norm is at most `limit` (> 0).

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks,
    ICML 2013.
    """

    limit: float

    def __post_init__(self) -> None:
        check_limit(self)


@dataclass(frozen=True, slots=True)
class PerTensor:
    """Each tensor's gradient is scaled down so that its own norm is at most `limit` (> 0)."""

    limit: float

    def __post_init__(self) -> None:
        check_limit(self)


Clip = ByNorm | PerTensor | ByValue


def clip_of(value: Any) -> Clip | None:
    """The clip that a setting means. Raises UsageError for anything else."""
    if value is None or isinstance(value, ByNorm | PerTensor | ByValue):
        return value
    if 0 < number_of(value) < math.inf:
        return ByNorm(float(value))
    raise UsageError(
        f"clip is {value!r}: give a norm > 0 such as 1.0, ByNorm(1.0), PerTensor(1.0), "
        "ByValue(0.5), or None"
    )
