"""Schedules: a factor of the learning rate as a pure function of (step, horizon).

    warmup(100) >> cosine()        rises over 100 steps, then falls along half a cosine to the
    horizon

A step is counted from 1; the horizon is the number of steps that the run is planned for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from thalweg.errors import UsageError

__all__ = ["Schedule", "constant", "cosine", "linear", "step", "warmup"]


Length = int | float | None


class Shape(Protocol):
    """One stretch of a schedule: called with a step and the stretch's length, it gives a factor."""

    @property
    def needs_horizon(self) -> bool: ...

    def __call__(self, step: int, horizon: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Warmup:
    """Rise from almost 0 at the first step to 1 at the last of its steps."""

    needs_horizon = False

    def __call__(self, step: int, horizon: int) -> float:
        return step / horizon


@dataclass(frozen=True, slots=True)
class Constant:
    needs_horizon = False

    def __call__(self, step: int, horizon: int) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class Cosine:
    floor: float
    needs_horizon = True

    def __call__(self, step: int, horizon: int) -> float:
        fall = (1 + math.cos(math.pi * _progress(step, horizon))) / 2
        return self.floor + (1 - self.floor) * fall


@dataclass(frozen=True, slots=True)
class Linear:
    floor: float
    needs_horizon = True

    def __call__(self, step: int, horizon: int) -> float:
        return self.floor + (1 - self.floor) * (1 - _progress(step, horizon))


@dataclass(frozen=True, slots=True)
class Steps:
    factor: float
    stages: int
    needs_horizon = True

    def __call__(self, step: int, horizon: int) -> float:
        return self.factor ** min(self.stages - 1, int(self.stages * _progress(step, horizon)))


def _progress(step: int, horizon: int) -> float:
    return min(1.0, max(0.0, (step - 1) / max(1, horizon)))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Shapes one after the other: (length, shape); a length is a number of steps, a share of the
    horizon (a float), or None for what is left.

    schedule(step, horizon) -> factor in 0 .. 1, to be multiplied with the learning rate.
    `first >> second` runs the second over what the first leaves of the horizon.

    >>> schedule = warmup(10) >> cosine()
    >>> [round(schedule(step, 110), 3) for step in (5, 10, 61, 110)]
    [0.5, 1.0, 0.5, 0.0]
    """

    parts: tuple[tuple[Length, Shape], ...]

    def __call__(self, step: int, horizon: int | None) -> float:
        if horizon is None and self.needs_horizon:
            raise UsageError(
                "this schedule falls towards the end of the run, and no end is planned: "
                "give until=budget(steps=...) or budget(epochs=...), or use constant()"
            )
        left = horizon or 0
        for length, shape in self.parts:
            steps = left if length is None else _steps(length, horizon)
            if length is None or step <= steps:
                return shape(step, steps)
            step, left = step - steps, left - steps
        return 1.0

    def __rshift__(self, other: Schedule) -> Schedule:
        if any(length is None for length, _ in self.parts):
            raise UsageError("only a part with a length, such as warmup(100), may stand before >>")
        return Schedule(self.parts + other.parts)

    @property
    def needs_horizon(self) -> bool:
        return any(shape.needs_horizon or isinstance(length, float) for length, shape in self.parts)


def warmup(steps: int | float) -> Schedule:
    """Linear rise over `steps` steps (0: none), or over a share of the horizon (a float in 0 .. 1).

    To be followed by another schedule: warmup(100) >> cosine().
    """
    if not steps >= 0 or (isinstance(steps, float) and steps > 1):
        raise UsageError(f"warmup({steps}): give a number of steps >= 0, or a share in 0 .. 1")
    return Schedule(((steps, Warmup()),) if steps else ())


def constant() -> Schedule:
    """The learning rate as given, to the end."""
    return Schedule(((None, Constant()),))


def cosine(floor: float = 0.0) -> Schedule:
    """Half a cosine from 1 down to `floor` (0 .. 1) at the horizon.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017 (without restarts).
    """
    _check_share("floor", floor)
    return Schedule(((None, Cosine(floor)),))


def linear(floor: float = 0.0) -> Schedule:
    """A straight line from 1 down to `floor` (0 .. 1) at the horizon."""
    _check_share("floor", floor)
    return Schedule(((None, Linear(floor)),))


def step(factor: float = 0.1, stages: int = 3) -> Schedule:
    """`stages` equal stretches; at the start of each but the first the rate falls by `factor`."""
    _check_share("factor", factor)
    if stages < 1:
        raise UsageError(f"step(stages={stages}): there must be at least 1 stage")
    return Schedule(((None, Steps(factor, stages)),))


def _steps(length: int | float, horizon: int | None) -> int:
    """A length in steps: a float is a share of the horizon."""
    return round(length * (horizon or 0)) if isinstance(length, float) else length


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"{name} is {value!r}: it must lie in 0 .. 1")
