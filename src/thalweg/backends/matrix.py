"""Matrix rules on stacks of torch tensors: any device, DTensor, and autograd through the step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import Group
from thalweg.backends.spread import spread_as, whole
from thalweg.backends.torch_store import (
    Order,
    arithmetic_of,
    count,
    keys_for,
    no_sums,
    plain,
    store,
    targets_of,
    true_p,
    with_kahan,
)
from thalweg.rules.matrix import MatrixRule


@dataclass(frozen=True, slots=True)
class TorchArrays:
    """The array names of matrix rules, as torch has them.

    A stack of one is multiplied as a matrix: in a batch torch copies what is transposed.
    has_slope: autograd follows: nothing is rounded to bfloat16, which has a slope of zero nearly
    everywhere
    writes_over: what a rule gives as `out` is written over
    """

    has_slope: bool = False
    writes_over: bool = True

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return (a[0] @ b[0]).unsqueeze(0) if len(a) == 1 else a @ b

    def addmm(self, c: Tensor, a: Tensor, b: Tensor, *, beta: float, alpha: float) -> Tensor:
        if len(a) == 1:
            return torch.addmm(c[0], a[0], b[0], beta=beta, alpha=alpha).unsqueeze(0)
        return torch.baddbmm(c, a, b, beta=beta, alpha=alpha)

    def transpose(self, a: Tensor) -> Tensor:
        return a.mT

    def lerp(self, a: Tensor, b: Tensor, share: Any, *, out: Tensor | None = None) -> Tensor:
        share = share.to(a.dtype) if isinstance(share, Tensor) else share
        return torch.lerp(a, b, share, out=self._over(out))

    def mean(self, a: Tensor, axis: int) -> Tensor:
        return a.mean(axis, keepdim=True)

    def norm(self, a: Tensor) -> Tensor:
        return norm_of_each(a)

    def add(self, a: Tensor, b: Tensor, *, alpha: Any, out: Tensor | None = None) -> Tensor:
        if isinstance(alpha, Tensor):
            return a + alpha * b
        return torch.add(a, b, alpha=alpha, out=self._over(out))

    def multiply(self, a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
        return torch.mul(a, b, out=self._over(out))

    def divide(self, a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
        return torch.div(a, b, out=self._over(out))

    def sqrt(self, a: Tensor, *, out: Tensor | None = None) -> Tensor:
        return torch.sqrt(a, out=self._over(out))

    def _over(self, out: Tensor | None) -> Tensor | None:
        """What may be written over."""
        return out if self.writes_over else None

    def maximum(self, a: Any, b: Any) -> Any:
        return _larger(a, b, sign=1)

    def minimum(self, a: Any, b: Any) -> Any:
        return _larger(a, b, sign=-1)

    def bfloat16(self, a: Tensor) -> Tensor:
        return a if self.has_slope else a.bfloat16()

    def astype(self, a: Tensor, like: Tensor) -> Tensor:
        return a.to(like.dtype, memory_format=torch.contiguous_format)

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


MOST_ELEMENTS = 2**17
"""Of a stack, so that it and what is made of it stay in a core's cache."""


