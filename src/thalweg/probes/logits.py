"""The targets of `binary_cross_entropy_with_logits`, kept by its graph or told by its gradient."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from thalweg.probes.graph import PASSING, below, kind_of
from thalweg.probes.squared import kept

NODE = "BinaryCrossEntropyWithLogits"
CLOSE = 1e-3
"""Of the loss's value: how near one must come that is worked out again from the targets."""


def node_of(loss: Any, output: Any) -> Any:
    """The node of such a loss, where it takes the whole output and is the loss itself."""
    if kind_of(loss) != NODE or not getattr(loss, "_saved_reduction", 0):
        return None
    node = below(loss)[0] if len(below(loss)) == 1 else None
    while node is not None and node is not output:
        nodes = below(node)
        node = nodes[0] if kind_of(node) in PASSING and len(nodes) == 1 else None
    return loss if node is output and output is not None else None


def targets(node: Any, values: Tensor, gradient: Tensor | None, loss: float) -> Tensor | None:
    """Like `values`; None where they cannot be told: the gradient is (sigmoid(x) - t) / n, unless
    classes or samples have weights.

    >>> import torch
    >>> x, t = torch.zeros(3, requires_grad=True), torch.tensor([1.0, -1.0, 0.0])
    >>> y = x * 1.0
    >>> y.retain_grad()
    >>> value = binary_cross_entropy_with_logits(y, t)
    >>> value.backward()
    >>> found = targets(value.grad_fn, y.detach(), y.grad, float(value.detach()))
    >>> [round(t) for t in found.tolist()]
    [1, -1, 0]
    """
    known = kept(node, "_saved_target")
    if known is not None:
        return known.reshape(values.shape).double() if known.numel() == values.numel() else None
    if gradient is None:
        return None
    is_mean = node._saved_reduction == 1
    found = values.double().sigmoid() - gradient.double() * (values.numel() if is_mean else 1)
    reduction = "mean" if is_mean else "sum"
    again = float(binary_cross_entropy_with_logits(values.double(), found, reduction=reduction))
    return found if math.isclose(again, loss, rel_tol=CLOSE, abs_tol=CLOSE) else None
