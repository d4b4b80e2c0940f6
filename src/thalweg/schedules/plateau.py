"""The shape that waits: it falls when the evaluations bring no improvement."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thalweg.errors import UsageError
from thalweg.schedules.checks import count, share
from thalweg.schedules.schedule import Evaluations, Schedule, Trait, named, of

__all__ = ["can_fall", "patience_of", "plateau", "wait_of"]


@dataclass(frozen=True, slots=True)
class Plateau:
    factor: float
    patience: int
    threshold: float
    cooldown: int
    floor: float
    name = "plateau"
    traits = Trait.EVALUATIONS

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float:
        """All is counted anew from the evaluations: about 0.2 us for each of them."""
        to_beat, num_stale, num_resting, num_falls = math.inf, 0, 0, 0
        for _, loss in evaluations:
            if loss < to_beat:
                to_beat = loss - self.threshold * abs(loss)
                num_stale = 0
            else:
                num_stale += 1
            if num_resting:
                num_resting -= 1
                num_stale = 0
            if num_stale > self.patience:
                num_falls += 1
                num_stale, num_resting = 0, self.cooldown
        return max(self.floor, self.factor**num_falls)


def wait_of(schedule: Schedule) -> int:
    """Evaluations without improvement from one fall of its plateau to the next; 0: it has none."""
    shapes = [shape for _, shape in schedule.parts if isinstance(shape, Plateau)]
    return max((shape.patience + 1 + shape.cooldown for shape in shapes), default=0)


def patience_of(schedule: Schedule) -> int:
    """Evaluations without improvement that its plateau bears before it falls."""
    return max(shape.patience for _, shape in schedule.parts if isinstance(shape, Plateau))


def can_fall(schedule: Schedule, *, horizon: int, last: int, every: int) -> bool:
    """Whether its plateau can act by step `last`: no evaluation but the first is an improvement.

    every: steps between evaluations
    """
    flat = [(number, 1.0) for number in range(every, last, every)]
    return schedule(last, horizon, flat) < schedule(last, horizon)


@named
def plateau(
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    cooldown: int = 0,
    floor: float = 0.0,
) -> Schedule:
    """Falls by `factor` after more than `patience` evaluations without an improvement.

    factor: 0 .. 1, below 1; floor: 0 .. 1; patience, cooldown: numbers of evaluations, 0 or more
    threshold: 0 .. 1; an improvement is a loss below best - threshold |best|; NaN is none
    cooldown: evaluations after a fall during which none counts as stale
    It is called with the evaluations so far, schedule(step, horizon, evaluations), and keeps
    nothing. After another part it counts from the evaluation at which it begins.
    Raises UsageError for a setting out of range.

    >>> losses = [(10, 3.0), (20, 2.0), (30, 2.0), (40, 2.0)]
    >>> schedule = plateau(factor=0.5, patience=1)
    >>> [schedule(step, None, losses) for step in (1, 40, 41)]
    [1.0, 1.0, 0.5]
    """
    if share("plateau", "factor", factor) == 1:
        raise UsageError("plateau: factor is 1: it must be below 1, or nothing falls")
    return of(
        Plateau(
            float(factor),
            count("plateau", "patience", patience, least=0),
            share("plateau", "threshold", threshold),
            count("plateau", "cooldown", cooldown, least=0),
            share("plateau", "floor", floor),
        )
    )