class MatrixUpdate:
    """One update of one group by a matrix rule: tensors of one shape and count go at once.

    What is spread over ranks is gathered, every rank computes the same, and keeps its part of it.
    """

    def __init__(self, group: Group, grads: Sequence[Tensor | None], order: Order):
        assert isinstance(group.formula, MatrixRule)
        self.group = group
        self.order = order
        self.rule = group.formula
        self.grads = {i: g for i, g in enumerate(grads) if g is not None}
        count(group, list(self.grads), order.skip)
        self._keys = keys_for(group)
        is_followed = group.is_differentiable
        self._arrays = TorchArrays(
            has_slope=is_followed, writes_over=not is_followed and isinstance(order.skip, bool)
        )

    def run(self) -> Tensor:
        """As `GroupUpdate.run`."""
        sums = no_sums(self.group)
        for indices, t in self._stacks():
            sums[indices] = self._run(indices, t)
        return sums

    def _stacks(self) -> Iterator[tuple[list[int], Any]]:
        """Tensors that are updated at once, and their count; those without elements are left out.

        On a device, where reading counts would wait for them, each has its own.
        """
        steps = self.group.steps
        known = steps.tolist() if steps.device.type == "cpu" else [None] * len(steps)
        alike: dict[Any, list[int]] = {}
        for i, g in self.grads.items():
            alike.setdefault((g.shape, known[i]), []).append(i)
        for (shape, t), members in alike.items():
            size = math.prod(shape)
            most = max(1, MOST_ELEMENTS // max(1, size))
            for k in range(0, len(members) if size else 0, most):
                indices = members[k : k + most]
                yield indices, steps[indices].view(-1, *[1] * len(shape)) if t is None else t

    def _run(self, indices: list[int], t: Any) -> Tensor:
        """Update a stack; its four sums for each tensor, (n, 4)."""
        group, order = self.group, self.order
        targets = [targets_of(group, i) for i in indices]
        arithmetic = arithmetic_of(group, targets[0][0])
        g = self._stacked([plain(group, self.grads[i]) for i in indices]).to(arithmetic)
        old = [self._stacked(column).to(arithmetic) for column in zip(*targets, strict=True)]
        squares = squares_of_each(g)
        if order.skip is True:
            moved, new = torch.zeros_like(squares), old
        else:
            stored = targets[0][0].dtype
            p = true_p(group, old, stored)
            step, *states = self._asked(t, p, old, order.clipped(g, norm_of_each))
            moved = squares_of_each(step)
            new = self._new(p, old, step, states, stored)
            for k, i in enumerate(indices):
                like = targets[k]
                values = [spread_as(value[k], to) for value, to in zip(new, like, strict=True)]
                store(like, values, self._keys[i], order.skip)
        columns = [
            squares * order.scale**2,
            moved,
            squares_of_each(new[0]),
            bad_of_each(g, squares),
        ]
        return torch.stack(columns, 1)

    def _stacked(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors one behind the other; the same memory where there is one that nothing follows."""
        if len(tensors) == 1 and not self.group.is_differentiable:
            return whole(tensors[0]).unsqueeze(0)
        return torch.stack([whole(tensor) for tensor in tensors])

    def _asked(self, t: Any, p: Tensor, old: Sequence[Tensor], g: Tensor) -> Sequence[Tensor]:
        """The rule's step and states; p is what the first of the old tensors stands for."""
        group = self.group
        states = old[1 : 1 + len(self.rule.states)]
        t = t.to(g.dtype) if isinstance(t, Tensor) else t
        hyper = [group.hyper[name] for name in self.rule.wanted]
        return self.rule.update(self._arrays, t, p, g, *states, *hyper)

    def _new(
        self,
        p: Tensor,
        old: Sequence[Tensor],
        step: Tensor,
        states: Sequence[Tensor],
        stored: torch.dtype,
    ) -> list[Tensor]:
        """p and all that is kept with it; the step may be written over."""
        if self.group.rounding == "kahan":
            return with_kahan(old, [step, *states], step, stored)
        moved = self._arrays.add(p, step, alpha=-1, out=step)
        return [moved, *states, *([moved] if self.group.rounding == "master" else [])]


def norm_of_each(stack: Tensor) -> Tensor:
    """Of each tensor of a stack; the other axes stay, of length 1."""
    norms = torch.linalg.vector_norm(stack.reshape(len(stack), -1), dim=1)
    return norms.view(-1, *[1] * (stack.ndim - 1))


@torch.no_grad()
def squares_of_each(stack: Tensor) -> Tensor:
    """The sum of each tensor's squares, in double from the norms of rows on, (n,)."""
    wide = torch.float32 if stack.device.type == "mps" else torch.float64
    rows = torch.linalg.vector_norm(stack.unsqueeze(1), dim=-1).to(wide)
    squares = rows.reshape(len(stack), -1).square().sum(1)
    if stack.device.type == "cpu" and not squares.isfinite().all():
        return stack.to(wide).reshape(len(stack), -1).square().sum(1)
    return squares


def bad_of_each(stack: Tensor, squares: Tensor) -> Tensor:
    """How many elements of each tensor are not finite; only looked for if a sum is not."""
    if stack.device.type == "cpu" and squares.isfinite().all():
        return torch.zeros_like(squares)
    return (~torch.isfinite(stack)).reshape(len(stack), -1).sum(1).to(squares.dtype)
