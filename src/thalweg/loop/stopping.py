"""When a descent ends: small frozen rules, joined by `|` (either) and `&` (both).

    until=budget(epochs=20) | converged(patience=5)

A rule is asked after every step and looks at nothing but the `Progress` it is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

from thalweg.errors import UsageError
from thalweg.loop.every import seconds_of
from thalweg.rules.rule import number_of
from thalweg.types import Progress, Status

__all__ = ["Ending", "Pace", "Until", "budget", "converged", "reached"]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a descent ended: its status, and the reason in words."""

    status: Status
    reason: str


_RANK: dict[Status, int] = {
    "reached": 0,
    "converged": 1,
    "stopped": 2,
    "interrupted": 3,
    "preempted": 4,
    "budget": 5,
}
"""Which ending is named where several rules end at the same step."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What turns a budget into a number of steps.

    steps_per_epoch, batch_size: of the batches; size: samples in an epoch; None: not known
    seconds_per_step: None where no clock was asked
    counts_samples: False where a loader's batches are counted instead
    """

    steps_per_epoch: int | None
    batch_size: int
    size: int | None
    seconds_per_step: float | None = None
    counts_samples: bool = True

    def steps(self, samples: float) -> int | None:
        """Steps after which so many samples have been seen; an epoch's last batch may be short."""
        if self.size is None or self.steps_per_epoch is None:
            return None
        epochs, rest = divmod(samples, self.size)
        last = min(math.ceil(rest / self.batch_size), self.steps_per_epoch)
        return int(epochs) * self.steps_per_epoch + last


class Until:
    """Base of the stopping rules; gives them `|` and `&`."""

    __slots__ = ()

    def __call__(self, progress: Progress) -> Ending | None:
        """The ending, or None while the descent shall go on."""
        raise NotImplementedError

    def horizon(self, pace: Pace) -> int | None:
        """The number of steps after which this rule ends for certain; None: not known."""
        return None

    @property
    def is_timed(self) -> bool:
        """Whether a clock may end it."""
        return False

    @property
    def looks_at_validation(self) -> bool:
        """Whether it needs evaluations of the validation set."""
        return False

    def __or__(self, other: Until) -> Until:
        return Either(self, _checked(other))

    def __and__(self, other: Until) -> Until:
        return Both(self, _checked(other))


@dataclass(frozen=True, slots=True)
class Either(Until):
    first: Until
    second: Until

    def __call__(self, progress: Progress) -> Ending | None:
        found = [ending for rule in (self.first, self.second) if (ending := rule(progress))]
        return min(found, key=lambda ending: _RANK[ending.status], default=None)

    def horizon(self, pace: Pace) -> int | None:
        both = (self.first.horizon(pace), self.second.horizon(pace))
        return min((horizon for horizon in both if horizon is not None), default=None)

    @property
    def is_timed(self) -> bool:
        return self.first.is_timed or self.second.is_timed

    @property
    def looks_at_validation(self) -> bool:
        return self.first.looks_at_validation or self.second.looks_at_validation


@dataclass(frozen=True, slots=True)
class Both(Until):
    first: Until
    second: Until

    def __call__(self, progress: Progress) -> Ending | None:
        first, second = self.first(progress), self.second(progress)
        if first is None or second is None:
            return None
        return Ending(first.status, f"{first.reason}; and {second.reason}")

    def horizon(self, pace: Pace) -> int | None:
        first, second = self.first.horizon(pace), self.second.horizon(pace)
        return None if first is None or second is None else max(first, second)

    @property
    def is_timed(self) -> bool:
        return self.first.is_timed or self.second.is_timed

    @property
    def looks_at_validation(self) -> bool:
        return self.first.looks_at_validation or self.second.looks_at_validation


@dataclass(frozen=True, slots=True)
class Budget(Until):
    steps: int | None
    epochs: float | None
    samples: int | None
    time: float | None

    def __call__(self, progress: Progress) -> Ending | None:
        if self.steps is not None and progress.steps >= self.steps:
            return Ending("budget", f"the budget of {_plain(self.steps, 'step')} was used up")
        if self.epochs is not None and progress.epochs >= self.epochs:
            return Ending("budget", f"the budget of {_plain(self.epochs, 'epoch')} was used up")
        if self.samples is not None and progress.samples >= self.samples:
            return Ending("budget", f"the budget of {self.samples:,} samples was used up")
        if self.time is not None and progress.seconds >= self.time:
            return Ending("budget", f"the budget of {self.time:g} seconds was used up")
        return None

    def horizon(self, pace: Pace) -> int | None:
        known = [self.steps]
        if self.epochs is not None and pace.size is not None:
            known.append(pace.steps(self.epochs * pace.size))
        if self.samples is not None and pace.counts_samples:
            known.append(pace.steps(self.samples))
        if self.time is not None and pace.seconds_per_step is not None:
            known.append(max(1, round(self.time / pace.seconds_per_step)))
        return min((steps for steps in known if steps is not None), default=None)

    @property
    def is_timed(self) -> bool:
        return self.time is not None


