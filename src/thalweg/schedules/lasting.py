"""Shapes that look at no end: warm-up, constant, inverse square root."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thalweg.schedules.checks import length, positive
from thalweg.schedules.schedule import Evaluations, Length, Schedule, Trait, named, of

__all__ = ["constant", "inverse_sqrt", "warmup"]


@dataclass(frozen=True, slots=True)
class Warmup:
    name = "warmup"
    traits = Trait.WARMUP

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        return step / horizon


@dataclass(frozen=True, slots=True)
class Constant:
    name = "constant"
    traits = Trait.NONE

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class InverseSqrt:
    timescale: float
    name = "inverse_sqrt"
    traits = Trait.NONE

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        return math.sqrt(self.timescale / (self.timescale + step - 1))


@named
def warmup(steps: int | float) -> Schedule:
    """Linear rise, to be followed by another schedule: step / steps, so 1 at the last of them.

    steps: a number of steps (0: none), or a share of the horizon, a float in 0 .. 1
    Raises UsageError for a length out of range.
    Source: Goyal et al., Accurate, large minibatch SGD, 2017 (gradual warm-up).

    >>> [warmup(4)(step) for step in (1, 2, 4, 5)]
    [0.25, 0.5, 1.0, 1.0]
    """
    return of(Warmup(), length("warmup", "steps", steps))


@named
def constant(steps: Length = None) -> Schedule:
    """The learning rate as given: to the end, or for a stretch of `steps` before another schedule.

    steps: a number of steps, a share of the horizon (a float in 0 .. 1), or None: to the end
    Raises UsageError for a length out of range.

    >>> from thalweg import linear
    >>> schedule = constant(6) >> linear()
    >>> [schedule(step, 10) for step in (1, 6, 7, 9, 11)]
    [1.0, 1.0, 1.0, 0.5, 0.0]
    """
    return of(Constant(), None if steps is None else length("constant", "steps", steps))


@named
def inverse_sqrt(timescale: float = 1000.0) -> Schedule:
    """Falls for ever: sqrt(timescale / (timescale + step - 1)); needs no horizon.

    timescale: > 0; the rate is halved after 3 of them. After warmup(n), inverse_sqrt(n) is the
    schedule of the paper but for the count: it is 1 at the last step of the warm-up and at the
    next, so each rate of the fall comes one step later.
    Raises UsageError for a timescale out of range.
    Source: Vaswani et al., Attention is all you need, 2017 (section 5.3).

    >>> [inverse_sqrt(100)(step) for step in (1, 301, 1501)]
    [1.0, 0.5, 0.25]
    """
    return of(InverseSqrt(positive("inverse_sqrt", "timescale", timescale)))
