"""The model's output in one step, and the targets of a distance to them.

Before the backward pass the graph keeps them. Afterwards the gradient tells: that of
mean((o - t)^2) by o is 2 (o - t) / n, times a scale that the loss's own value gives. So t is known
without asking anyone for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.facts import Labels, Targets
from thalweg.probes import logits, margins
from thalweg.probes.ahead import sees_ahead
from thalweg.probes.answered import answers, labels_of, marked, telling_column
from thalweg.probes.graph import PASSING, below, kind_of, shape_of
from thalweg.probes.loss_graph import LOSSES, first_below, head_of
from thalweg.probes.overlap import is_lowered, ratio_of
from thalweg.probes.squared import Squared, kept, squared

MOST_VALUES = 1_000_000
WHOLE = 1e-3
"""How far from a whole number a target may be found: float32's rounding of a difference."""

MOST_DISTINCT = 200
"""Whole numbers whose counts are kept."""

FEWEST_DROPPED, BY_CHANCE = 32, 0.2
"""Values by which a dropout is known, and how far the share of zeros may lie from its rate."""

STEEP = 1e-3
"""The least slope of a unit through which a gradient is traced back."""


@dataclass(frozen=True, slots=True)
class _Loss:
    """A squared loss of the output. unit: between the two, "" for none"""

    value: float
    of: Squared
    unit: str


class Output:
    """Keeps an output of the model, and its gradient, until `close`. given: what the model was
    given, where that was whole numbers, (samples, places), or numbers, (samples, columns), and
    nothing else
    """

    def __init__(self, output: Tensor, given: Tensor | None = None):
        self._node = output.grad_fn
        self._values = output.detach()
        self._version = output._version
        self._gradient: Tensor | None = None
        self._loss: _Loss | None = None
        self._logits: tuple[Any, float] | None = None
        self._margin: Any = None
        self._handle: Any = output.register_hook(self._keep) if self._is_small else None
        self.is_finite = bool(torch.isfinite(self._values).all())
        self.differ = differ(self._values)
        self.shape = tuple(output.shape)
        is_table = given is not None and given.is_floating_point()
        self._rows, symbols = (given, None) if is_table else (None, given)
        self._symbols = symbols
        self.telling = -1
        self._overlap: tuple[str, int] | None = None
        self.sees_ahead = symbols is not None and sees_ahead(output, symbols.shape[1])
        self._drop, self._dropped = dropout_behind(output)
        self.dropped = 0.0

    @property
    def _is_small(self) -> bool:
        return self._values.numel() <= MOST_VALUES and self._values.dtype == torch.float32

    def _keep(self, gradient: Tensor) -> None:
        self._gradient = gradient.detach()

    def saw_loss(self, loss: Tensor) -> None:
        """Is it a squared loss of this output, or one of yes or no?"""
        if loss.grad_fn is None:
            return
        if self._drop is not None and takes(loss.grad_fn, self._drop):
            self.dropped = self._dropped
        node = logits.node_of(loss.grad_fn, self._node)
        if node is not None:
            self._logits = node, float(loss.detach())
        self._margin = margins.node_of(loss.grad_fn, self._node)
        self._overlap = ratio_of(loss.grad_fn, self._node)
        found = squared(loss.grad_fn)
        if found is None or not self._is_whole(found):
            return
        unit = found.unit_before(self._node)
        if unit is not None:
            self._loss = _Loss(float(loss.detach()), found, unit)

    def _is_whole(self, found: Squared) -> bool:
        """Is a difference taken of every value of the output, once?"""
        nodes = [below(found.difference)[0]] + [found.difference] * found.is_by_hand
        return all(math.prod(shape_of(node)) == self._values.numel() for node in nodes)

    def close(self) -> None:
        """Let go of the tensors."""
        if self._handle is not None:
            self._handle.remove()
        self._node = self._gradient = self._logits = self._margin = None
        self._drop = self._symbols = self._rows = None

    @torch.no_grad()
    def asked(self) -> tuple[Labels | None, bool]:
        """The classes that a cross-entropy asked for, and whether it made them less likely."""
        slopes = self._slopes
        found = None if slopes is None else answers(self._values, slopes)
        if found is None:
            return None, False
        if self._rows is not None and found.classes.ndim == 1:
            self.telling = telling_column(self._rows, found.classes)
        return labels_of(found, self._symbols), found.is_raised

    @property
    def _slopes(self) -> Tensor | None:
        """The gradient, where it is that of the values as they stand."""
        is_known = self.is_finite and self._values._version == self._version
        return self._gradient if is_known else None

    def is_overlap_lowered(self) -> bool:
        """Is the loss an overlap of masks, which the step makes smaller?"""
        slopes, found = self._slopes, self._overlap
        if slopes is None or found is None:
            return False
        return is_lowered(*found, self._values, slopes)

    def marks(self) -> tuple[int, int] | None:
        """How many classes a target of a cross-entropy had at 1."""
        slopes = self._slopes
        return None if slopes is None else marked(self._values, slopes)

    @torch.no_grad()
    def targets(self) -> Targets | None:
        """None where the loss is neither of this output, or the gradient was not seen."""
        if self._values._version != self._version or not self.is_finite:
            return None
        return self._of_labels() or self._of_distance()

    def _of_labels(self) -> Targets | None:
        """Of a loss of yes or no."""
        gradient = self._gradient
        found, known = None, torch.ones_like(self._values, dtype=torch.bool)
        if self._logits is not None:
            node, value = self._logits
            found = logits.targets(node, self._values, gradient, value)
        elif self._margin is not None and gradient is not None:
            found, known = margins.labels(self._margin, self._values, gradient)
        is_any = found is not None and bool(known.any())
        return described(found, known, self._values) if is_any and found is not None else None

    def _of_distance(self) -> Targets | None:
        loss, gradient = self._loss, self._gradient
        if loss is None:
            return None
        given, slope = through(loss.unit, self._values.double())
        of = loss.of
        if of.target is not None or of.away is not None:
            found = of.target if of.away is None else given - of.away.reshape(given.shape)
            assert found is not None
            found = found.reshape(given.shape).double()
            return described(found, torch.ones_like(found, dtype=torch.bool), self._values)
        if gradient is None or not of.has_slope:
            return None
        known = slope > STEEP
        gradient = gradient.double() / torch.where(known, slope, torch.inf)
        found = [given - away for away in differences(loss, gradient, known)]
        if not found:
            return None
        first = described(found[0], known, self._values)
        is_same = bool(torch.allclose(found[0], found[-1], rtol=WHOLE, atol=WHOLE))
        return first if is_same or first.are_whole else None


