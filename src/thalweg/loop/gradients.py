"""The gradients of a batch's shards, summed along a fixed binary tree.

    shards  0 1 2 3 4      (0 + 1) + (2 + 3)  +  4

The tree is that over the next power of two, missing leaves empty, so that the sum does not depend
on how many machines hold an aligned part of it. At most log2(shards) + 1 gradients are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Grads = list[Tensor | None]

_add: Any = torch._foreach_add_  # pyright: ignore[reportPrivateImportUsage]
_multiply: Any = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]


class OrderedSum:
    """The sum of the gradients in `.grad` of each shard.

    >>> p = torch.zeros(2, requires_grad=True)
    >>> total = OrderedSum([p])
    >>> for shard in range(3):
    ...     (p * (shard + 1)).sum().backward()
    ...     total.add()
    >>> total.finish(); p.grad
    tensor([6., 6.])
    """

    def __init__(self, params: Sequence[Tensor]):
        self._params = params
        self._stack: list[tuple[int, Grads]] = []  # (shards in it, their sum), large to small

    def add(self, factor: float = 1.0) -> None:
        """Take a shard's gradients, which stand in `.grad`, times a factor."""
        size, grads = 1, [p.grad for p in self._params]
        if factor != 1.0:
            _multiply([g for g in grads if g is not None], factor)
        for p in self._params:
            p.grad = None
        while self._stack and self._stack[-1][0] == size:
            grads = _sum(self._stack.pop()[1], grads)
            size *= 2
        self._stack.append((size, grads))

    def finish(self, factor: float = 1.0) -> None:
        """Leave the sum, times a factor, in `.grad`."""
        _, grads = self._stack.pop()
        while self._stack:
            grads = _sum(self._stack.pop()[1], grads)
        if factor != 1.0:
            _multiply([g for g in grads if g is not None], factor)
        for p, g in zip(self._params, grads, strict=True):
            p.grad = g


@torch.no_grad()
def _sum(left: Grads, right: Grads) -> Grads:
    """left + right, in the memory of left where it can be."""
    pairs = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
    if any(a.is_sparse or b.is_sparse for a, b in pairs):
        return [
            b if a is None else a if b is None else a + b for a, b in zip(left, right, strict=True)
        ]
    if pairs:
        _add([a for a, _ in pairs], [b for _, b in pairs])
    return [b if a is None else a for a, b in zip(left, right, strict=True)]