@dataclass(frozen=True, slots=True)
class Planned(Until):
    """The end of a horizon that was measured for a time budget: the rate is at its floor."""

    steps: int

    def __call__(self, progress: Progress) -> Ending | None:
        if progress.steps < self.steps:
            return None
        return Ending("budget", f"the {self.steps:,} steps planned for the time budget were taken")


@dataclass(frozen=True, slots=True)
class Converged(Until):
    patience: int

    def __call__(self, progress: Progress) -> Ending | None:
        count = progress.num_stale
        if count < self.patience:
            return None
        return Ending(
            "converged",
            f"validation {progress.watched} had not improved beyond its own noise for "
            f"{_several(count)}",
        )

    @property
    def looks_at_validation(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Reached(Until):
    goals: tuple[tuple[str, float], ...]

    def __call__(self, progress: Progress) -> Ending | None:
        if not progress.evaluations:
            return None
        values = progress.evaluations[-1].values
        for name, goal in self.goals:
            if name not in values:
                known = ", ".join(values)
                raise UsageError(f"reached({name}=...): validation measures {known}, not {name}")
            value = values[name]
            is_met = value >= goal if name in progress.rising else value <= goal
            if not is_met:  # a NaN meets nothing
                return None
        text = " and ".join(f"{name} {goal:g}" for name, goal in self.goals)
        return Ending("reached", f"the goal of {text} on validation was reached")

    @property
    def looks_at_validation(self) -> bool:
        return True


def budget(
    *,
    steps: int | None = None,
    epochs: float | None = None,
    samples: int | None = None,
    time: float | str | None = None,
) -> Until:
    """End after so many steps, epochs or samples, or a time, whichever comes first.

    time: of the wall, in seconds or as text: 90, "90s", "5m", "2h"
    """
    seconds = seconds_of(time) if isinstance(time, str) else time
    if seconds is None and time is not None:
        raise UsageError(f"budget(time={time!r}): give seconds, or a time such as 90s, 5m or 2h")
    given = {"steps": steps, "epochs": epochs, "samples": samples, "time": seconds}
    if all(value is None for value in given.values()):
        raise UsageError("budget() needs one of steps=, epochs=, samples=, time=")
    for name, value in given.items():
        if value is not None and not number_of(value) > 0:
            raise UsageError(f"budget({name}={value!r}): it must be a number larger than 0")
    for name, value in (("steps", steps), ("samples", samples)):
        if value is not None and not number_of(value).is_integer():
            raise UsageError(f"budget({name}={value!r}): it must be a whole number")
    return Budget(_whole(steps), epochs, _whole(samples), seconds)


def converged(patience: int = 5) -> Until:
    """End after `patience` evaluations without an improvement beyond the evaluation's own noise."""
    if not isinstance(patience, Integral) or isinstance(patience, bool) or patience < 1:
        raise UsageError(f"converged(patience={patience!r}): it must be a whole number, 1 or more")
    return Converged(patience)


def reached(**goals: float) -> Until:
    """End when validation reaches the goals: reached(accuracy=0.98), reached(loss=0.1)."""
    if not goals:
        raise UsageError("reached() needs a goal, such as reached(accuracy=0.98)")
    return Reached(tuple(goals.items()))


def _checked(rule: object) -> Until:
    """Raise UsageError for what is no stopping rule."""
    if isinstance(rule, Until):
        return rule
    raise UsageError(f"{rule!r} is no rule of when to end: give one, such as budget(epochs=20)")


def _whole(count: float | None) -> int | None:
    """1e4 steps are 10,000."""
    return None if count is None else int(count)


def _several(count: int) -> str:
    return "1 evaluation" if count == 1 else f"{count} evaluations"


def _plain(count: float, noun: str) -> str:
    """A count as people write it: 1 epoch, 100,000 epochs and not 1e+05."""
    shown = f"{count:,.0f}" if float(count).is_integer() else f"{count:,g}"
    return f"{shown} {noun}" if count == 1 else f"{shown} {noun}s"
