"""What a cross-entropy asked of a model's outputs, told by its gradient: classes, and which way.

By a sample's outputs it is c (softmax - one-hot), with c above 0: the class is the place below 0.
The same times -1 makes that class less likely. No graph is asked, so that it does not matter how
the loss was written, or whether its backward pass is over.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.facts import Labels

CLOSE = 1e-3
"""Of a row's largest slope, what rounding may leave."""

OPEN = 1e-4
"""The least that a class must lack of probability 1, or its row tells nothing."""

MOST = 0.999
"""Of the rows that must be so."""

FEWEST_NEXT, FEWEST_VARIED = 16, 4
"""Symbols, and different ones among them, by which it is told that they are the inputs'."""


@dataclass(frozen=True, slots=True)
class Answers:
    """classes: by sample (and place), -1 where none counts; is_raised: they were made less likely;
    width: of how many
    """

    classes: Tensor
    is_raised: bool
    width: int


@torch.no_grad()
def answers(values: Tensor, gradient: Tensor) -> Answers | None:
    """None where the gradient is that of no cross-entropy of these outputs.

    >>> x = torch.tensor([[1.0, 0.0, 2.0], [0.5, 3.0, 0.0]], requires_grad=True)
    >>> y = torch.tensor([2, 0])
    >>> (-2 * torch.nn.functional.cross_entropy(x, y)).backward()
    >>> found = answers(x.detach(), x.grad)
    >>> found.classes, found.is_raised
    (tensor([2, 0]), True)
    """
    if values.ndim < 2 or gradient.shape != values.shape:
        return None
    for axis in dict.fromkeys((values.ndim - 1, 1)):
        width = values.shape[axis]
        if width < 2:
            continue
        moved = values.movedim(axis, -1), gradient.movedim(axis, -1)
        rows, slopes = (each.reshape(-1, width).double() for each in moved)
        counts = slopes.abs().amax(1) > 0
        if not bool(counts.any()):
            return None
        p, g = rows[counts].softmax(1), slopes[counts]
        usual, turned = fitted(p, g), fitted(p, -g)
        best = usual if turned is None or (usual is not None and usual[1] >= turned[1]) else turned
        if best is not None:
            classes = torch.full((len(rows),), -1, device=rows.device)
            classes[counts] = best[0]
            return Answers(classes.reshape(moved[0].shape[:-1]), best is turned, width)
    return None


def fitted(p: Tensor, g: Tensor) -> tuple[Tensor, bool] | None:
    """The classes of which g is c (p - one-hot), and whether c is the same for all samples; None
    where it is not so.
    """
    least, at = g.min(1)
    lacks = 1 - p.gather(1, at[:, None])[:, 0]
    known = lacks > OPEN
    if not bool(known.any()):
        return None
    c = torch.where(known, -least / lacks.clamp(min=OPEN), 0.0)
    expected = c[:, None] * p
    expected.scatter_add_(1, at[:, None], -c[:, None])
    close = (g - expected).abs().amax(1) <= CLOSE * g.abs().amax(1)
    is_so = close & (c > 0)
    if float(is_so[known].double().mean()) < MOST:
        return None
    c = c[known]
    return at, bool((c.max() - c.min()) <= 10 * CLOSE * c.max())


@torch.no_grad()
def labels_of(found: Answers, given: Tensor | None) -> Labels:
    """As plain facts. given: the symbols that went in, where the model was given nothing else"""
    classes = found.classes
    kept = classes[classes >= 0]
    distinct = kept.unique()
    is_same = is_next = False
    if given is not None and given.shape == classes.shape and classes.ndim == 2:
        is_same = are_equal(classes, given)
        is_next = are_equal(classes[:, :-1], given[:, 1:]) and not is_same
    return Labels(
        num=kept.numel(),
        distinct=len(distinct),
        only=int(distinct[0]) if len(distinct) == 1 else -1,
        width=found.width,
        is_one_each=classes.ndim == 1,
        are_given=is_same,
        are_next=is_next,
    )


def are_equal(classes: Tensor, symbols: Tensor) -> bool:
    """Are all that count those symbols, and these of several kinds?"""
    counts = classes >= 0
    kept = classes[counts]
    is_enough = kept.numel() >= FEWEST_NEXT and len(kept.unique()) >= FEWEST_VARIED
    return is_enough and bool((kept == symbols.to(kept.device)[counts]).all())
