"""How a fault is planted: a class with one method replaced, and the checks that must see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["FAULTS", "Fault", "plant"]


@dataclasses.dataclass(frozen=True)
class Fault:
    """The check that must fail, the class it must fail on, the error, and the flags of its row.

    raises: other than AssertionError where the fault is that something cannot be done at all
    """

    check: str
    build: type[torch.optim.Optimizer]
    flags: dict[str, Any]
    raises: type[Exception] = AssertionError

    def __str__(self) -> str:
        return f"{self.check}-{self.build.__name__}"


FAULTS: list[Fault] = []


def plant(
    *checks: str, raises: type[Exception] = AssertionError, **flags: Any
) -> Callable[[type], type]:
    """Say of a class which checks must fail on it."""

    def keep(build: type) -> type:
        FAULTS.extend(Fault(check, build, flags, raises) for check in checks)
        return build

    return keep


def storage_of(p: nn.Parameter) -> torch.Tensor:
    """As many numbers as `p` has, in the order in which they lie in memory."""
    return p.as_strided((p.numel(),), (1,), p.storage_offset())
