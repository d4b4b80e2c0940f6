"""The targets of `binary_cross_entropy_with_logits`, kept by its graph or told by its gradient."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from thalweg.probes.graph import PASSING, below, kind_of
from thalweg.probes.squared import kept

NODE = "BinaryCrossEntropyWithLogits"
WHOLE = 1e-3
"""How far from a whole number a target may be found."""


def node_of(loss: Any, output: Any) -> Any:
    """The node of such a loss, where it takes the whole output and is all that there is."""
    while kind_of(loss) in ("Mul", "Div") and len(below(loss)) == 1:
        loss = below(loss)[0]
    if kind_of(loss) != NODE or not getattr(loss, "_saved_reduction", 0):
        return None
    node = below(loss)[0] if len(below(loss)) == 1 else None
    while node is not None and node is not output:
        nodes = below(node)
        node = nodes[0] if kind_of(node) in PASSING and len(nodes) == 1 else None
    return loss if node is output and output is not None else None


def targets(node: Any, values: Tensor, gradient: Tensor | None, loss: float) -> Tensor | None:
    """Like `values`; None where they cannot be told.

    The gradient is f (sigmoid(x) - t) / n and the loss f times the mean of softplus(x) - t x, so
    that both give f and t. Where weights or a scaler come in, t is found to be no whole number.

    >>> import torch
    >>> x, t = torch.ones(3, requires_grad=True), torch.tensor([1.0, -1.0, 0.0])
    >>> y = x * 1.0
    >>> y.retain_grad()
    >>> value = torch.nn.functional.binary_cross_entropy_with_logits(y, t) / 4
    >>> value.backward()
    >>> node = node_of(value.grad_fn, y.grad_fn)
    >>> found = targets(node, y.detach(), y.grad, float(value.detach()))
    >>> [round(t) for t in found.tolist()]
    [1, -1, 0]
    """
    known = kept(node, "_saved_target")
    if known is not None:
        return known.reshape(values.shape).double() if known.numel() == values.numel() else None
    if gradient is None:
        return None
    given, slope = values.double(), gradient.double()
    share = given.sigmoid()
    count = given.numel() if node._saved_reduction == 1 else 1
    entropy = float((softplus(given) - given * share).sum()) / count
    factor = (loss - float((given * slope).sum())) / entropy if entropy > 0 else 0.0
    if not factor > 0:
        return None
    found = share - slope * (count / factor)
    return found if float((found - found.round()).abs().max()) < WHOLE else None
