"""The settings that every optimizer takes besides its rule's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from torch import Tensor

Params = Iterable[Any]
"""Parameters, (name, parameter) pairs, or dicts of a parameter group, as torch takes them."""

Number = float | Tensor
"""A learning rate: a number, or a tensor that holds one."""


class Common(TypedDict, total=False):
    """Explained at `Optimizer`; each of them may differ from group to group."""

    clip: Any
    options: Sequence[Any]
    skip_nonfinite: bool
    seed: int
    maximize: bool
    foreach: bool | None
    capturable: bool
    differentiable: bool
    fused: bool | None
