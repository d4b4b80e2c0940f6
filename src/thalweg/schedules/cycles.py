"""Shapes that rise again: one cycle, and warm restarts."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.schedules.checks import count, length, share
from thalweg.schedules.falling import half_cosine, progress
from thalweg.schedules.schedule import Evaluations, Schedule, Trait, named, of

__all__ = ["one_cycle", "restarts"]


@dataclass(frozen=True, slots=True)
class OneCycle:
    rise: float
    start: float
    floor: float
    name = "one_cycle"
    traits = Trait.HORIZON | Trait.WARMUP

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        x = progress(step, horizon)
        if x < self.rise:
            return half_cosine(self.start, 1.0, x / self.rise)
        if self.rise == 1:
            return 1.0
        return half_cosine(1.0, self.floor, (x - self.rise) / (1 - self.rise))


@dataclass(frozen=True, slots=True)
class Restarts:
    period: int | float
    multiplier: int
    floor: float
    name = "restarts"

    @property
    def traits(self) -> Trait:
        return Trait.HORIZON if isinstance(self.period, float) else Trait.NONE

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        """Steps behind are taken off cycle by cycle; equal cycles at once."""
        behind, cycle = float(step - 1), float(self.period)
        if isinstance(self.period, float):
            behind = float(min(step, max(1, horizon)) - 1)
            cycle = self.period * max(1, horizon)
        if self.multiplier == 1:
            behind %= cycle
        while behind >= cycle:
            behind, cycle = behind - cycle, cycle * self.multiplier
        return half_cosine(1.0, self.floor, behind / cycle)


@named
def one_cycle(rise: float = 0.3, start: float = 0.04, floor: float = 4e-6) -> Schedule:
    """One rise from `start` to 1, then one fall to `floor`, each along half a cosine.

    rise: share of the horizon until the peak, 0 .. 1; start, floor: 0 .. 1
    The learning rate is the peak's. It is a warm-up itself: nothing needs to stand before it. The
    paper's counter-movement of the momentum is not part of it.
    Raises UsageError for a setting out of range.
    Source: Smith and Topin, Super-convergence, 2017.

    >>> [round(one_cycle()(step, 100), 6) for step in (1, 31, 66, 101)]
    [0.04, 1.0, 0.500002, 4e-06]
    """
    settings = {"rise": rise, "start": start, "floor": floor}
    return of(OneCycle(**{name: share("one_cycle", name, v) for name, v in settings.items()}))


@named
def restarts(period: int | float = 0.25, multiplier: int = 1, floor: float = 0.0) -> Schedule:
    """Half cosines from 1 to `floor`, one after the other, each `multiplier` times as long.

    period: the first one's length: a number of steps, 1 or more, which needs no horizon and goes
    on for ever; or a share (a float above 0, at most 1) of what the schedule has of the horizon
    multiplier: a whole number, 1 or more; floor: 0 .. 1
    Raises UsageError for a setting out of range.
    Source: Loshchilov and Hutter, SGDR, ICLR 2017.

    >>> schedule = restarts(10, multiplier=2)
    >>> [round(schedule(step), 3) for step in (1, 6, 11, 21, 31)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    return of(
        Restarts(
            length("restarts", "period", period, least=1),
            count("restarts", "multiplier", multiplier, least=1),
            share("restarts", "floor", floor),
        )
    )
