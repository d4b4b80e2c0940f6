"""Which backend runs an optimizer, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import Parameter

from thalweg.backends.base import Backend
from thalweg.backends.cpu import Cpu
from thalweg.backends.torch import Eager

_CPU_TYPES = {
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.complex128,
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What torch's own flags say about how a step should run.

    fused: True for own kernels, False for torch's operations; None: no wish
    foreach: True for torch's operations, where fused says nothing
    """

    fused: bool | None = None
    foreach: bool | None = None
    is_differentiable: bool = False


def pick(params: Sequence[Tensor], wishes: Wishes) -> tuple[Backend, str]:
    """The backend for these parameters and, in a few words, why."""
    if wishes.is_differentiable:
        return Eager(), "differentiable=True: autograd follows the step"
    if wishes.fused is False and wishes.foreach is not None:
        return Eager(), f"fused=False and foreach={wishes.foreach} ask for torch's operations"
    if wishes.foreach and wishes.fused is None:
        return Eager(), "foreach=True asks for torch's operations"
    devices = {p.device.type for p in params}
    if len(devices) > 1:
        return Eager(), f"parameters on {' and '.join(sorted(devices))}"
    other = next((type(p).__name__ for p in params if type(p) not in (Tensor, Parameter)), None)
    if other is not None:
        return Eager(), f"parameters are of type {other}"
    if devices <= {"cpu"}:
        return _for_cpu(params)
    return Eager(), f"there are no own kernels for {devices.pop()}"


def _for_cpu(params: Sequence[Tensor]) -> tuple[Backend, str]:
    odd = next((p.dtype for p in params if p.dtype not in _CPU_TYPES), None)
    if odd is not None:
        return Eager(), f"own kernels take no {odd}"
    if find_spec("numba") is None:
        return Eager(), "numba is not installed, which compiles own kernels"
    return Cpu(), "own kernels for the CPU"
