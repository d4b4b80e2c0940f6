"""Does a step make the overlap of a mask with its target smaller? Told by the loss's gradient.

That of 2 |p t| / (|p| + |t|), or of |p t| / |p or t|, by a probability p has two values, above 0
where t is 1 and below where it is 0, and the first is the larger. Of 1 less the overlap both are
turned round, however it is written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.probes.graph import PASSING, below, kind_of, shape_of

AROUND = (*PASSING, "Neg", "Rsub", "Sub", "Add", "Mul", "Div", "Mean", "Sum")
"""Nodes with one thing below that may stand between the loss and the ratio."""

SUMS = (*PASSING, "Add", "Sub", "Mul", "Div", "Sum", "Mean", "Clamp", "ClampMin", "Rsub")
MOST_NODES = 60

CLOSE, LARGER, STEEP = 1e-3, 1.05, 1e-4


def ratio_of(loss: Any, output: Any) -> tuple[str, int] | None:
    """ "Sigmoid" or "" for what stands between an output and a loss that is a ratio of its sums,
    and of how many ratios that is the mean; None where it is none.

    >>> x = torch.zeros(4, requires_grad=True) * 1.0
    >>> p = x.sigmoid()
    >>> ratio_of((1 - 2 * p[:2].sum() / (p.sum() + 2)).grad_fn, x.grad_fn)
    ('Sigmoid', 1)
    """
    while len(below(loss)) == 1 and kind_of(loss) in AROUND:
        loss = below(loss)[0]
    if kind_of(loss) != "Div" or len(below(loss)) != 2 or len(shape_of(loss)) > 1:
        return None
    num = shape_of(loss)[0] if shape_of(loss) else 1
    units = {unit_above(node, output) for node in below(loss)}
    unit = units.pop()
    return (unit, num) if not units and unit is not None else None


def unit_above(root: Any, output: Any) -> str | None:
    """The same of one of the two sums."""
    waiting, seen, found = [root], set(), None
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if node is output:
            found = found or ""
        elif kind_of(node) == "Sigmoid":
            inner = below(node)[0]
            while inner is not output and kind_of(inner) in PASSING and len(below(inner)) == 1:
                inner = below(inner)[0]
            if inner is not output:
                return None
            found = "Sigmoid"
        elif kind_of(node) in SUMS:
            waiting += below(node)
        else:
            return None
    return found


@torch.no_grad()
def is_lowered(unit: str, num: int, values: Tensor, gradient: Tensor) -> bool:
    """Does the step lower the overlap, in each of so many parts of the batch?

    >>> x, t = torch.zeros(6, requires_grad=True), torch.tensor([1.0, 1, 0, 0, 0, 0])
    >>> p = x.sigmoid()
    >>> (2 * (p * t).sum() / (p.sum() + t.sum())).backward()
    >>> is_lowered("Sigmoid", 1, x.detach(), x.grad)
    True
    """
    if gradient.shape != values.shape or values.numel() % num:
        return False
    p = values.double().sigmoid()
    slope = p * (1 - p) if unit else torch.ones_like(p)
    known = (slope > STEEP).reshape(num, -1)
    by = (gradient.double() / slope).reshape(num, -1)
    high = torch.where(known, by, -torch.inf).amax(1, keepdim=True)
    low = torch.where(known, by, torch.inf).amin(1, keepdim=True)
    close = CLOSE * torch.maximum(high.abs(), low.abs())
    is_two = ((by - high).abs() < close) | ((by - low).abs() < close) | ~known
    are_both = (high > 0) & (low < 0)
    if not bool(is_two.all()) or not bool(are_both.any()):
        return False
    return bool((high > LARGER * -low)[are_both].all())
