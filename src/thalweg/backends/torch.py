"""Rules over torch tensors: torch's fused kernels where there are any, else the rule itself.

`pick` says which one, and why. thalweg's own kernels will stand beside these two behind the same
seam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from thalweg.backends.base import Backend, Group, bind
from thalweg.rules import Rule

_PRIMITIVES = {"div": torch.div, "pow": torch.pow, "sqrt": torch.sqrt}
_FUSED_DEVICES = ("cpu", "cuda", "mps")
_HALVES = (torch.float16, torch.bfloat16)


class Fused:
    """torch's own fused kernels: one call per group, arithmetic in the parameters' dtype."""

    name = "torch fused"

    def norm(self, grads: Sequence[Tensor]) -> Tensor | float:
        return norm_of(grads)

    def update(self, rule: Rule, groups: Sequence[Group], skip: Tensor | None) -> None:
        for group in groups:
            is_regular = all(map(Tensor.is_contiguous, (*group.params, *group.grads)))
            if is_regular:
                _advance(group, skip)
                _KERNELS[rule.name](group, skip)
            else:  # the kernels would ignore the strides
                _update_eagerly(rule, group, skip)


class Eager:
    """The rule's own function on whole tensors: any device and layout, several sweeps."""

    name = "torch eager"

    def norm(self, grads: Sequence[Tensor]) -> Tensor | float:
        return norm_of(grads)

    def update(self, rule: Rule, groups: Sequence[Group], skip: Tensor | None) -> None:
        for group in groups:
            _update_eagerly(rule, group, skip)


def _update_eagerly(rule: Rule, group: Group, skip: Tensor | None) -> None:
    _advance(group, skip)
    update = bind(rule.update, **_PRIMITIVES)
    coefficients = bind(rule.coefficients, **_PRIMITIVES)
    states = [group.states[name] for name in rule.states]

    for i, (p, g) in enumerate(zip(group.params, group.grads, strict=True)):
        t = _exact(group.step_views[i]) if rule.counts_steps else None
        old = (p, *(state[i] for state in states))
        new = update(old[0], g, *old[1:], *coefficients(t, **group.hyper))
        for target, value in zip(old, new, strict=True):
            target.copy_(value if skip is None else torch.where(skip > 0, target, value))


def _exact(t: Tensor) -> Tensor:
    """The count in float64, or as it is on a device that has none."""
    return t if t.device.type == "mps" else t.double()


def pick(rule: Rule, params: Sequence[Tensor]) -> tuple[Backend, str]:
    """The backend for these parameters and, in a few words, why."""
    if rule.name not in _KERNELS:
        return Eager(), f"torch has no fused kernel for {rule.name}"
    if len({(p.device, p.dtype) for p in params}) > 1:
        return Eager(), "a fused kernel takes parameters of one type on one device"
    for p in params:
        obstacle = _obstacle(p)
        if obstacle is not None:
            return Eager(), obstacle
    return Fused(), f"torch has a fused {rule.name} kernel"


def _obstacle(p: Tensor) -> str | None:
    """Why torch's fused kernels cannot take this parameter; None where they can."""
    if p.device.type not in _FUSED_DEVICES:
        return f"torch has no fused kernels on {p.device.type}"
    if not p.is_floating_point():
        return f"torch's fused kernels take no {p.dtype} parameters"
    if p.device.type == "cpu" and p.dtype in _HALVES:
        return f"torch's fused SGD for the CPU leaves {p.dtype} as it was (torch 2.13)"
    if not p.is_contiguous():
        return "torch's fused kernels would ignore the strides of a parameter"
    return None


def norm_of(grads: Sequence[Tensor]) -> Tensor | float:
    """Euclidean norm of all gradients together, 0 where there are none.

    On the CPU, where reading costs nothing, a float; elsewhere a 0-d tensor, not waited for.
    """
    if not grads or grads[0].device.type == "cpu":
        return _norm_on_cpu(grads)
    norms = torch._foreach_norm(list(grads), 2, torch.float32)  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack(norms))


def _norm_on_cpu(grads: Sequence[Tensor]) -> float:
    """In the gradients' own precision, and in double only where that overflows."""
    wide = [g.float() if g.dtype in _HALVES else g for g in grads]  # float16 ends at 65,504
    norm = math.hypot(*(torch.linalg.vector_norm(g).item() for g in wide))
    if math.isinf(norm):
        norm = math.hypot(*(torch.linalg.vector_norm(g.double()).item() for g in wide))
    return norm


def _advance(group: Group, skip: Tensor | None) -> None:
    """Count the update, before it is made; a skipped one is not counted."""
    if group.steps is not None:
        group.steps.add_(1 if skip is None else 1 - skip)


def _fused_sgd(group: Group, skip: Tensor | None, *, nesterov: bool = False) -> None:
    hyper = group.hyper
    torch._fused_sgd_(  # pyright: ignore[reportPrivateImportUsage]
        group.params,
        group.grads,
        group.states.get("momentum_buffer", []),
        weight_decay=hyper["weight_decay"],
        momentum=hyper.get("momentum", 0.0),
        lr=hyper["lr"],
        dampening=0.0,
        nesterov=nesterov,
        maximize=False,
        is_first_step=False,
        found_inf=skip,
    )


def _fused_nesterov(group: Group, skip: Tensor | None) -> None:
    _fused_sgd(group, skip, nesterov=True)


def _fused_adam(group: Group, skip: Tensor | None) -> None:
    kernel = torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage]
    _adam_kernel(kernel, group, skip)


def _fused_adamw(group: Group, skip: Tensor | None) -> None:
    kernel = torch._fused_adamw_  # pyright: ignore[reportPrivateImportUsage]
    _adam_kernel(kernel, group, skip)


def _adam_kernel(kernel: Callable, group: Group, skip: Tensor | None) -> None:
    hyper = group.hyper
    kernel(
        group.params,
        group.grads,
        group.states["exp_avg"],
        group.states["exp_avg_sq"],
        [],
        group.step_views,
        amsgrad=False,
        lr=hyper["lr"],
        beta1=hyper["beta1"],
        beta2=hyper["beta2"],
        weight_decay=hyper["weight_decay"],
        eps=hyper["eps"],
        maximize=False,
        found_inf=skip,
    )


_KERNELS: dict[str, Callable[[Group, Tensor | None], None]] = {
    "sgd": _fused_sgd,
    "momentum": _fused_sgd,
    "nesterov": _fused_nesterov,
    "adam": _fused_adam,
    "adamw": _fused_adamw,
}
