"""The labels of a loss of margins, -1 and 1 as they should be, told by its gradient.

By an output x that of soft margin, log(1 + exp(-t x)), is never 0 but for t = 0; that of a hinge,
max(0, 1 - t x), is 0 too where the margin is met, which no x between -1 and 1 does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.probes.graph import PASSING, below, kind_of, shape_of

CUT = ("Relu", "ClampMin", "Clamp")
SUMMED = ("Mean", "Sum", "Mul", "Div")


def hinged(node: Any) -> Any:
    """What is multiplied by labels under a hinge, where a node is one; else None."""
    inner = only(node) if kind_of(node) in CUT else None
    product = only(inner) if inner is not None and kind_of(inner) == "Rsub" else None
    return only(product) if product is not None and kind_of(product) == "Mul" else None


def only(node: Any) -> Any:
    """The one node below."""
    nodes = below(node)
    return nodes[0] if len(nodes) == 1 else None


def node_of(loss: Any, output: Any) -> Any:
    """The node of such a loss of the very output, where that is all that there is."""
    while kind_of(loss) in SUMMED and shape_of(loss) == () and len(below(loss)) == 1:
        loss = below(loss)[0]
    inner = only(loss) if kind_of(loss) == "SoftMarginLoss" else hinged(loss)
    while inner is not None and inner is not output:
        inner = only(inner) if kind_of(inner) in PASSING else None
    return loss if inner is not None else None


def labels(node: Any, values: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """-1, 0 or 1 by value, and where it is known.

    >>> x = torch.tensor([0.5, -0.2, 0.1], requires_grad=True)
    >>> y, t = x * 1.0, torch.tensor([1.0, -1.0, 0.0])
    >>> y.retain_grad()
    >>> loss = (1 - t * y).relu().mean()
    >>> loss.backward()
    >>> labels(node_of(loss.grad_fn, y.grad_fn), y.detach(), y.grad)[0]
    tensor([ 1., -1.,  0.])
    """
    is_soft = kind_of(node) == "SoftMarginLoss"
    known = torch.ones_like(values, dtype=torch.bool) if is_soft else values.abs() < 1
    return -gradient.sign() + 0.0, known
