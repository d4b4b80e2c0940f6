"""When a minimisation ends, and the sentence that says why, from the run's own numbers."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from thalweg.loop.function import Function, Point
from thalweg.loop.linesearch import Steps
from thalweg.loop.minimum import Outcome, Trail

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Gradient norms that count as zero, where the user does not say."""

PATIENCE = 1000
"""Steps without a new low of f or of the gradient norm, after which a run has stagnated."""

STILL = 100
"""Steps that leave x as it is, after which a run has stagnated."""

RECENT = 10
"""A run without new lows still grows if its highest f is not older than so many steps."""

ENOUGH = 8
"""Points from which a pace can be told."""

GROWTH = 1e6
"""A run has diverged when f rose by this many times its scale, and fell without end by FALL times:
the scale is |f(x0)|, or the decrease that the gradient promised of the first step, if larger."""
FALL = 1e20

Verdict = tuple[Outcome, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end: gradient norms (the larger counts; None: by dtype), steps, a clock's time."""

    tolerance: float | None
    relative_tolerance: float
    max_steps: int
    deadline: float
    max_seconds: float | None


class Watch:
    """Looks at every point of one run: keeps the lowest, and tells when and why to end."""

    def __init__(self, start: Point, limits: Limits, steps: Steps, function: Function):
        self.best, self.best_number = start, 0
        self._start = start
        self._limits = limits
        self._steps = steps
        self._function = function
        self._lowest_norm = start.norm
        self._last_low = 0
        self._scale = abs(start.value)
        self._curvature = 0.0
        self._value = start.value
        self._num_still = 0
        self._highest, self._highest_number = -math.inf, 0
        absolute = limits.tolerance
        if absolute is None:
            absolute = TOLERANCES[start.x.dtype]
        relative = limits.relative_tolerance * start.norm
        self._is_relative = relative > absolute
        self.tolerance = max(relative, absolute)

    def judge(self, number: int, point: Point, trail: Trail) -> Verdict | None:
        """The verdict at this point, or None while the run shall go on."""
        return (
            self._undefined(number, point)
            or self._converged(number, point)
            or self._runaway(number, point)
            or self._stagnated(number, point)
            or self._spent(number, point, trail)
        )

    def see(self, number: int, before: Point, point: Point) -> None:
        """Remember what this step showed; called before `judge`."""
        if number == 1:
            moved = torch.linalg.vector_norm(point.x - before.x).item()
            self._scale = max(self._scale, before.norm * moved)
        if not point.is_finite:
            return
        self._value = point.value
        self._num_still = self._num_still + 1 if torch.equal(point.x, before.x) else 0
        if point.value < self.best.value:
            self.best, self.best_number, self._last_low = point, number, number
            self._highest = -math.inf
        if point.value > self._highest:
            self._highest, self._highest_number = point.value, number
        if point.norm < self._lowest_norm:
            self._lowest_norm, self._last_low = point.norm, number
        is_early = point.value <= self._start.value + 10 * self._scale or not self._curvature
        if point.value > before.value and is_early:
            self._curvature = max(self._curvature, _curvature(before, point))

    def _undefined(self, number: int, point: Point) -> Verdict | None:
        if point.is_finite:
            return None
        if point.value == -math.inf:
            return Outcome.UNBOUNDED, f"f fell to minus infinity at step {number:,}"
        has_grown = point.value == math.inf or self._value > self._start.value
        if self._steps.lr is not None and has_grown:
            return Outcome.DIVERGED, self._growth(number, point)
        what = "f" if not math.isfinite(point.value) else "the gradient of f"
        shown = point.value if what == "f" else point.norm
        return Outcome.UNDEFINED, f"{what} is {shown} after step {number:,}{self._where()}"

    def _converged(self, number: int, point: Point) -> Verdict | None:
        if point.norm > self.tolerance:
            return None
        best, was_lower = self.best, ""
        visible = 0.01 * max(self._start.value - best.value, 1e-6 * self._scale)
        if point.value > best.value + visible:
            was_lower = f"; f was lower at step {self.best_number:,}, {best.value:.6g}"
        if point.value > self._start.value + visible:
            return Outcome.STAGNATED, (
                f"a step too long led up to a plateau: at step {number:,} the gradient norm is "
                f"{point.norm:.3g}, but f {point.value:.6g}{was_lower}"
            )
        if number == 0:
            return Outcome.CONVERGED, (
                f"f is flat at x0 already (gradient norm {point.norm:.3g}, tolerance "
                f"{self.tolerance:.3g}), be it a minimum, a maximum or a saddle: no step was taken"
            )
        kind = f"{self._limits.relative_tolerance:.3g} of the start's" if self._is_relative else ""
        return Outcome.CONVERGED, (
            f"the gradient norm {point.norm:.3g} is within the tolerance {self.tolerance:.3g}"
            f"{f' ({kind})' if kind else ''} after {_steps(number)}{was_lower}"
        )

    def _runaway(self, number: int, point: Point) -> Verdict | None:
        change = point.value - self._start.value
        if change > GROWTH * self._scale and number > 0:
            return Outcome.DIVERGED, self._growth(number, point)
        if -change > FALL * self._scale and number > 0:
            return Outcome.UNBOUNDED, (
                f"f fell from {self._start.value:.3g} to {point.value:.3g} in {_steps(number)} "
                "and goes on falling"
            )
        return None

    def _growth(self, number: int, point: Point) -> str:
        """Since when f grew, and what to try instead of this rate."""
        text = (
            f"f has grown since step {self.best_number:,}, from {self.best.value:.3g} to "
            f"{point.value:.3g} at step {number:,}"
        )
        lr, doubt = self._steps.lr, self._doubt(self.best)
        if lr is None or doubt:
            return text + (doubt or ": shorter steps are needed")
        text = f"{text}: lr={lr:g} is too large"
        if not self._steps.is_plain or not 0 < self._curvature < math.inf:
            return f"{text}, try lr={lr / 10:.2g}"
        if 2 / self._curvature >= lr:
            return f"{text}, try lr={lr / 10:.2g}"
        return (
            f"{text} where the curvature is {self._curvature:.3g} (a fixed rate must stay below 2 "
            f"/ curvature = {2 / self._curvature:.3g}), try lr={1 / self._curvature:.2g}"
        )

    def _stagnated(self, number: int, point: Point) -> Verdict | None:
        if number - self._last_low < PATIENCE and self._num_still < STILL:
            return None
        if self._is_rising(number):
            return Outcome.DIVERGED, self._growth(number, point)
        if self._num_still:
            how = "the steps are too short to change x in this precision"
        else:
            how = f"neither f nor its gradient norm came to a new low in {PATIENCE:,} steps"
        best = self.best
        return Outcome.STAGNATED, (
            f"{how}: the lowest f, {best.value:.6g}, is that of step {self.best_number:,}, "
            f"and the gradient norm there {best.norm:.3g}{self._missed()}{self._doubt(best)}"
        )

    def _is_rising(self, number: int) -> bool:
        """Whether f, at a fixed rate, has risen visibly since its lowest, and still does."""
        is_visible = self._highest > self.best.value + 1e-3 * self._scale
        return self._steps.lr is not None and is_visible and number - self._highest_number < RECENT

    def _spent(self, number: int, point: Point, trail: Trail) -> Verdict | None:
        limits = self._limits
        if number >= limits.max_steps:
            spent = f"max_steps={limits.max_steps:,} was used up"
        elif time.perf_counter() >= limits.deadline:
            spent = f"max_seconds={limits.max_seconds:g} was used up after {_steps(number)}"
        else:
            return None
        if point.value > self._start.value and self._is_rising(number):
            return Outcome.DIVERGED, self._growth(number, point)
        return Outcome.BUDGET, (
            f"{spent} with a gradient norm of {self.best.norm:.3g}{self._missed()}"
            f"{self._pace(number, trail)}"
        )

    def _pace(self, number: int, trail: Trail) -> str:
        """How far it still is; nothing where the run was too short to tell."""
        steps, norms = _norms(trail)
        if len(steps) < ENOUGH or self.tolerance == 0:
            return ""
        more = more_steps(steps, norms, self.tolerance)
        if more is None:
            tail = ", though f was" if self.best_number == number else ""
            return f"; the norm was not falling any more{tail}"
        rate = self._steps.lr
        cause = "" if rate is None else f", so lr={rate:.3g} is too small or f badly scaled"
        return f"; at this pace about {_plain(more)} more steps would be needed{cause}"

    def stuck(self, number: int, point: Point) -> Verdict:
        """The verdict where no step lowers f."""
        doubt = self._doubt(point) or "; what is left is lost in rounding"
        return Outcome.STAGNATED, (
            f"no step along the negative gradient lowers f any further after {_steps(number)}, at "
            f"a gradient norm of {point.norm:.3g}{self._missed()}{doubt}"
        )

    def _doubt(self, point: Point) -> str:
        """What differences of f say against its gradient, where that is not small."""
        if point.norm <= 1e-3 * self._start.norm:
            return ""
        slope = _slope(self._function, point)
        if slope is None or abs(slope - point.norm) <= 0.5 * point.norm:
            return ""
        return (
            f"; differences of f give a slope of {slope:.3g} where the gradient says "
            f"{point.norm:.3g}: f has a kink or jump here, or its gradient is wrong"
        )

    def _missed(self) -> str:
        return f" (the tolerance is {self.tolerance:.3g})"

    def _where(self) -> str:
        return (
            f", which came after the lowest f, {self.best.value:.6g} of step {self.best_number:,}"
        )


def more_steps(steps: np.ndarray, norms: np.ndarray, tolerance: float) -> float | None:
    """How many more steps at the pace of the second half; None where the norm is not falling.

    The pace: medians of the log of the gradient norm, of the third and the fourth quarter.
    """
    logs = np.log(norms[np.isfinite(norms) & (norms > 0)])
    if len(logs) < ENOUGH or tolerance <= 0:
        return None
    half, quarter = len(logs) // 2, len(logs) // 4
    older, newer = np.median(logs[half : half + quarter]), np.median(logs[-quarter:])
    span = quarter * (steps[-1] - steps[0]) / (len(steps) - 1)
    pace = (older - newer) / span
    missing = newer - math.log(tolerance)
    if pace <= 0 or missing <= 0:
        return None
    return max(1.0, float(missing / pace) - span / 2)  # the fourth quarter's middle is past


def _norms(trail: Trail) -> tuple[np.ndarray, np.ndarray]:
    steps, rows = trail.numbers.rows()
    return steps, np.array([norm for _, norm, _ in rows])


def _curvature(before: Point, point: Point) -> float:
    """y.s / s.s along the step s, with the gradient's change y."""
    s = point.x - before.x
    y = point.gradient - before.gradient
    return ((s * y).sum() / (s * s).sum()).item()


def _slope(function: Function, point: Point) -> float | None:
    """How steeply f falls along the negative gradient, by a central difference; None: unknown."""
    eps = torch.finfo(point.x.dtype).eps
    width = eps ** (1 / 3) * max(1.0, point.x.abs().max().item())
    move = (width / point.norm) * point.gradient
    slope = (function.at(point.x + move).value - function.at(point.x - move).value) / (2 * width)
    noise = 10 * eps * abs(point.value) / width
    return slope if math.isfinite(slope) and point.norm > 10 * noise else None


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"


def _plain(count: float) -> str:
    """Two digits are all that an estimate is worth."""
    if count >= 1e9:
        return f"{count:.1e}"
    digits = max(0, int(math.log10(max(count, 1))) - 1)
    return f"{round(count, -digits):,.0f}"
