"""Which axis of a softmax holds the classes that a loss takes, through views and transpositions."""

from __future__ import annotations

import math
from typing import Any

from thalweg.probes.graph import below, kind_of, shape_of

CLASSES = 1
"""The axis that `nll_loss` takes for the classes."""


def class_axis(loss: Any, softmax: Any) -> int | None:
    """Of the softmax's output; None where that cannot be followed.

    loss: the node of an `nll_loss`; softmax: one below it

    >>> import torch
    >>> scores = torch.randn(2, 5, 3, requires_grad=True)
    >>> log_p = scores.log_softmax(1)
    >>> loss = torch.nn.functional.nll_loss(log_p.flatten(0, 1), torch.zeros(10).long())
    >>> class_axis(loss.grad_fn, log_p.grad_fn)
    2
    """
    node = below(loss)[0]
    axis: int | None = CLASSES if len(shape_of(node)) > 1 else 0
    while node is not softmax:
        nodes = below(node)
        if axis is None or len(nodes) != 1:
            return None
        axis = before(node, nodes[0], axis)
        node = nodes[0]
    return axis


def before(node: Any, source: Any, axis: int) -> int | None:
    """Where an axis of what a node gives was in what it was computed from."""
    kind, given, made = kind_of(node), shape_of(source), shape_of(node)
    if kind == "Transpose":
        ends = [signed(getattr(node, f"_saved_dim{i}")) % len(made) for i in (0, 1)]
        return ends[1 - ends.index(axis)] if axis in ends else axis
    if kind == "T":
        return 1 - axis
    if kind == "Permute":
        return signed(node._saved_dims[axis]) % len(made)
    ahead = math.prod(made[:axis])
    same = (
        i for i, size in enumerate(given) if size == made[axis] and math.prod(given[:i]) == ahead
    )
    return next(same, None)


def signed(dim: int) -> int:
    """A dimension that counts from the end is kept as 2**64 - 1 and so on."""
    return dim - 2**64 if dim >= 2**63 else dim