def dropout_behind(output: Tensor) -> tuple[Any, float]:
    """The node of a dropout that made an output, and the share that it set to 0; before the
    backward pass.

    >>> x = torch.ones(20, 20, requires_grad=True) * 1.0
    >>> node, share = dropout_behind(torch.nn.functional.dropout(x, 0.5).squeeze())
    >>> node is not None, 0.3 < share < 0.7
    (True, True)
    >>> dropout_behind(x * 3)
    (None, 0.0)
    """
    node = output.grad_fn
    while node is not None and kind_of(node) in PASSING and kind_of(node) != "NativeDropout":
        node = below(node)[0] if len(below(node)) == 1 else None
    if node is not None and kind_of(node) == "NativeDropout":
        return node, float(getattr(node, "_saved_p", 0.0))
    factor = kept(node, "_saved_other") if node is not None and kind_of(node) == "Mul" else None
    if factor is None or factor.numel() < FEWEST_DROPPED or len(below(node)) != 1:
        return None, 0.0
    share, most = float((factor == 0).float().mean()), float(factor.max())
    is_two = bool(((factor == 0) | (factor == most)).all())
    is_scaled = 0 < share < 1 and most > 1 and abs(share - (1 - 1 / most)) < BY_CHANCE
    return (node, share) if is_two and is_scaled else (None, 0.0)


def takes(loss: Any, dropped: Any) -> bool:
    """Does a loss take what a dropout gave, with no layer between the two?"""
    kinds = (*LOSSES, "LogSoftmax")
    written = squared(loss)
    if written is not None and first_below(written.difference)[0] is dropped:
        return True
    return any(first_below(node)[0] is dropped for node in head_of(loss) if kind_of(node) in kinds)


def through(unit: str, values: Tensor) -> tuple[Tensor, Tensor]:
    """What a unit makes of values, and its slope there."""
    if unit == "Relu":
        return values.relu(), (values > 0).double()
    if unit == "Sigmoid":
        given = values.sigmoid()
        return given, given * (1 - given)
    if unit == "Tanh":
        given = values.tanh()
        return given, 1 - given.square()
    return values, torch.ones_like(values)


def differences(loss: _Loss, gradient: Tensor, known: Tensor) -> list[Tensor]:
    """Output - target from the gradient: by the loss that was shown, whose gradient it need not be
    (a scaler's is larger); where the mean is times a number that is not known, by both ways.
    """
    size = float(gradient.square().sum())
    factor = loss.of.factor
    value = loss.value / (factor or 1.0)
    value = value**2 if loss.of.is_root else value
    total = value * (gradient.numel() if loss.of.is_mean else 1)
    if not (size > 0 and math.isfinite(size) and total > 0):
        return []
    by_mean = gradient * math.sqrt(total / size)
    if bool(known.all()):
        twice = 1 if loss.of.is_root else 2
        return [gradient * (twice * loss.value / size), by_mean] if factor is None else [by_mean]
    if factor is None or loss.of.is_root:
        return []
    part = gradient * (0.5 / factor * (gradient.numel() if loss.of.is_mean else 1))
    return [part] if float(part.square().sum()) <= 1.001 * total else []


def described(targets: Tensor, known: Tensor, values: Tensor) -> Targets:
    """Whole numbers or not, how many of each, and their range."""
    found = targets[known]
    whole = found.round()
    scale = max(1.0, float(found.abs().max()))
    distinct, counts = whole.unique(return_counts=True)
    pairs = distinct.long().tolist(), counts.tolist()
    rows = targets.reshape(len(targets), -1) if targets.ndim > 1 else targets[:, None]
    is_one = bool(known.all()) and float((rows - rows[:, :1]).abs().max()) < WHOLE * scale
    return Targets(
        are_whole=float((found - whole).abs().max()) < WHOLE * scale,
        lowest=float(found.min()),
        highest=float(found.max()),
        outputs=values.shape[1] if values.ndim > 1 else 1,
        num=found.numel(),
        is_spread=is_one and rows.shape[1] > 1,
        counts=() if len(distinct) > MOST_DISTINCT else tuple(zip(*pairs, strict=True)),
    )


def differ(values: Tensor) -> float | None:
    """How far samples differ in an output, as a share of its size; None where it is one sample."""
    if values.ndim < 2 or values.shape[0] < 2 or not values.is_floating_point():
        return None
    rows = values.reshape(values.shape[0], -1)[:4096].float()
    size = float(rows.abs().max())
    return float((rows - rows[:1]).abs().max()) / size if size > 0 else 0.0
