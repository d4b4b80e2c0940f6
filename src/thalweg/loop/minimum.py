"""What a minimisation returns: the place found, how it ended and why, and the path to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from thalweg.loop.function import Array, Function, Point

Row = TypeVar("Row")

MAX_ROWS = 100_000
"""Steps of which a path keeps value, gradient norm and step size."""

MAX_NUMBERS = 4_000_000
"""Numbers that a path keeps of x: 32 MB in float64."""


class Outcome(StrEnum):
    """How a minimisation ended: a plain word, whose `advice` says what follows from it."""

    advice: str

    def __new__(cls, word: str, advice: str) -> Outcome:
        member = str.__new__(cls, word)
        member._value_ = word
        member.advice = advice
        return member

    CONVERGED = (
        "converged",
        "The gradient is as small as asked for: a local minimum as a rule, though a flat place or "
        "a saddle looks the same. Other starts may find a lower one (starts=20).",
    )
    STAGNATED = (
        "stagnated",
        "f falls no further in this precision, or by steps of this kind. Where the reason does not "
        "speak of a kink, x is mostly as good as it gets: accept a larger tolerance, use float64, "
        "or scale f; at a fixed rate try a smaller lr.",
    )
    BUDGET = (
        "budget",
        "The steps or the time ran out before the gradient was small: give more, start from the x "
        "found, or choose another optimizer or lr.",
    )
    DIVERGED = ("diverged", "The steps were too long: use a smaller lr, or none at all.")
    UNBOUNDED = (
        "unbounded",
        "f falls without end: it has no minimum on this side. Check its sign, or add a penalty.",
    )
    UNDEFINED = (
        "undefined",
        "A step led to where f or its gradient is not a finite number: use a smaller lr, a line "
        "search (which steps back from such places), or a formula that is defined there.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The way from x0; row 0 is x0 itself.

    steps: numbers of the steps kept, int64 of shape (n,)
    values, gradient_norms: of f at these steps, float64 of shape (n,)
    step_sizes: of the step that led there (of an optimizer: its lr), float64 of shape (n,); row 0
    is nan
    x_steps, x: numbers of the steps whose x is kept, int64 of shape (m,), and these x, of shape
    (m, *shape of x0), of x0's kind
    Every step is kept as long as 100,000 of them, and 4 million numbers of x, suffice. Beyond, each
    second one is dropped, as often as needed: every k-th step remains, and the last.
    """

    steps: np.ndarray
    values: np.ndarray
    gradient_norms: np.ndarray
    step_sizes: np.ndarray
    x_steps: np.ndarray
    x: Array

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Minimum:
    """The result of `minimize`; printed, it says how it ended and why.

    x: the place found, of x0's kind, dtype and shape: the last one where the run converged, else
    the lowest met; step: the number of the step that led there
    value, gradient_norm: f and the Euclidean norm of its gradient, at x
    status: "converged", "stagnated", "budget", "diverged", "unbounded" or "undefined"; its
    `status.advice` says what follows; reason: why it ended, in a sentence with this run's numbers
    optimizer: what chose the steps; num_steps, num_evaluations, num_gradients: what they cost, in
    steps, calls of f, gradients; seconds: wall time
    path: the way to x; starts: the results of all starts, in their order, where there were several
    """

    x: Array
    value: float
    gradient_norm: float
    status: Outcome
    reason: str
    optimizer: str
    step: int
    num_steps: int
    num_evaluations: int
    num_gradients: int
    seconds: float
    path: Path
    starts: tuple[Minimum, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the gradient became as small as asked for."""
        return self.status is Outcome.CONVERGED

    def __str__(self) -> str:
        with np.printoptions(threshold=10, precision=6):
            x = str(self.x)
        lines = [
            f"{self.status}: {self.reason}",
            f"f          {self.value:.6g}",
            f"x          {x}".replace("\n", "\n           "),
            f"optimizer  {self.optimizer}",
            f"cost       {self.num_steps:,} steps, {self.num_evaluations:,} evaluations of f, "
            f"{self.num_gradients:,} gradients, {self.seconds:.2g} s",
        ]
        if self.status is not Outcome.CONVERGED:
            lines.append(f"advice     {self.status.advice}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"Minimum(status={str(self.status)!r}, value={self.value:.6g}, "
            f"gradient_norm={self.gradient_norm:.3g}, num_steps={self.num_steps})"
        )


class Thinned(Generic[Row]):
    """The rows of every k-th step, and the last; k doubles whenever more than `limit` are held."""

    def __init__(self, limit: int):
        self._limit = max(limit, 2)
        self._every = 1
        self._kept: list[tuple[int, Row]] = []
        self._last: tuple[int, Row] | None = None

    def add(self, number: int, row: Row) -> None:
        """Numbers come in order: 0, 1, 2, ..."""
        self._last = (number, row)
        if number % self._every:
            return
        self._kept.append(self._last)
        if len(self._kept) > self._limit:
            self._kept = self._kept[::2]
            self._every *= 2

    def rows(self) -> tuple[np.ndarray, list[Row]]:
        """The numbers, int64, and the rows."""
        kept = self._kept
        if self._last is not None and self._last[0] != kept[-1][0]:
            kept = [*kept, self._last]
        return np.array([number for number, _ in kept], dtype=np.int64), [row for _, row in kept]


class Trail:
    """A path while it is walked."""

    def __init__(self, start: Point):
        self.numbers = Thinned[tuple[float, float, float]](MAX_ROWS)
        self.places = Thinned[Tensor](min(MAX_ROWS, MAX_NUMBERS // start.x.numel()))
        self.add(0, start, math.nan)

    def add(self, number: int, point: Point, size: float) -> None:
        norm = point.norm if math.isfinite(point.value) else math.nan
        self.numbers.add(number, (point.value, norm, size))
        self.places.add(number, point.x)

    def path(self, function: Function) -> Path:
        """As the caller reads it."""
        steps, rows = self.numbers.rows()
        x_steps, places = self.places.rows()
        values, norms, sizes = np.array(rows, dtype=np.float64).T.copy()
        x = function.shown(torch.stack(places))
        return Path(steps, values, norms, sizes, x_steps, x)
