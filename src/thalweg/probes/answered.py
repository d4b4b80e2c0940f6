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

LIKELY, MOST_MARKED = 1e-4, 0.7
"""Of the classes by which it is told how many a target marks; and the share of the rows that must
be so: of one that marks every class it cannot be told.
"""

FEWEST_TOLD, FEWEST_OF_CLASS = 24, 4
"""Samples of a batch, and of each of three classes, by which a column tells them."""

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
def marked(values: Tensor, gradient: Tensor) -> tuple[int, int] | None:
    """The fewest and the most classes that a sample's target has at 1, where a cross-entropy was
    given such targets: by a sample's outputs its gradient is c (k softmax - t), for k ones in t.

    >>> x = torch.zeros(3, 4, requires_grad=True)
    >>> t = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1]])
    >>> torch.nn.functional.cross_entropy(x, t).backward()
    >>> marked(x.detach(), x.grad)
    (1, 3)
    """
    if values.ndim != 2 or gradient.shape != values.shape or values.shape[1] < 2:
        return None
    p, g = values.double().softmax(1), gradient.double()
    counts = g.abs().amax(1) > 0
    top = torch.where(p > LIKELY, g / p, -torch.inf).amax(1, keepdim=True)
    marks = top * p - g
    largest = marks.amax(1)[counts]
    if not len(largest) or not bool(largest.isfinite().all()):
        return None
    c = float(largest.median())
    is_one = marks > 0.5 * c
    num = is_one.sum(1)
    close = 10 * CLOSE * c
    is_so = ((marks - c * is_one).abs().amax(1) < close) & ((top[:, 0] - c * num).abs() < close)
    if c <= 0 or float(is_so[counts].double().mean()) < MOST_MARKED:
        return None
    return int(num[counts & is_so].min()) if bool(counts.all()) else 0, int(num[is_so].max())


@torch.no_grad()
def labels_of(found: Answers, given: Tensor | None) -> Labels:
    """As plain facts. given: the symbols that went in, where the model was given nothing else"""
    classes = found.classes
    kept = classes[classes >= 0]
    distinct = kept.unique()
    is_same = is_next = False
    if given is not None and given.shape == classes.shape and classes.ndim == 2:
        is_same = are_equal(classes, given)
        is_next = are_next(classes, given) and not is_same
    return Labels(
        num=kept.numel(),
        distinct=len(distinct),
        only=int(distinct[0]) if len(distinct) == 1 else -1,
        width=found.width,
        is_one_each=classes.ndim == 1,
        are_given=is_same,
        are_next=is_next,
        are_crossed=given is not None and are_crossed(classes, given),
    )


def are_equal(classes: Tensor, symbols: Tensor) -> bool:
    """Are all that count those symbols, and these of several kinds?"""
    counts = classes >= 0
    kept = classes[counts]
    is_enough = kept.numel() >= FEWEST_NEXT and len(kept.unique()) >= FEWEST_VARIED
    return is_enough and bool((kept == symbols.to(kept.device)[counts]).all())


def telling_column(rows: Tensor, classes: Tensor) -> int:
    """A column that has one value for each of three classes or more, and another for each; -1 where
    none has.

    >>> y = torch.arange(32) % 3
    >>> telling_column(torch.stack([torch.randn(32), 2.0 * y - 1], 1), y)
    1
    """
    counts = classes.unique(return_counts=True)
    if len(rows) != len(classes) or len(classes) < FEWEST_TOLD or bool((classes < 0).any()):
        return -1
    if len(counts[0]) < 3 or int((counts[1] >= FEWEST_OF_CLASS).sum()) < 3:
        return -1
    rows = rows.to(classes.device)  # a model may move what it is given
    of_class = [rows[classes == each] for each in counts[0]]
    values = torch.stack([few[0] for few in of_class])
    is_one = torch.stack([(few == few[:1]).all(0) for few in of_class]).all(0)
    places = is_one.nonzero().flatten().tolist()
    return next((at for at in places if len(values[:, at].unique()) == len(values)), -1)


def are_next(classes: Tensor, symbols: Tensor) -> bool:
    """Is each class the symbol that comes after the one at its place?"""
    return are_equal(classes[:, :-1], symbols[:, 1:])


def are_crossed(classes: Tensor, symbols: Tensor) -> bool:
    """Are these the symbols, or those that follow, read line by line where the outputs stand the
    other way round?
    """
    for lines in (symbols, symbols.T):
        if classes.ndim == 2 and classes.shape == lines.shape[::-1] != lines.shape:
            read = classes.reshape(lines.shape)
            if are_next(read, lines) or are_equal(read, lines):
                return True
    return False
