"""What a rule is: two plain functions and a row of facts about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from thalweg.errors import UsageError


@dataclass(frozen=True, slots=True)
class Hyper:
    """One hyperparameter: its default (torch's own) and the range in which it may lie."""

    name: str
    default: float
    low: float = 0.0
    high: float = math.inf
    below: bool = True

    @property
    def range(self) -> str:
        """The allowed values in words, such as "0 <= beta1 < 1"."""
        if math.isinf(self.high):
            return f"{self.name} >= {self.low:g}"
        return f"{self.low:g} <= {self.name} {'<' if self.below else '<='} {self.high:g}"

    def check(self, value: Any) -> None:
        """Raise UsageError unless `value` is a finite number in range."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise UsageError(f"{self.name} is {value!r}: it must be a number with {self.range}")
        too_high = value >= self.high if self.below else value > self.high
        if value < self.low or too_high:
            raise UsageError(f"{self.name} is {value!r}: allowed is {self.range}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One update rule.

    coefficients(t, **hyper) -> tuple of floats: evaluated in float64 once a step; t is counted from
    1 update(p, g, *state, *coefficients) -> (p, *state): one element
    states: names of the state tensors, torch's own names where torch has the rule
    counts_steps: the coefficients depend on t, so each parameter carries a `step`
    decay: how weight decay enters (coupled: as part of the gradient; decoupled: as a shrinking of
    p)
    """

    name: str
    states: tuple[str, ...]
    coefficients: Callable[..., tuple[float, ...]]
    update: Callable[..., tuple]
    hypers: tuple[Hyper, ...]
    counts_steps: bool
    decay: Literal["coupled", "decoupled"]
    paper: str

    def check(self, **hyper: object) -> None:
        """Raise UsageError for the first hyperparameter that is out of its range."""
        for row in self.hypers:
            row.check(hyper[row.name])
