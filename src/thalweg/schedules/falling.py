"""Shapes that fall to the end of the run: cosine, linear, polynomial, exponential, step, wsd.

Each starts at 1 in the first step and would be at its floor one step after the last: of a horizon
of n steps, step k stands at x = (k - 1) / n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from thalweg.errors import UsageError
from thalweg.schedules.checks import count, length, positive, share
from thalweg.schedules.schedule import Evaluations, Schedule, Trait, named, of, steps_of

__all__ = ["cosine", "exponential", "linear", "polynomial", "step", "wsd"]


@dataclass(frozen=True, slots=True)
class Cosine:
    floor: float
    name = "cosine"
    traits = Trait.HORIZON

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        return half_cosine(1.0, self.floor, progress(step, horizon))


@dataclass(frozen=True, slots=True)
class Linear:
    floor: float
    name = "linear"
    traits = Trait.HORIZON

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        return self.floor + (1 - self.floor) * (1 - progress(step, horizon))


@dataclass(frozen=True, slots=True)
class Polynomial:
    power: float
    floor: float
    name = "polynomial"
    traits = Trait.HORIZON

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        return self.floor + (1 - self.floor) * (1 - progress(step, horizon)) ** self.power


@dataclass(frozen=True, slots=True)
class Exponential:
    floor: float
    name = "exponential"
    traits = Trait.HORIZON

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        return self.floor ** progress(step, horizon)


@dataclass(frozen=True, slots=True)
class Stages:
    factor: float
    stages: int
    name = "step"
    traits = Trait.HORIZON

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        stage = self.stages * min(step - 1, horizon) // max(1, horizon)
        return self.factor ** min(self.stages - 1, stage)


@dataclass(frozen=True, slots=True)
class StableDecay:
    decay: int | float
    floor: float
    name = "wsd"
    traits = Trait.HORIZON

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        steps = min(horizon, steps_of(self.decay, horizon))
        fallen = step - 1 - (horizon - steps)
        if fallen <= 0 or steps == 0:
            return 1.0
        return self.floor + (1 - self.floor) * (1 - min(1.0, fallen / steps))


def progress(step: int, horizon: int) -> float:
    """How much of the stretch lies behind at the start of a step, 0 .. 1."""
    return min(1.0, (step - 1) / max(1, horizon))


def half_cosine(start: float, end: float, x: float) -> float:
    """From `start` at x = 0 to `end` at x = 1, level at both."""
    return end + (start - end) * (1 + math.cos(math.pi * x)) / 2


@named
def cosine(floor: float = 0.0) -> Schedule:
    """Half a cosine from 1 to `floor`: floor + (1 - floor) (1 + cos(pi x)) / 2.

    floor: 0 .. 1; x = (step - 1) / horizon
    Raises UsageError for a floor out of range.
    Source: Loshchilov and Hutter, SGDR, ICLR 2017 (without restarts).

    >>> [round(cosine(floor=0.2)(step, 100), 3) for step in (1, 51, 101)]
    [1.0, 0.6, 0.2]
    """
    return of(Cosine(share("cosine", "floor", floor)))


@named
def linear(floor: float = 0.0) -> Schedule:
    """A straight line from 1 to `floor`: floor + (1 - floor) (1 - x).

    floor: 0 .. 1; x = (step - 1) / horizon
    Raises UsageError for a floor out of range.

    >>> [linear()(step, 100) for step in (1, 26, 101)]
    [1.0, 0.75, 0.0]
    """
    return of(Linear(share("linear", "floor", floor)))


@named
def polynomial(power: float = 2.0, floor: float = 0.0) -> Schedule:
    """A power of what is left, from 1 to `floor`: floor + (1 - floor) (1 - x)^power.

    power: > 0 (1 is `linear`); floor: 0 .. 1; x = (step - 1) / horizon
    Raises UsageError for a setting out of range.
    Source: Liu et al., ParseNet, 2015 (the "poly" policy).

    >>> [polynomial(power=2)(step, 100) for step in (1, 51, 101)]
    [1.0, 0.25, 0.0]
    """
    return of(
        Polynomial(positive("polynomial", "power", power), share("polynomial", "floor", floor))
    )


@named
def exponential(floor: float = 0.01) -> Schedule:
    """The same ratio each step, from 1 to `floor` at the horizon: floor^x.

    floor: above 0, at most 1; x = (step - 1) / horizon. A ratio of g a step is floor = g^horizon.
    Raises UsageError for a floor out of range.

    >>> [round(exponential(floor=0.01)(step, 100), 6) for step in (1, 51, 101)]
    [1.0, 0.1, 0.01]
    """
    if share("exponential", "floor", floor) == 0:
        raise UsageError("exponential: floor is 0: it must be above 0; linear() falls to 0")
    return of(Exponential(float(floor)))


@named
def step(factor: float = 0.1, stages: int = 3) -> Schedule:
    """`stages` equal stretches; at the start of each but the first the rate falls by `factor`.

    factor: 0 .. 1; stages: 1 or more; stage k (from 0) begins once (step - 1) / horizon >= k /
    stages, and its factor is factor^k
    Raises UsageError for a setting out of range.

    >>> [step(factor=0.5, stages=4)(k, 100) for k in (1, 25, 26, 51, 101)]
    [1.0, 1.0, 0.5, 0.25, 0.125]
    """
    return of(Stages(share("step", "factor", factor), count("step", "stages", stages, least=1)))


@named
def wsd(decay: int | float = 0.1, floor: float = 0.0) -> Schedule:
    """Stable, then a linear decay to `floor`; after a warm-up this is warm-up-stable-decay.

    decay: the last steps, over which it falls: a number of steps, or a share (a float in 0 .. 1)
    of what the schedule has of the horizon; floor: 0 .. 1
    Raises UsageError for a setting out of range.
    Sources: Hu et al., MiniCPM, 2024; Haegele et al., Scaling laws and compute-optimal training
    beyond fixed training durations, 2024.

    >>> from thalweg import warmup
    >>> schedule = warmup(10) >> wsd(decay=20)
    >>> [schedule(step, 100) for step in (5, 10, 81, 91, 101)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    return of(StableDecay(length("wsd", "decay", decay), share("wsd", "floor", floor)))
