"""Is a loss a distance, squared or absolute, by torch's function or by hand, and of what?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from thalweg.probes.graph import PASSING, below, kind_of, number_in, shape_of

REDUCED = ("Mean", "Sum")
TORCHS = ("MseLoss", "SmoothL1Loss", "HuberLoss")
UNITS = ("Relu", "Sigmoid", "Tanh")
"""What may stand between the model and the difference: its slope is known from what it gives."""


@dataclass(frozen=True, slots=True)
class Squared:
    """difference: the node that takes the outputs; is_mean: the loss is a mean over it, else a sum;
    factor: what that was multiplied by, None where it is not known (any more, after the backward
    pass); is_root: its root is the loss; is_by_hand: written as ((o - t) ** 2).mean()
    has_slope: its gradient tells how far the targets are: not so of absolute distances
    is_at_once: one mean or sum is taken over all of it
    target, away: the targets, or the outputs less these, where the graph still keeps them
    """

    difference: Any
    is_mean: bool
    factor: float | None
    is_root: bool
    is_by_hand: bool
    has_slope: bool
    is_at_once: bool = True
    target: Tensor | None = None
    away: Tensor | None = None

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
    """None where the loss is no mean or sum, of squares or sizes, of one difference.

    >>> import torch
    >>> o, t = torch.randn(4, 3, requires_grad=True), torch.randn(4, 1)
    >>> found = squared(((o - t) ** 2).mean().grad_fn)
    >>> found.is_by_hand, found.is_mean, kind_of(found.difference)
    (True, True, 'Sub')
    >>> squared(((o - t) ** 4).mean().grad_fn) is None
    True
    """
    node, factor, is_root = root, 1.0, False
    while kind_of(node) in ("Mul", "Div", "Sqrt") and len(below(node)) == 1:
        more = number_in(node) if kind_of(node) != "Sqrt" and not is_root else None
        is_first_root = kind_of(node) == "Sqrt" and not is_root
        if not is_first_root:
            factor = None if factor is None or more is None else factor * more
        is_root = is_root or is_first_root
        node = below(node)[0]
    if kind_of(node) in TORCHS:
        return _torchs(node, factor, is_root)
    reductions = []
    while kind_of(node) in (*REDUCED, *PASSING) and len(below(node)) == 1:
        reductions += [kind_of(node)] if kind_of(node) in REDUCED else []
        node = below(node)[0]
    difference = _under_square(node)
    if not reductions or difference is None:
        return None
    factor = factor if len(set(reductions)) == 1 else None
    is_mean, has_slope = reductions[0] == "Mean", kind_of(node) != "Abs"
    away = kept(node, "_saved_self")
    if away is not None and difference.next_functions[0][0] is None:
        away = -away
    is_at_once = len(reductions) == 1
    return Squared(difference, is_mean, factor, is_root, True, has_slope, is_at_once, away=away)


def _torchs(node: Any, factor: float | None, is_root: bool) -> Squared | None:
    """One of torch's own losses; None where it is not reduced to a number."""
    reduction = getattr(node, "_saved_reduction", 1)
    if not reduction or len(below(node)) != 1:
        return None
    is_swapped = node.next_functions[0][0] is None
    target = kept(node, "_saved_self" if is_swapped else "_saved_target")
    has_slope = kind_of(node) == "MseLoss"
    return Squared(node, reduction == 1, factor, is_root, False, has_slope, target=target)


def kept(node: Any, name: str) -> Tensor | None:
    """A tensor that a node keeps for its backward pass, which lets go of it."""
    try:
        found = getattr(node, name, None)
    except RuntimeError:
        return None
    return found.detach() if isinstance(found, Tensor) else None


def _under_square(node: Any) -> Any:
    """The difference of something that learns and something that does not, of which the square, or
    the absolute value, is taken.
    """
    kind, nodes = kind_of(node), below(node)
    is_power = kind == "Pow" and getattr(node, "_saved_exponent", 0) == 2
    is_product = kind == "Mul" and len(nodes) == 2 and nodes[0] is nodes[1]
    if not nodes or not (is_power or is_product or kind == "Abs"):
        return None
    inner = nodes[0]
    while kind_of(inner) in PASSING and len(below(inner)) == 1:
        inner = below(inner)[0]
    is_one = kind_of(inner) == "Sub" and len(below(inner)) == 1
    return inner if is_one and shape_of(inner) else None
