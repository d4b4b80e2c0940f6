"""Is a squared error divided by a scale that the model gives, and does nothing hold that down?

Then the loss falls without end as the scale rises. What holds it is the scale's logarithm, added.
"""

from __future__ import annotations

from typing import Any

from thalweg.probes.cosines import passed
from thalweg.probes.graph import LAYERS, PASSING, below, kind_of

REDUCING = (*PASSING, "Mean", "Sum", "Mul", "Div")
"""Nodes with one thing below that may stand between the loss and the quotient."""

UNARY = {
    *PASSING,
    *("Exp", "Neg", "Softplus", "Pow", "Mul", "Div", "Add", "Sub", "Rsub", "Sqrt", "Reciprocal"),
    *("Clamp", "ClampMin", "Abs", "Sigmoid"),
}
SQUARES = ("Pow", "Mul", "MseLoss", "SmoothL1Loss", "HuberLoss", "Abs")

Source = tuple[Any, ...]


def is_unheld(root: Any) -> bool:
    """Is it so of this loss?

    >>> import torch
    >>> mean, log_var = (torch.randn(8, 2, requires_grad=True) * 1).unbind(1)
    >>> error = (torch.ones(8) - mean) ** 2
    >>> scaled = error * (-log_var).exp()
    >>> [is_unheld(each.mean().grad_fn) for each in (scaled, scaled + log_var)]
    [True, False]
    """
    while len(below(root)) == 1 and kind_of(root) in REDUCING:
        root = below(root)[0]
    nodes = below(root) if kind_of(root) in ("Mul", "Div") else []
    if len(nodes) != 2:
        return False
    pairs = [nodes] if kind_of(root) == "Div" else [nodes, nodes[::-1]]
    return any(is_quotient(error, scale, kind_of(root)) for error, scale in pairs)


def is_quotient(error: Any, scale: Any, kind: str) -> bool:
    """Is an error divided by a scale that comes from elsewhere? kind: "Mul" where it is multiplied
    by the scale's inverse
    """
    if kind == "Mul" and not is_inverse(scale):
        return False
    away, divided = source_of(under_square(error)), source_of(scale)
    return away is not None and divided is not None and away != divided


def is_inverse(node: Any) -> bool:
    """Is it exp(-x), or 1 / x?"""
    node = passed(node)
    if kind_of(node) == "Exp":
        return kind_of(passed(below(node)[0])) == "Neg"
    return kind_of(node) == "Reciprocal"


def under_square(node: Any) -> Any:
    """The difference of which a square or a size is taken, None where it is none."""
    node, nodes = passed(node), below(passed(node))
    is_one = len(nodes) == 1 or (len(nodes) == 2 and nodes[0] is nodes[1])
    if kind_of(node) not in SQUARES or not is_one:
        return None
    if kind_of(node).endswith("Loss"):
        return nodes[0]
    inner = passed(nodes[0])
    return inner if kind_of(inner) == "Sub" and len(below(inner)) == 1 else None


def source_of(node: Any) -> Source | None:
    """Where it comes from, and which part of that: of a layer's output, or of one that was split;
    None where that is not one thing.
    """
    picked: Source = ()
    while node is not None and kind_of(node) not in LAYERS:
        edges = [(each, at) for each, at in node.next_functions if each is not None]
        kind = kind_of(node)
        is_one = len(edges) == 1 or (len(edges) == 2 and edges[0] == edges[1])
        if hasattr(node, "variable") or not is_one or kind not in UNARY:
            return (node, *picked)
        if kind in ("Select", "Slice"):
            names = ("dim", "index", "start", "end")
            picked += tuple(getattr(node, f"_saved_{name}", None) for name in names)
        node, at = edges[0]
        picked += (at,) if at or kind_of(node) in ("Unbind", "Split", "SplitWithSizes") else ()
    return None if node is None else (node, *picked)
