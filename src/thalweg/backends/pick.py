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
from thalweg.backends.gpu import Gpu
from thalweg.backends.mixed import Mixed
from thalweg.backends.torch import Eager
from thalweg.rules.matrix import AnyRule, MatrixRule

_TYPES = {
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.complex128,
}


_COMPILERS = {"cpu": "numba", "cuda": "triton"}
"""What compiles own kernels for a kind of device."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What torch's own flags say about how a step should run.

    fused: True for own kernels, False for torch's operations; None: no wish
    foreach: True for torch's operations, where fused says nothing
    """

    fused: bool | None = None
    foreach: bool | None = None
    is_differentiable: bool = False


def pick(
    params: Sequence[Tensor], wishes: Wishes, rules: Sequence[AnyRule] = ()
) -> tuple[Backend, str]:
    """The backend for these parameters and, in a few words, why."""
    reason = _wish(wishes) or _of_rules(rules) or _obstacle(params)
    if reason is not None:
        return Eager(), reason
    is_cuda = bool(params) and params[0].is_cuda
    matrix_rules = [rule.name for rule in rules if isinstance(rule, MatrixRule)]
    if matrix_rules:
        reason = f"{matrix_rules[0]} works on whole matrices"
        if is_cuda or len(matrix_rules) == len(rules):
            return Eager(), reason
        return Mixed(), f"{reason}, own kernels for the CPU run the other rules"
    return (Gpu(), "own kernels for CUDA") if is_cuda else (Cpu(), "own kernels for the CPU")


def _wish(wishes: Wishes) -> str | None:
    """Why torch's operations were asked for; None where they were not."""
    if wishes.is_differentiable:
        return "differentiable=True: autograd follows the step"
    if wishes.fused is False and wishes.foreach is not None:
        return f"fused=False and foreach={wishes.foreach} ask for torch's operations"
    if wishes.foreach and wishes.fused is None:
        return "foreach=True asks for torch's operations"
    return None


def _of_rules(rules: Sequence[AnyRule]) -> str | None:
    """Why own kernels cannot run one of these rules; None where they can run all."""
    coupling = [rule.name for rule in rules if rule.couples_tensors]
    return f"{coupling[0]} measures all tensors before it moves any" if coupling else None


def _obstacle(params: Sequence[Tensor]) -> str | None:
    """Why own kernels cannot take these parameters; None where they can."""
    devices = sorted({str(p.device) for p in params})
    kind = devices[0].partition(":")[0] if len(devices) == 1 else None
    if kind not in _COMPILERS:
        return f"there are no own kernels for parameters on {' and '.join(devices)}"
    for p in params:
        if type(p) not in (Tensor, Parameter):
            return f"own kernels take no {type(p).__name__}"
        if p.dtype not in _TYPES:
            return f"own kernels take no {p.dtype}"
    compiler = _COMPILERS[kind]
    if find_spec(compiler) is None:
        return f"{compiler} is not installed, which compiles own kernels"
    return None
