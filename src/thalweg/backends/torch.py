"""Formulas on whole torch tensors: any device and layout, DTensor, and autograd through the step.

Several sweeps over memory, so slower than own kernels, and right wherever torch itself runs. Where
the tensors live on a device nothing is waited for: the decision to skip is a flag there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import Group, Request, Totals, dense
from thalweg.backends.matrix import MatrixUpdate
from thalweg.backends.spread import whole
from thalweg.backends.torch_store import Order, clip_factor, limit_of
from thalweg.backends.torch_update import GroupUpdate, conclude_together
from thalweg.rules.matrix import MatrixRule

Grads = Sequence[Sequence[Tensor | None]]
HALVES = (torch.float16, torch.bfloat16)


class Eager:
    """torch's own operations."""

    name = "torch"

    def bind(self, groups: Sequence[Group]) -> EagerRunner:
        return EagerRunner(groups)


class EagerRunner:
    """Groups run one after the other."""

    def __init__(self, groups: Sequence[Group]):
        self._groups = groups
        self._num_segments = 1 + max((group.segment for group in groups), default=0)
        self._totals = Totals()
        self._sums: list[Tensor] = []

    def is_current(self) -> bool:
        return True  # no addresses are kept

    def step(self, grads: Grads, request: Request) -> None:
        with torch.set_grad_enabled(any(group.is_differentiable for group in self._groups)):
            self._step(grads, request)

    def _step(self, grads: Grads, request: Request) -> None:
        grads = [
            [None if g is None else dense(group.formula.rule, g) for g in given]
            for group, given in zip(self._groups, grads, strict=True)
        ]
        limits = (*request.limits, *request.per_tensor)
        is_clipped = any(limit is not None for limit in limits) or request.outlier < math.inf
        norms: list[Any] = []
        if is_clipped or request.skip_nonfinite or request.measure:
            norms = self._norms(grads, request.inverse_scale)
        skip = skip_flag(request, norms)
        factors = [
            clip_factor(limit_of(limit, norm, request), norm)
            for limit, norm in zip(request.limits, norms, strict=False)
        ]
        updates: list[GroupUpdate | MatrixUpdate] = []
        for group, given in zip(self._groups, grads, strict=True):
            clipping = factors[group.segment] if factors else 1.0
            order = Order(
                factor=group.sign * request.inverse_scale * clipping,
                limit=request.per_tensor[group.segment],
                scale=request.inverse_scale,
                skip=skip,
            )
            kind = MatrixUpdate if isinstance(group.formula, MatrixRule) else GroupUpdate
            updates.append(kind(group, given, order))
        conclude_together([update for update in updates if isinstance(update, GroupUpdate)])
        self._sums = [update.run() for update in updates]
        factors += [
            (factors[update.group.segment] if factors else 1.0) * clip
            for update in updates
            if isinstance(update, GroupUpdate)
            for clip in update.clips
        ]
        if request.measure:
            self._totals = self._measured(norms, factors, skip, request)

    def _norms(self, grads: Grads, scale: Any) -> list[Any]:
        """Per segment, the norm of its gradients: a float on the CPU, else a 0-d tensor."""
        by_segment: list[list[Tensor]] = [[] for _ in range(self._num_segments)]
        for group, given in zip(self._groups, grads, strict=True):
            by_segment[group.segment] += [g for g in given if g is not None]
        return [scale * norm_of(members) for members in by_segment]

    def _measured(
        self, norms: Sequence[Any], factors: Sequence[Any], skip: Any, request: Request
    ) -> Totals:
        sums = torch.cat(self._sums).sum(0)
        total = norms[0] if len(norms) == 1 else sums[0].sqrt()
        numbers = [total, sums[1].sqrt(), sums[2].sqrt(), sums[3]]
        if sums.device.type == "cpu":
            numbers = [float(number) for number in numbers]
        return Totals(
            gradient_norm=numbers[0],
            update_norm=numbers[1],
            parameter_norm=None if skip is True else numbers[2],
            clip_factor=1.0 if skip is True else self._smallest(factors, request),
            num_nonfinite=numbers[3],
        )

    def _smallest(self, factors: Sequence[Any], request: Request) -> Any:
        """The smallest factor by which clipping has changed a gradient."""
        found = [1.0, *factors]
        for group, rows in zip(self._groups, self._sums, strict=True):
            limit = request.per_tensor[group.segment]
            if limit is not None:
                found.append(clip_factor(limit, rows[:, 0].sqrt()).min())
        if not any(isinstance(factor, Tensor) for factor in found):
            return min(found, key=lambda factor: (not math.isnan(factor), factor))
        device = self._sums[0].device
        smallest = torch.stack([torch.as_tensor(f, device=device) for f in found]).min()
        return float(smallest) if device.type == "cpu" else smallest

    def totals(self) -> Totals:
        return self._totals

    def per_tensor(self) -> list[Tensor]:
        return self._sums


def norm_of(grads: Sequence[Tensor]) -> Tensor | float:
    """Euclidean norm of all gradients together, 0 where there are none.

    On the CPU, where reading costs nothing, a float; elsewhere a 0-d tensor, not waited for.
    """
    if not grads or grads[0].device.type == "cpu":
        return _norm_on_cpu(grads)
    norms = torch._foreach_norm(list(grads), 2, torch.float32)  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack([whole(norm) for norm in norms]))


def _norm_on_cpu(grads: Sequence[Tensor]) -> float:
    """In the gradients' own precision, and in double only where that overflows."""
    wide = [g.coalesce().values() if g.is_sparse else g for g in grads]
    wide = [g.float() if g.dtype in HALVES else g for g in wide]  # float16 ends at 65,504
    norm = math.hypot(*(whole(torch.linalg.vector_norm(g)).item() for g in wide))
    if math.isinf(norm):
        norm = math.hypot(*(whole(torch.linalg.vector_norm(g.double())).item() for g in wide))
    return norm


def skip_flag(request: Request, norms: Sequence[Any]) -> Any:
    """Whether this step is a no-op: known on the host (a bool), or a 0-d flag on the device."""
    skip = request.skip
    if request.skip_nonfinite:
        for norm in norms:
            if isinstance(norm, Tensor):
                skip = torch.logical_or(torch.as_tensor(skip > 0), ~torch.isfinite(norm))
            else:
                skip = skip or not math.isfinite(norm)
    if isinstance(skip, Tensor) and skip.device.type == "cpu":
        return bool(skip)
    return skip
