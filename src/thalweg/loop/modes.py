"""Which mode the model is in when it trains, and when it is evaluated.

A pass of the whole model without gradients, in training mode, may be an evaluation before which
nobody called eval(). Or it is a part of the training: a GAN, a teacher and pseudo-labels make one
in every step. So the passes between two steps are set beside those around them.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.facts import Setup
from thalweg.health.signals import (
    dropped_in_evaluation,
    evaluated_in_training,
    statistics_are_fresh,
    trained_in_evaluation,
)
from thalweg.probes.dropped import Dropped, hears
from thalweg.probes.gradients import sample
from thalweg.probes.inputs import is_plain, tensors_of
from thalweg.types import Finding

LOOSE = 3
"""Passes in a row that look like an evaluation."""

FEWEST = 2
"""Steps after which an evaluation is looked at: before them it may be that of a fresh model."""

COMPARED = (1, 2)
"""The steps after which it is kept what went in: the same after both is an evaluation."""


@dataclass(slots=True)
class _Between:
    """The loose passes after a step and before the next. num: of them; is_larger: one had more
    samples than any that trains; is_repeated: one took the very tensor of the one before it, as
    dropout that is averaged over (Monte Carlo) does; is_measured: batch norm was measured anew, as
    `update_bn` does
    """

    num: int = 0
    is_larger: bool = False
    is_repeated: bool = False
    is_measured: bool = False
    given: list[Tensor] = field(default_factory=list)

    @property
    def is_evaluation(self) -> bool:
        return self.is_larger and not self.is_repeated and not self.is_measured


class Modes:
    """Is told of passes and steps, and answers with findings: each kind at most once.

    setup: its `sensitive` modules are what a mode matters to; num_in_row: passes without gradients
    since the last one with them; has_heard: an evaluation was listened to
    """

    def __init__(self, model: nn.Module):
        self.setup = Setup((), 0, 0, 0, False, (), (), "")
        self._model = model
        self._is_suspected = self._is_told = False
        self.num_in_row = 0
        self._most_rows = 0
        self._last: Any = None
        self._before, self._now = _Between(), _Between()
        self._candidate = 0
        self._is_early = False
        self.has_heard = False
        self._heard: Dropped | None = None

    # ------------------------------------------------------------ passes

    def trained(self, args: Any) -> None:
        """A pass with gradients, in the first steps."""
        self.num_in_row = 0
        self._most_rows = max(self._most_rows, num_rows(args))

    def evaluates(self, number: int) -> list[Finding]:
        """A pass in evaluation mode begins, after this many steps; the first one is listened to."""
        if self.has_heard or number < FEWEST:
            return []
        self.has_heard = True
        self._heard = hears(self._model)
        fresh = fresh_statistics(self._model)
        return [statistics_are_fresh(number, fresh)] if fresh else []

    def passed(self, number: int, args: Any) -> list[Finding]:
        """A pass without gradients in training mode, after this many steps."""
        first = next(tensors_of(args), None)
        if first is None or not self.setup.sensitive or self._is_suspected:
            return []
        between = self._now
        if self._last is not None and self._last() is first:
            between.is_repeated = True
            return []
        self._last = weakref.ref(first)
        if between.num == 0:
            between.is_measured = is_measured(self._model)
        between.num += 1
        between.is_larger |= 0 < self._most_rows < num_rows(args)
        if number in COMPARED and len(between.given) < LOOSE and is_plain(first):
            between.given.append(sample(first))
        self.num_in_row += 1
        is_excused = between.is_repeated or between.is_measured
        is_row = self.num_in_row == LOOSE and not is_excused
        return self._suspect(number, LOOSE) if is_row else []

    # ------------------------------------------------------------ steps

    @property
    def is_idle(self) -> bool:
        """Nothing hangs on the step to come."""
        return not (self._now.num or self._before.num or self._candidate or self._heard)

    def stepped(self, number: int) -> list[Finding]:
        """Step `number` was made: what were the passes before it?"""
        now = self._now
        if self.is_idle:
            return []
        found = self.ended(number - 1)
        is_alone = self._before.num == 0 and now.is_evaluation
        self._candidate = number - 1 if is_alone and number > 1 else 0
        self._is_early = self._is_early or (number == 1 and now.num > 0)
        self._before, self._now, self._last = now, _Between(), None
        return found

    def ended(self, number: int) -> list[Finding]:
        """No pass comes any more before the step after `number`. Were those that came the same as
        one step earlier, or came none, after an evaluation one step earlier?
        """
        now, before, at = self._now, self._before, self._candidate
        heard, self._heard = self._heard, None
        if heard is not None and heard.share:
            return [dropped_in_evaluation(number, heard.name, heard.share)]
        is_same = any(is_in(each, before.given) for each in now.given)
        if number == COMPARED[-1] and is_same and not self._is_early:
            return self._suspect(number, now.num)
        return self._suspect(at, before.num) if at and now.num == 0 else []

    def stepped_in_evaluation(self, number: int) -> list[Finding]:
        """Step `number` was made in evaluation mode."""
        if self._is_told or not self.setup.sensitive:
            return []
        self._is_told = True
        return [trained_in_evaluation(self.setup, number)]

    def evaluated(self, number: int) -> list[Finding]:
        """The user tells of an evaluation, after this many steps."""
        num, self.num_in_row = self.num_in_row, 0
        if not num or self._is_told or self._now.is_repeated:
            return []
        self._is_told = True
        return [evaluated_in_training(self.setup, number, num, is_told=True)]

    def _suspect(self, number: int, num: int) -> list[Finding]:
        if self._is_told or self._is_suspected:
            return []
        self._is_suspected = True
        return [evaluated_in_training(self.setup, number, num, is_told=False)]


def is_measured(model: nn.Module) -> bool:
    """Does batch norm take plain means, as it does for a while in `update_bn`?"""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return any(module.momentum is None for module in norms)


def fresh_statistics(model: nn.Module) -> list[str]:
    """Layers of batch norm, if all of them hold the mean of 0 and the variance of 1 that a fresh
    one has.
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            mean, variance = module.running_mean, module.running_var
            if variance is None or bool(mean.any()) or not bool((variance == 1).all()):
                return []
            found.append(name)
    return found


def num_rows(args: Any) -> int:
    """Samples in the first tensor; 0 where there is none."""
    first = next(tensors_of(args), None)
    return first.size(0) if first is not None and first.ndim else 0


def is_in(given: Tensor, others: list[Tensor]) -> bool:
    """Is it one of these, value for value?"""
    return any(given.shape == each.shape and torch.equal(given, each) for each in others)
