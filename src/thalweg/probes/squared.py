"""Is a loss a squared distance, by torch's function or written by hand, and of what?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from thalweg.probes.graph import PASSING, below, kind_of, number_in, shape_of

REDUCED = ("Mean", "Sum")
UNITS = ("Relu", "Sigmoid", "Tanh")
"""What may stand between the model and the difference: its slope is known from what it gives."""


@dataclass(frozen=True, slots=True)
class Squared:
    """difference: the node that takes the outputs; is_mean: the loss is a mean over it, else a sum;
    factor: what that was multiplied by, None where it is not known (any more, after the backward
    pass); is_by_hand: written as ((o - t) ** 2).mean()
    """

    difference: Any
    is_mean: bool
    factor: float | None
    is_by_hand: bool

    def unit_before(self, output: Any) -> str | None:
        """What stands between an output's node and the difference: a unit, or "" for nothing; None
        where the difference is not taken of this output as it is.
        """
        unit = ""
        node = below(self.difference)[0]
        while node is not output:
            kind = kind_of(node)
            nodes = below(node)
            if len(nodes) != 1 or (kind not in PASSING and (unit or kind not in UNITS)):
                return None
            unit = unit if kind in PASSING else kind
            node = nodes[0]
        return unit


def squared(root: Any) -> Squared | None:
    """None where the loss is no mean or sum of squares of one difference.

    >>> import torch
    >>> o, t = torch.randn(4, 3, requires_grad=True), torch.randn(4, 1)
    >>> found = squared(((o - t) ** 2).mean().grad_fn)
    >>> found.is_by_hand, found.is_mean, kind_of(found.difference)
    (True, True, 'Sub')
    >>> squared((o - t).abs().mean().grad_fn) is None
    True
    """
    node, factor = root, 1.0
    while kind_of(node) in ("Mul", "Div") and len(below(node)) == 1:
        more = number_in(node)
        factor = None if factor is None or more is None else factor * more
        node = below(node)[0]
    if kind_of(node) == "MseLoss":
        reduction = getattr(node, "_saved_reduction", 1)
        return Squared(node, reduction == 1, factor, False) if reduction else None
    reductions = []
    while kind_of(node) in (*REDUCED, *PASSING) and len(below(node)) == 1:
        reductions += [kind_of(node)] if kind_of(node) in REDUCED else []
        node = below(node)[0]
    difference = _under_square(node)
    if not reductions or difference is None:
        return None
    factor = factor if len(set(reductions)) == 1 else None
    return Squared(difference, reductions[0] == "Mean", factor, True)


def _under_square(node: Any) -> Any:
    """The difference of something that learns and something that does not, which is squared."""
    kind, nodes = kind_of(node), below(node)
    is_power = kind == "Pow" and getattr(node, "_saved_exponent", 0) == 2
    is_product = kind == "Mul" and len(nodes) == 2 and nodes[0] is nodes[1]
    if not nodes or not (is_power or is_product):
        return None
    inner = nodes[0]
    while kind_of(inner) in PASSING and len(below(inner)) == 1:
        inner = below(inner)[0]
    is_one = kind_of(inner) == "Sub" and len(below(inner)) == 1
    return inner if is_one and shape_of(inner) else None
