"""minimize: gradient descent on a plain function of one array, as the textbooks mean it."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.keys import Purpose, key
from thalweg.loop.choice import Begin, chosen
from thalweg.loop.function import Function, Point, brief, tensor_of
from thalweg.loop.linesearch import Armijo, BarzilaiBorwein, Steps
from thalweg.loop.minimum import Minimum, Outcome, Trail
from thalweg.loop.watch import Limits, Verdict, Watch

_ELSEWHERE = {
    "jac": "use gradient=",
    "method": "use optimizer=",
    "tol": "use tolerance=",
    "gtol": "use tolerance=",
    "maxiter": "use max_steps=",
    "learning_rate": "use lr=",
    "options": "give max_steps=, tolerance= and the like by themselves",
    "args": "use a lambda, minimize(lambda x: f(x, a, b), x0)",
    "callback": "look at the result's path",
    "bounds": "it knows no constraints",
    "constraints": "it knows no constraints",
}
"""What other packages call it, and what to do here."""


def minimize(
    f: Callable[[Any], Any],
    x0: Any,
    *,
    optimizer: str | Armijo | BarzilaiBorwein | Callable[..., torch.optim.Optimizer] | None = None,
    lr: float | None = None,
    gradient: Callable[[Any], Any] | None = None,
    tolerance: float | None = None,
    relative_tolerance: float = 0.0,
    max_steps: int = 10_000,
    max_seconds: float | None = None,
    starts: int = 1,
    spread: Any = None,
    seed: int = 0,
    **hyper: Any,
) -> Minimum:
    """Find a local minimum of f by gradient descent from x0.

    f: function of one array that returns one number. Without `gradient` it is given a torch tensor
    and differentiated by autograd
    x0: NumPy array, list or number of any shape (whole numbers become float64), or a tensor; the
    result comes back in that kind, a list as an array
    optimizer: "armijo" or "barzilai-borwein" (the default), which choose their own step sizes; a
    name of thalweg's optimizers ("sgd", "momentum", "nesterov", "adam", "adamw"); an `Armijo` or
    `BarzilaiBorwein`; or a function params -> torch optimizer. With `lr` alone: "sgd"
    lr: fixed learning rate, > 0; by default the optimizer's own
    gradient: function of x, of x's shape; f and gradient are then given arrays of x0's kind
    tolerance: gradient norm that counts as zero, >= 0; 1e-6 in float64, 1e-3 in float32
    relative_tolerance: the same as a share of the norm at x0; the larger of both counts
    max_steps, max_seconds: budgets, >= 1 and > 0; the seconds are shared by all starts
    starts: run from so many starts and return the lowest result, with all in `starts`: x0 itself,
    then draws from the box x0 - spread .. x0 + spread (spread 1 by default; a number, or one for
    each element), which depend on `seed` and the start's number alone
    hyper: hyperparameters of the optimizer, such as momentum=0.95 or shrink=0.8
    Of an optimizer that averages (Schedule-Free, the option EMA) result and path are the averages;
    each step then computes f and its gradient at two places.
    Raises UsageError for a setting out of range, an f that is not finite at x0, does not return one
    number, or cannot be differentiated.

    >>> import thalweg
    >>> result = thalweg.minimize(lambda x: (x[0] - 1) ** 2 + 10 * (x[1] + 2) ** 2, [0.0, 0.0])
    >>> result.x.round(6).tolist(), str(result.status)
    ([1.0, -2.0], 'converged')
    >>> steep = thalweg.minimize(lambda x: 5 * x**2, 1.0, lr=0.3)
    >>> str(steep.status), steep.reason.partition(": ")[2].partition(" (")[0]
    ('diverged', 'lr=0.3 is too large where the curvature is 10')
    """
    settings = {
        "f": f,
        "gradient": gradient,
        "lr": lr,
        "tolerance": tolerance,
        "relative_tolerance": relative_tolerance,
        "max_steps": max_steps,
        "max_seconds": max_seconds,
        "starts": starts,
        "seed": seed,
    }
    _check_settings(hyper, settings)
    limits = Limits(
        tolerance=tolerance,
        relative_tolerance=relative_tolerance,
        max_steps=max_steps,
        deadline=math.inf if max_seconds is None else time.perf_counter() + max_seconds,
        max_seconds=max_seconds,
    )
    if starts == 1 and spread is not None:
        warnings.warn("spread has no effect without starts, such as starts=20", stacklevel=2)
    begin = chosen(optimizer, None if lr is None else float(lr), hyper)
    results: list[Minimum] = []
    with torch.inference_mode(False), torch.no_grad():  # whatever the caller's code stands in
        x, is_numpy = tensor_of(x0)
        width = _width(spread, x)
        for number in range(starts):
            if results and time.perf_counter() >= limits.deadline:
                break
            function = Function(f, gradient, is_numpy=is_numpy)
            place = x if number == 0 else _drawn(x, width, seed, number)
            results.append(_descend(function, place, begin, limits, is_drawn=number > 0))
    return results[0] if starts == 1 else _best_of(results, starts)


def _descend(
    function: Function, x: Tensor, begin: Begin, limits: Limits, *, is_drawn: bool
) -> Minimum:
    """One run from x; the loop of all methods."""
    clock = time.perf_counter()
    point = function.at(x)
    steps = begin(function, x)
    trail = Trail(point)
    if not point.is_finite:
        verdict = Outcome.UNDEFINED, _undefined(point, is_drawn)
        return _result(function, steps, trail, verdict, clock, found=point, step=0)

    watch = Watch(point, limits, steps, function)
    number = 0
    verdict = watch.judge(number, point, trail)
    while verdict is None:
        taken = steps.advance(point)
        if taken is None:
            verdict = watch.stuck(number, point)
            break
        before, (point, size) = point, taken
        number += 1
        trail.add(number, point, size)
        watch.see(number, before, point)
        verdict = watch.judge(number, point, trail)

    if verdict[0] is Outcome.CONVERGED:
        return _result(function, steps, trail, verdict, clock, found=point, step=number)
    step = watch.best_number
    if step < number:
        found = f"that of step {step:,}" if step else "x0"
        verdict = verdict[0], f"{verdict[1]}; x is {found}, the lowest f met"
    return _result(function, steps, trail, verdict, clock, found=watch.best, step=step)


def _undefined(point: Point, is_drawn: bool) -> str:
    """A start where f is not defined: an error at x0, the reason of a result at drawn ones."""
    what = f"f is {point.value}"
    if math.isfinite(point.value):
        what = "the gradient of f is not finite"
    if is_drawn:
        return f"{what} at this start"
    raise UsageError(f"{what} at x0: start from a place where f and its gradient are defined")


def _result(
    function: Function,
    steps: Steps,
    trail: Trail,
    verdict: Verdict,
    clock: float,
    *,
    found: Point,
    step: int,
) -> Minimum:
    path = trail.path(function)
    return Minimum(
        x=function.shown(found.x),
        value=found.value,
        gradient_norm=found.norm if found.is_finite else math.nan,
        status=verdict[0],
        reason=verdict[1],
        optimizer=steps.label,
        step=step,
        num_steps=int(path.steps[-1]),
        num_evaluations=function.num_evaluations,
        num_gradients=function.num_gradients,
        seconds=time.perf_counter() - clock,
        path=path,
    )


def _best_of(results: list[Minimum], asked: int) -> Minimum:
    """The result of lowest f, the first of equals, with the others beside it."""
    best = min(results, key=lambda r: r.value if math.isfinite(r.value) else math.inf)
    near = 1e-6 * max(1.0, abs(best.value))
    num_equal = sum(abs(result.value - best.value) <= near for result in results)
    count = f"{len(results)} starts" + (
        f" (of {asked}; the time was up)" if len(results) < asked else ""
    )
    reason = (
        f"best of {count}, {num_equal} of which ended at this f; that is no proof of a global "
        f"minimum; here {best.reason}"
    )
    return replace(best, reason=reason, starts=tuple(results))


def _drawn(x: Tensor, width: np.ndarray, seed: int, number: int) -> Tensor:
    """A start from the box around x, the same whatever the number of starts."""
    generator = np.random.Generator(np.random.Philox(key(Purpose.START, seed, number)))
    shift = width * (2 * generator.random(tuple(x.shape)) - 1)
    return x + torch.as_tensor(shift).to(x)


def _width(spread: Any, x: Tensor) -> np.ndarray:
    """Half the box's sides, float64, of a shape that fits x."""
    try:
        width = np.asarray(1.0 if spread is None else spread, dtype=np.float64)
        is_allowed = bool(np.all((width >= 0) & np.isfinite(width)) and width.any())
        np.broadcast_to(width, tuple(x.shape))
    except (TypeError, ValueError):
        is_allowed = False
        width = np.zeros(())
    if not is_allowed:
        raise UsageError(
            f"spread is {brief(spread)}: it must be a number > 0, or one >= 0 for each element "
            f"of x0, of shape {tuple(x.shape)}"
        )
    return width


def _check_settings(hyper: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise UsageError for the first setting that is out of its range."""
    for name in hyper:
        if name in _ELSEWHERE:
            raise UsageError(f"minimize has no {name}=: {_ELSEWHERE[name]}")
    for name, (test, allowed) in _RANGES.items():
        if not test(settings[name]):
            raise UsageError(f"{name} is {brief(settings[name])}: it must be {allowed}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "f": (callable, "a function of one array"),
    "gradient": (lambda v: v is None or callable(v), "a function of one array"),
    "lr": (lambda v: v is None or (_is_number(v) and v > 0), "a number, > 0"),
    "tolerance": (lambda v: v is None or (_is_number(v) and v >= 0), "a number, >= 0"),
    "relative_tolerance": (lambda v: _is_number(v) and 0 <= v < 1, "a number, >= 0 and < 1"),
    "max_steps": (_is_count, "a whole number, 1 or more"),
    "max_seconds": (lambda v: v is None or (_is_number(v) and v > 0), "a number, > 0"),
    "starts": (_is_count, "a whole number, 1 or more (the first start is x0 itself)"),
    "seed": (lambda v: isinstance(v, Integral), "a whole number"),
}
