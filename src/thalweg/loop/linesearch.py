"""Step sizes that f itself decides: Armijo's backtracking, and Barzilai and Borwein's step.

Both walk along the negative gradient. What the user picks is a frozen record (`Armijo`,
`BarzilaiBorwein`); its `steps` are one run's own walk.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import torch

from thalweg.errors import UsageError
from thalweg.loop.function import Function, Point

SMALLEST, LARGEST = 1e-30, 1e300
"""A search gives up where the step is this share of its first trial; no trial is larger."""


class Steps(Protocol):
    """One run's walk. `lr` is the fixed rate, where there is one; `is_plain`: step = lr gradient.

    advance(point) -> the next point and the step size, or None where no step lowers f.
    """

    @property
    def label(self) -> str: ...

    @property
    def lr(self) -> float | None: ...

    @property
    def is_plain(self) -> bool: ...

    def advance(self, point: Point) -> tuple[Point, float] | None: ...


@dataclass(frozen=True, slots=True)
class Armijo:
    """Gradient descent whose step size t is shrunk until f falls enough; f never rises.

    Enough is f(x - t g) <= f(x) - decrease t |g|^2. Each search starts from `grow` times the last
    step size, so that the steps may become longer again.

    decrease: share of the decrease promised by the gradient that must be kept, 0 < decrease < 1
    shrink: factor of each new trial, 0 < shrink < 1; grow: >= 1
    first: the first trial, > 0; by default the step that moves x by 1
    Raises UsageError for a value out of range.
    Source: Armijo, Minimization of functions having Lipschitz continuous first partial
    derivatives, 1966.

    >>> import thalweg
    >>> result = thalweg.minimize(lambda x: (x - 3) ** 2, 0.0, optimizer=thalweg.Armijo(grow=4))
    >>> round(float(result.x), 6)
    3.0
    """

    decrease: float = 0.5
    shrink: float = 0.5
    grow: float = 2.0
    first: float | None = None

    def __post_init__(self) -> None:
        _check_share(self, "decrease")
        _check_share(self, "shrink")
        _check(self, "grow", _is_number(self.grow) and 1 <= self.grow < math.inf, "grow >= 1")
        _check_first(self)

    def steps(self, function: Function) -> Steps:
        """The walk of one run."""
        return _ArmijoSteps(self, function)


@dataclass(frozen=True, slots=True)
class BarzilaiBorwein:
    """Gradient descent whose step size is one over the curvature along the last step.

    With s the last step and y the change of the gradient, variant 1 takes s.s / s.y and variant 2
    the shorter s.y / y.y. f may rise for a while, which is what makes the method fast; a step is
    taken when f lies enough below the highest of its last `window` values, else it is shortened.

    variant: 1 or 2; window: >= 1 (1 makes f monotone); decrease: 0 < decrease < 1
    first: the first step size, > 0; by default the step that moves x by 1
    Raises UsageError for a value out of range.
    Sources: Barzilai and Borwein, Two-point step size gradient methods, 1988; the window: Grippo,
    Lampariello and Lucidi 1986; both joined: Raydan, The Barzilai and Borwein gradient method for
    the large scale unconstrained minimization problem, 1997.

    >>> import thalweg
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> result = thalweg.minimize(rosenbrock, [-1.2, 1.0], optimizer=thalweg.BarzilaiBorwein())
    >>> result.x.round(5).tolist()
    [1.0, 1.0]
    """

    variant: int = 2
    window: int = 20
    decrease: float = 1e-4
    first: float | None = None

    def __post_init__(self) -> None:
        is_count = isinstance(self.window, int) and self.window >= 1
        _check(self, "variant", self.variant in (1, 2), "1 or 2")
        _check(self, "window", is_count, "a whole number, window >= 1")
        _check_share(self, "decrease")
        _check_first(self)

    def steps(self, function: Function) -> Steps:
        """The walk of one run."""
        return _BarzilaiBorweinSteps(self, function)


class _ArmijoSteps:
    label = "armijo"
    lr = None
    is_plain = False

    def __init__(self, rule: Armijo, function: Function):
        self._rule = rule
        self._function = function
        self._size = 0.0

    def advance(self, point: Point) -> tuple[Point, float] | None:
        rule = self._rule
        slope = rule.decrease * point.norm * point.norm
        visible = 0.5 * torch.finfo(point.x.dtype).eps * abs(point.value)
        size = self._size * rule.grow or rule.first or _unit_step(point)
        if slope > 0:  # a step that has become too short to see its effect on f
            size = max(size, 2 * visible / slope)
        size = first = min(size, LARGEST)
        while size >= SMALLEST * first:
            enough = size * slope
            trial = _trial(self._function, point, size) if enough > visible else None
            if trial is None:  # what f could fall is lost in rounding
                break
            if trial.value <= point.value - enough and trial.value < point.value:
                self._size = size
                return trial, size
            size *= rule.shrink
        return None


class _BarzilaiBorweinSteps:
    label = "barzilai-borwein"
    lr = None
    is_plain = False

    def __init__(self, rule: BarzilaiBorwein, function: Function):
        self._rule = rule
        self._function = function
        self._recent: deque[float] = deque(maxlen=rule.window)
        self._before: Point | None = None
        self._size = 0.0

    def advance(self, point: Point) -> tuple[Point, float] | None:
        self._recent.append(point.value)
        size = first = min(self._first_trial(point), LARGEST)
        highest = max(self._recent)
        slack = 4 * torch.finfo(point.x.dtype).eps * abs(highest)
        if self._rule.window == 1:
            slack = 0.0
        while size >= SMALLEST * first:
            trial = _trial(self._function, point, size)
            if trial is None:
                break
            promised = size * point.norm * point.norm
            if trial.value <= highest - self._rule.decrease * promised + slack:
                self._before, self._size = point, size
                return trial, size
            size = _shortened(size, promised, trial.value - point.value)
        return None

    def _first_trial(self, point: Point) -> float:
        """The step of Barzilai and Borwein; where f curves down, twice the last step."""
        if self._before is None:
            return self._rule.first or _unit_step(point)
        s = point.x - self._before.x
        y = point.gradient - self._before.gradient
        sy = (s * y).sum().item()
        if not sy > 0:
            return 2 * self._size
        is_first = self._rule.variant == 1
        size = (s * s).sum().item() / sy if is_first else sy / (y * y).sum().item()
        return size if 0 < size < math.inf else self._size


def _trial(function: Function, point: Point, size: float) -> Point | None:
    """f at x - size g, or None where that is x itself."""
    x = point.x - size * point.gradient
    return None if torch.equal(x, point.x) else function.at(x)


def _unit_step(point: Point) -> float:
    """The step size that moves x by 1."""
    return 1 / point.norm


def _shortened(size: float, promised: float, rise: float) -> float:
    """The lowest place of the parabola through what is known, within 0.1 .. 0.5 of the step."""
    if not math.isfinite(rise):
        return 0.1 * size
    lowest = 0.5 * size * promised / (rise + promised) if rise + promised > 0 else 0.0
    return min(max(lowest, 0.1 * size), 0.5 * size)


def _check(rule: Armijo | BarzilaiBorwein, name: str, is_allowed: bool, allowed: str) -> None:
    if not is_allowed:
        raise UsageError(
            f"{type(rule).__name__}({name}={getattr(rule, name)!r}): allowed is {allowed}"
        )


def _check_share(rule: Armijo | BarzilaiBorwein, name: str) -> None:
    value = getattr(rule, name)
    _check(rule, name, _is_number(value) and 0 < value < 1, f"0 < {name} < 1")


def _check_first(rule: Armijo | BarzilaiBorwein) -> None:
    first = rule.first
    _check(
        rule, "first", first is None or (_is_number(first) and 0 < first < math.inf), "first > 0"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
