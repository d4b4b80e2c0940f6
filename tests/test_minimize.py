"""minimize: methods times functions with known minima times laws, kinds of arrays, bad input."""

from __future__ import annotations

import doctest
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import thalweg
from thalweg import Armijo, BarzilaiBorwein, Minimum, UsageError, minimize
from thalweg.loop.linesearch import _shortened
from thalweg.loop.minimum import MAX_NUMBERS, Outcome, Thinned
from thalweg.loop.watch import GROWTH, PATIENCE, more_steps
from thalweg.optim.averages import shown
from thalweg.rules.options import EMA


@dataclass(frozen=True)
class Problem:
    """A function of tensors and of NumPy arrays, its gradient, a start, and its minima.

    rate: a fixed lr that is safe from the start; condition: of the Hessian at the minimum
    """

    f: Callable[[Any], Any]
    gradient: Callable[[np.ndarray], Any]
    x0: tuple[float, ...]
    minima: tuple[tuple[float, ...], ...]
    value: float
    rate: float
    is_hard: bool = False


def quadratic(condition: float, **more: Any) -> Problem:
    """sum of d_i x_i^2 / 2, with d from 1 to `condition`."""
    d = np.geomspace(1, condition, 4)
    return Problem(
        f=lambda x: sum(float(d[i]) * x[i] ** 2 for i in range(4)) / 2,
        gradient=lambda x: d * x,
        x0=(1.0, -2.0, 3.0, 1.0),
        minima=((0.0,) * 4,),
        value=0.0,
        rate=1 / condition,
        **more,
    )


def rosenbrock(x: Any) -> Any:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def rosenbrock_gradient(x: np.ndarray) -> Any:
    away = x[1] - x[0] ** 2
    return [-2 * (1 - x[0]) - 400 * x[0] * away, 200 * away]


def himmelblau(x: Any) -> Any:
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def himmelblau_gradient(x: np.ndarray) -> Any:
    one, two = x[0] ** 2 + x[1] - 11, x[0] + x[1] ** 2 - 7
    return [4 * x[0] * one + 2 * two, 2 * one + 4 * x[1] * two]


BEALE = ((1.5, 1), (2.25, 2), (2.625, 3))


def beale(x: Any) -> Any:
    return sum((a - x[0] + x[0] * x[1] ** n) ** 2 for a, n in BEALE)


def beale_gradient(x: np.ndarray) -> Any:
    misses = [(2 * (a - x[0] + x[0] * x[1] ** n), n) for a, n in BEALE]
    return [
        sum(miss * (x[1] ** n - 1) for miss, n in misses),
        sum(miss * n * x[0] * x[1] ** (n - 1) for miss, n in misses),
    ]


def _cancer() -> tuple[np.ndarray, np.ndarray]:
    """Breast cancer's rows, standardised, with a constant, each times its class -1 or 1."""
    x, y = load_breast_cancer(return_X_y=True)
    x = np.c_[StandardScaler().fit_transform(x), np.ones(len(x))]
    return x, 2.0 * y - 1


ROWS, CLASSES = _cancer()
SIGNED = torch.tensor(ROWS * CLASSES[:, None])
PENALTY = 1e-2


def logistic(w: Any) -> Any:
    """Mean log loss with a penalty on all weights but the constant's."""
    if isinstance(w, np.ndarray):
        return np.logaddexp(0, -(SIGNED.numpy() @ w)).mean() + PENALTY / 2 * (w[:-1] ** 2).sum()
    return torch.nn.functional.softplus(-(SIGNED @ w)).mean() + PENALTY / 2 * (w[:-1] ** 2).sum()


def logistic_gradient(w: np.ndarray) -> np.ndarray:
    signed = SIGNED.numpy()
    share = 1 / (1 + np.exp(signed @ w))
    return -(share[:, None] * signed).mean(0) + PENALTY * np.append(w[:-1], 0.0)


def logistic_optimum() -> np.ndarray:
    """By SciPy's trust region, to 1e-10 of the gradient."""
    found = scipy.optimize.minimize(
        logistic, np.zeros(31), jac=logistic_gradient, method="BFGS", options={"gtol": 1e-9}
    )
    return found.x


OPTIMUM = logistic_optimum()

PROBLEMS = {
    "round": quadratic(1),
    "condition 100": quadratic(100),
    "condition 1e4": quadratic(1e4, is_hard=True),
    "rosenbrock": Problem(
        rosenbrock, rosenbrock_gradient, (-1.2, 1.0), ((1.0, 1.0),), 0.0, 1e-3, is_hard=True
    ),
    "himmelblau": Problem(
        himmelblau,
        himmelblau_gradient,
        (0.0, 0.0),
        (
            (3.0, 2.0),
            (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.283185991286170),
            (3.584428340330492, -1.848126526964404),
        ),
        0.0,
        5e-3,
    ),
    "beale": Problem(beale, beale_gradient, (1.0, 1.0), ((3.0, 0.5),), 0.0, 1e-2),
    "logistic": Problem(
        logistic,
        logistic_gradient,
        (0.0,) * 31,
        (tuple(OPTIMUM),),
        float(logistic(OPTIMUM)),
        0.25,
    ),
}


@dataclass(frozen=True)
class Method:
    """Settings of minimize; `times` the problem's rate is the lr, None where there is none."""

    settings: dict[str, Any] = field(default_factory=dict)
    times: float | None = None
    is_monotone: bool = False
    is_slow: bool = False

    def __call__(self, problem: Problem, **more: Any) -> Minimum:
        lr = {} if self.times is None else {"lr": self.times * problem.rate}
        return minimize(problem.f, problem.x0, **{**self.settings, **lr, **more})


METHODS = {
    "default": Method(),
    "armijo": Method({"optimizer": "armijo"}, is_monotone=True, is_slow=True),
    "bb1": Method({"optimizer": BarzilaiBorwein(variant=1)}),
    "bb2": Method({"optimizer": "barzilai-borwein"}),
    "bb, monotone": Method(
        {"optimizer": "barzilai-borwein", "window": 1}, is_monotone=True, is_slow=True
    ),
    "sgd": Method(times=1.0, is_monotone=True, is_slow=True),
    "momentum": Method({"optimizer": "momentum"}, times=1.0, is_slow=True),
    "nesterov": Method({"optimizer": "nesterov"}, times=1.0, is_slow=True),
    "adam": Method({"optimizer": "adam", "lr": 0.03}, is_slow=True),
    "torch": Method(
        {
            "optimizer": lambda params: torch.optim.LBFGS(
                params, tolerance_change=0, line_search_fn="strong_wolfe"
            )
        }
    ),
}
PAIRS = list(itertools.product(METHODS, PROBLEMS))


def distance(problem: Problem, x: Any) -> float:
    """From x to the nearest minimum."""
    return min(float(np.linalg.norm(np.asarray(x) - m)) for m in problem.minima)


def sharpness(problem: Problem) -> float:
    """The least curvature at any of the minima."""
    return min(
        torch.linalg.eigvalsh(
            torch.autograd.functional.hessian(problem.f, torch.tensor(m, dtype=torch.float64))
        )[0].item()  # pyright: ignore[reportArgumentType]
        for m in problem.minima
    )


def never_rises(result: Minimum) -> bool:
    return bool(np.all(np.diff(result.path.values) <= 0))


# Every problem has the minima that it claims.


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_known_minima(problem):
    for m in problem.minima:
        assert problem.f(np.array(m)) == pytest.approx(problem.value, abs=1e-12)
        assert np.linalg.norm(problem.gradient(np.array(m))) < 2e-8
    assert sharpness(problem) > 0


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_given_gradients_are_those_of_f(problem):
    x = np.array(problem.x0) + 0.1
    off = scipy.optimize.check_grad(lambda x: float(problem.f(x)), problem.gradient, x)
    assert off < 1e-4 * (1 + np.linalg.norm(problem.gradient(x)))


def test_the_comparators_can_fail():
    problem = PROBLEMS["rosenbrock"]
    assert distance(problem, (1.0, 1.1)) == pytest.approx(0.1)
    assert sharpness(quadratic(1e4)) == pytest.approx(1.0)
    assert not never_rises(METHODS["default"](problem)), "this method is not monotone"
    wrong = scipy.optimize.check_grad(rosenbrock, lambda x: np.zeros(2), np.zeros(2))
    assert wrong > 1


# Methods times problems.


@pytest.mark.parametrize(("method", "problem"), PAIRS, ids=[f"{m}-{p}" for m, p in PAIRS])
def test_reaches_the_minimum(method, problem):
    method, problem = METHODS[method], PROBLEMS[problem]
    if method.is_slow and problem.is_hard:
        pytest.skip("takes far more than 10,000 steps, as the theory says")
    result = method(problem)
    assert result.status == "converged", result
    assert result.converged
    assert result.gradient_norm <= 1e-6
    assert distance(problem, result.x) <= 2e-6 / sharpness(problem)
    assert result.value == pytest.approx(problem.value, abs=1e-9)
    assert result.value == result.path.values[-1]
    assert result.num_steps == result.step == result.path.steps[-1]
    if method.is_monotone:
        assert never_rises(result)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_same_call_same_bits(method):
    one, two = method(PROBLEMS["himmelblau"]), method(PROBLEMS["himmelblau"])
    assert one.path.x.tobytes() == two.path.x.tobytes()
    assert one.reason == two.reason


GIVEN = [("default", p) for p in PROBLEMS] + [("armijo", "beale"), ("adam", "beale")]


@pytest.mark.parametrize(("method", "problem"), GIVEN, ids=[f"{m}-{p}" for m, p in GIVEN])
def test_a_given_gradient_walks_as_autograd_does(method, problem):
    method, problem = METHODS[method], PROBLEMS[problem]
    own = method(problem, max_steps=8)
    given = method(problem, max_steps=8, gradient=problem.gradient)
    np.testing.assert_allclose(given.path.x, own.path.x, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(given.path.gradient_norms, own.path.gradient_norms, rtol=1e-6)
    assert given.num_gradients == own.num_gradients
    other = method(problem, max_steps=8, gradient=lambda x: 1.01 * np.asarray(problem.gradient(x)))
    assert not np.allclose(other.path.gradient_norms, own.path.gradient_norms, rtol=1e-6)


def test_breast_cancer_as_scikit_learn_fits_it():
    model = LogisticRegression(C=1 / (PENALTY * len(ROWS)), tol=1e-10, max_iter=10_000)
    model.fit(ROWS[:, :-1], CLASSES)
    theirs = np.append(model.coef_.ravel(), model.intercept_)
    ours = minimize(logistic, np.zeros(31))
    np.testing.assert_allclose(ours.x, theirs, atol=1e-4)
    assert ours.value <= logistic(theirs) + 1e-10


# Fixed rates: the textbook's bounds.


@pytest.mark.parametrize("curvature", [0.01, 1.0, 10.0, 1e4])
def test_two_over_curvature_is_the_edge(curvature):
    def f(x):
        return curvature / 2 * x**2

    edge = 2 / curvature
    below = minimize(f, 1.0, lr=0.99 * edge)
    assert below.status == "converged"
    assert below.path.x[1] == pytest.approx(1 - 0.99 * 2)

    at = minimize(f, 1.0, lr=edge)
    assert at.status == "stagnated"
    assert at.num_steps == PATIENCE
    assert set(np.abs(at.path.x)) == {1.0}

    for times in (1.001, 1.5):
        above = minimize(f, 1.0, lr=times * edge)
        assert above.status == "diverged", above
        assert "has grown since step 0" in above.reason
        assert f"curvature = {edge:.3g})" in above.reason
        assert above.reason.endswith("x is x0, the lowest f met")
        assert (above.x, above.step, above.value) == (1.0, 0, curvature / 2)


def test_the_rate_that_is_advised_works():
    steep = minimize(PROBLEMS["condition 100"].f, PROBLEMS["condition 100"].x0, lr=0.021)
    assert steep.status == "diverged"
    advised = re.search(r"try lr=([\d.e-]+)", steep.reason)
    assert advised is not None
    again = minimize(PROBLEMS["condition 100"].f, steep.x, lr=float(advised[1]))
    assert again.status == "converged"


def test_a_rate_contracts_as_the_formula_says():
    result = minimize(lambda x: 5 * x**2, 1.0, lr=0.03)
    ratios = result.path.x[1:20] / result.path.x[:19]
    np.testing.assert_allclose(ratios, 1 - 0.03 * 10, rtol=1e-12)


def test_divergence_is_noticed_before_it_overflows():
    result = minimize(rosenbrock, [-1.2, 1.0], lr=0.01)
    assert result.status == "diverged"
    assert np.isfinite(result.path.values).all()
    assert result.path.values[-1] > GROWTH * result.path.values[0]
    assert result.num_steps < 10


def test_polyaks_rates_take_the_root_of_the_condition():
    condition = 1e4
    root = math.sqrt(condition)
    best = {
        "optimizer": "momentum",
        "lr": (2 / (root + 1)) ** 2,
        "momentum": ((root - 1) / (root + 1)) ** 2,
    }
    problem = PROBLEMS["condition 1e4"]
    assert minimize(problem.f, problem.x0, **best).num_steps < 25 * root
    plain = minimize(problem.f, problem.x0, lr=2 / (condition + 1), max_steps=3000)
    assert plain.status == "budget"


def test_too_small_a_rate_says_how_many_steps_it_needs():
    result = minimize(lambda x: 5 * x**2, 1.0, lr=1e-4, max_steps=5000)
    assert result.status == "budget"
    needed = math.log(1e-6 / result.gradient_norm) / math.log(1 - 1e-4 * 10)
    told = re.search(r"about ([\d,]+) more steps would be needed, so lr=0.0001", result.reason)
    assert told is not None
    assert int(told[1].replace(",", "")) == pytest.approx(needed, rel=0.03)


def test_steps_below_rounding_are_named():
    result = minimize(lambda x: x**2, 1.0, lr=1e-20)
    assert result.status == "stagnated"
    assert "too short to change x" in result.reason


def test_pace_of_a_norm_that_does_not_fall_is_unknown():
    steps = np.arange(100)
    assert more_steps(steps, np.ones(100), 1e-6) is None
    assert more_steps(steps, np.exp(steps / 100), 1e-6) is None
    assert more_steps(steps, 0.5**steps, 0.5**200) == pytest.approx(101, abs=2)


# How it ends otherwise.


def ending(f: Callable, x0: Any, **settings: Any) -> tuple[str, str]:
    result = minimize(f, x0, **settings)
    return str(result.status), result.reason


def kink(x):
    return x[0].abs() + 10 * x[1].abs()


ENDINGS = {
    "flat at the start": (lambda x: -(x**2), 0.0, {}, "converged", "flat at x0 already"),
    "relative": (
        rosenbrock,
        [-1.2, 1.0],
        {"tolerance": 0.0, "relative_tolerance": 1e-3},
        "converged",
        "(0.001 of the start's)",
    ),
    "steps": (rosenbrock, [-1.2, 1.0], {"max_steps": 3}, "budget", "max_steps=3 was used up with"),
    "growing at the end": (
        lambda x: 5 * x**2,
        1.0,
        {"lr": 0.2002, "max_steps": 50},
        "diverged",
        "lr=0.2002 is too large where the curvature is 10",
    ),
    "time": (rosenbrock, [-1.2, 1.0], {"max_seconds": 1e-9}, "budget", "max_seconds=1e-09"),
    "no pace": (lambda x: x, 1.0, {"lr": 0.1, "max_steps": 50}, "budget", "though f was"),
    "rounding": (
        lambda x: 1e6 + x**2,
        3.3,
        {"optimizer": "armijo", "tolerance": 1e-9},
        "stagnated",
        "lost in rounding",
    ),
    "kink, line search": (kink, [1.0, 0.3], {"optimizer": "armijo"}, "stagnated", "a kink or jump"),
    "kink, fixed rate": (kink, [1.0, 0.3], {"lr": 0.01}, "stagnated", "a kink or jump"),
    "absolute value": (torch.abs, 1.0, {"lr": 0.3}, "stagnated", "came to a new low in"),
    "no minimum": (lambda x: x.sum(), [1.0, 2.0], {}, "unbounded", "goes on falling"),
    "no minimum, fixed rate": (lambda x: -(x**2), 1.0, {"lr": 1.0}, "unbounded", "falling"),
    "infinite": (lambda x: -torch.exp(x**2), 1.0, {"lr": 9.0}, "unbounded", "minus infinity"),
    "a step out of the domain": (
        lambda x: x - torch.log(x),
        5.0,
        {"lr": 9.0},
        "undefined",
        "f is nan after step 1",
    ),
    "overflow": (torch.cosh, 3.0, {"lr": 99.0}, "diverged", "has grown since step 0"),
    "plateau": (lambda x: 1 - torch.exp(-(x**2)), 0.5, {"lr": 50.0}, "stagnated", "a plateau"),
}


@pytest.mark.parametrize(("f", "x0", "settings", "status", "words"), ENDINGS.values(), ids=ENDINGS)
def test_endings_say_why(f, x0, settings, status, words):
    result = minimize(f, x0, **settings)
    assert (str(result.status), words in result.reason) == (status, True), result
    assert math.isfinite(result.value)
    assert np.isfinite(result.x).all()
    assert "\n" not in result.reason
    if status != "converged":
        assert result.value == min(filter(math.isfinite, result.path.values))
        assert result.status.advice in str(result)


@pytest.mark.parametrize("search", ["armijo", "barzilai-borwein"])
def test_a_search_ends_whatever_the_scale(search):
    def slow(x):  # falls for ever, ever more slowly: the steps would grow beyond all numbers
        return -torch.log(torch.log(x + 3))

    far = minimize(slow, 1.0, optimizer=search, max_steps=3000, tolerance=0.0)
    assert math.isfinite(far.value)
    assert far.num_evaluations < 20_000
    tiny = minimize(lambda x: x**2, 1e-310, optimizer=search, tolerance=0.0)
    assert tiny.status in ("converged", "stagnated")
    short = minimize(lambda x: 1e6 + x**2, 3.0, optimizer=search, first=1e-13, tolerance=1e-3)
    assert short.converged


def test_a_lower_place_on_the_way_is_told():
    result = minimize(lambda x: x**2 / 20 - torch.cos(2 * math.pi * x), 5.2)
    assert result.converged
    assert result.value > result.path.values.min()
    assert f"f was lower at step {result.path.values.argmin()}, " in result.reason


@pytest.mark.parametrize("search", ["armijo", "barzilai-borwein"])
def test_a_line_search_steps_back_from_where_f_is_not_defined(search):
    result = minimize(lambda x: x - torch.log(x), 0.05, optimizer=search)
    assert result.status == "converged"
    assert float(result.x) == pytest.approx(1.0)


@pytest.mark.parametrize("settings", [{}, {"optimizer": "armijo"}, {"lr": 0.1}], ids=str)
@pytest.mark.parametrize("factor", [-1.0, (1.0, -1.0)], ids=str)
def test_a_wrong_gradient_is_doubted(settings, factor):
    result = minimize(
        lambda x: float((x**2).sum()),
        np.ones(2),
        gradient=lambda x: 2 * x * factor,
        **settings,
    )
    assert result.status in ("stagnated", "diverged")
    assert "or its gradient is wrong" in result.reason


def test_every_outcome_advises():
    assert {o.value for o in Outcome} == {
        "converged",
        "stagnated",
        "budget",
        "diverged",
        "unbounded",
        "undefined",
    }
    assert all(o.advice.endswith(".") for o in Outcome)


# Line searches.


@pytest.mark.parametrize("decrease", [1e-4, 0.3, 0.9])
def test_armijo_keeps_its_inequality(decrease):
    path = minimize(rosenbrock, [-1.2, 1.0], optimizer=Armijo(decrease=decrease), max_steps=50).path
    promised = decrease * path.step_sizes[1:] * path.gradient_norms[:-1] ** 2
    assert np.all(path.values[1:] <= path.values[:-1] - promised)
    tighter = 2 * (path.values[:-1] - path.values[1:]).max()
    assert not np.all(path.values[1:] <= path.values[:-1] - tighter)


def test_armijo_tries_the_sizes_that_it_says():
    rule = Armijo(first=1.0, shrink=0.25, grow=3.0)
    result = minimize(lambda x: 4 * x**2, 1.0, optimizer=rule, max_steps=2)
    assert result.path.step_sizes[1:].tolist() == [0.0625, 0.046875]


@pytest.mark.parametrize("variant", [1, 2])
def test_barzilai_and_borweins_step(variant):
    d = np.array([1.0, 10.0])
    result = minimize(
        lambda x: (torch.tensor(d) * x * x).sum() / 2,
        [1.0, 1.0],
        optimizer=BarzilaiBorwein(variant=variant, window=100),
        max_steps=3,
    )
    x, sizes = result.path.x, result.path.step_sizes
    s, y = x[1] - x[0], d * (x[1] - x[0])
    expected = (s @ s) / (s @ y) if variant == 1 else (s @ y) / (y @ y)
    assert sizes[2] == pytest.approx(expected)


def test_the_window_bounds_f():
    path = minimize(rosenbrock, [-1.2, 1.0], optimizer=BarzilaiBorwein(window=5)).path
    recent = [path.values[max(0, i - 4) : i + 1].max() for i in range(len(path) - 1)]
    assert np.all(path.values[1:] <= np.array(recent) * (1 + 1e-14))


@pytest.mark.parametrize("rise", [-1.0, 0.0, 5.0, 1e300, math.inf, math.nan])
def test_a_shortened_step_stays_within_its_bounds(rise):
    assert 0.1 <= _shortened(1.0, 1.0, rise) <= 0.5


# Kinds of arrays.

KINDS = {
    "list": ([1.0, 2.0], np.ndarray, np.float64, (2,)),
    "tuple": ((1.0, 2.0), np.ndarray, np.float64, (2,)),
    "whole numbers": ([1, 2], np.ndarray, np.float64, (2,)),
    "number": (3.0, float, np.float64, ()),
    "whole number": (3, float, np.float64, ()),
    "numpy": (np.ones(3), np.ndarray, np.float64, (3,)),
    "numpy, 0-d": (np.array(2.0), float, np.float64, ()),
    "numpy, 2-d": (np.ones((2, 3)), np.ndarray, np.float64, (2, 3)),
    "numpy, float32": (np.ones(3, np.float32), np.ndarray, np.float32, (3,)),
    "numpy, int": (np.ones(3, np.int32), np.ndarray, np.float64, (3,)),
    "numpy, big endian": (np.ones(3, ">f8"), np.ndarray, np.float64, (3,)),
    "numpy, strided": (np.ones((4, 4))[::-2, 1], np.ndarray, np.float64, (2,)),
    "numpy, column order": (np.ones((2, 3), order="F"), np.ndarray, np.float64, (2, 3)),
    "tensor": (torch.ones(3, dtype=torch.float64), torch.Tensor, torch.float64, (3,)),
    "tensor, float32": (torch.ones(2, 3), torch.Tensor, torch.float32, (2, 3)),
    "tensor, 0-d": (torch.tensor(2.0), torch.Tensor, torch.float32, ()),
    "tensor, int": (torch.ones(3, dtype=torch.int64), torch.Tensor, torch.float64, (3,)),
    "tensor, transposed": (torch.ones(2, 3).T, torch.Tensor, torch.float32, (3, 2)),
    "parameter": (torch.nn.Parameter(torch.ones(3)), torch.Tensor, torch.float32, (3,)),
}


def copied(x: Any) -> np.ndarray:
    return x.detach().numpy().copy() if isinstance(x, torch.Tensor) else np.array(x)


@pytest.mark.parametrize("settings", [{}, {"lr": 0.1}, {"optimizer": "adam", "lr": 0.1}], ids=str)
@pytest.mark.parametrize(("x0", "kind", "dtype", "shape"), KINDS.values(), ids=KINDS)
def test_what_comes_in_comes_out(x0, kind, dtype, shape, settings):
    before = copied(x0)
    seen: list[Any] = []

    def f(x):
        seen.append(x)
        return ((x - 0.5) ** 2).sum()

    result = minimize(f, x0, **settings)
    assert result.converged, result
    assert isinstance(result.x, kind)
    assert (result.x.dtype, tuple(result.x.shape)) == (dtype, shape)
    assert tuple(result.path.x.shape) == (len(result.path), *shape)
    np.testing.assert_allclose(np.asarray(result.x), 0.5, atol=1e-3)
    assert np.array_equal(before, copied(x0)), "x0 itself is left alone"
    assert {type(x) for x in seen} == {torch.Tensor}
    assert not getattr(result.x, "requires_grad", False)

    seen.clear()
    given = minimize(f, x0, gradient=lambda x: 2 * (x - 0.5), **settings)
    assert isinstance(given.x, kind)
    assert {isinstance(x, torch.Tensor) for x in seen} == {kind is torch.Tensor}


def test_f_may_write_into_what_it_is_given():
    def spoil(x):
        value = float((x**2).sum())
        x[:] = 7
        return value

    def gradient(x):
        x *= 2
        return x

    assert minimize(spoil, np.ones(3), gradient=gradient).converged


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_autograd_works_where_it_is_switched_off(mode):
    with mode():
        x = torch.ones(2)
        assert minimize(rosenbrock, x + 1).converged
        assert not torch.is_grad_enabled()


def test_a_vector_of_one_is_one_number():
    assert minimize(lambda x: (x - 1) ** 2, [3.0]).x == pytest.approx([1.0])
    assert minimize(lambda x: (x - 1) ** 2, [3.0], gradient=lambda x: 2 * (x - 1)).converged


# The path, and what it costs.


def test_counts_are_the_calls():
    calls = {"f": 0, "gradient": 0}

    def f(x):
        calls["f"] += 1
        return rosenbrock(x)

    def gradient(x):
        calls["gradient"] += 1
        return rosenbrock_gradient(x)

    for settings in ({}, {"optimizer": "armijo", "max_steps": 20}, {"lr": 1e-3, "max_steps": 20}):
        calls.update(f=0, gradient=0)
        result = minimize(f, np.array([-1.2, 1.0]), gradient=gradient, **settings)
        assert (result.num_evaluations, result.num_gradients) == tuple(calls.values())
        assert result.num_gradients == result.num_steps + 1
        if "lr" in settings:
            assert result.num_evaluations == result.num_steps + 1


def test_the_path_is_the_way():
    path = minimize(rosenbrock, [-1.2, 1.0]).path
    assert path.x[0].tolist() == [-1.2, 1.0]
    assert path.steps.tolist() == path.x_steps.tolist() == list(range(len(path)))
    np.testing.assert_allclose(path.values, [rosenbrock(x) for x in path.x], rtol=1e-9)
    norms = [np.linalg.norm(rosenbrock_gradient(x)) for x in path.x]
    np.testing.assert_allclose(path.gradient_norms, norms, rtol=1e-9, atol=1e-12)
    moved = np.linalg.norm(np.diff(path.x, axis=0), axis=1)
    np.testing.assert_allclose(moved, path.step_sizes[1:] * norms[:-1], rtol=1e-6)
    assert math.isnan(path.step_sizes[0])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100, 1023])
@pytest.mark.parametrize("limit", [2, 5, 8])
def test_thinning_keeps_every_kth_and_the_last(count, limit):
    kept = Thinned[int](limit)
    for number in range(count):
        kept.add(number, -number)
    numbers, rows = kept.rows()
    assert [-n for n in numbers] == rows
    assert len(numbers) <= limit + 1
    assert (numbers[0], numbers[-1]) == (0, count - 1)
    assert len(set(np.diff(numbers[:-1]))) <= 1
    if count <= limit:
        assert numbers.tolist() == list(range(count))


def test_a_large_x_is_kept_now_and_then():
    size = MAX_NUMBERS // 4
    result = minimize(lambda x: (x**2).sum(), torch.ones(size), lr=0.01, max_steps=9)
    assert len(result.path) == 10
    assert result.path.x_steps.tolist() == [0, 4, 8, 9]
    assert result.path.x.shape == (4, size)


# Optimizers that average: the average is the answer.


class Trained(torch.optim.SGD):
    """As other packages have it: a step is refused before train() was called."""

    is_training = False

    def train(self) -> None:
        self.is_training = True

    def eval(self) -> None:
        self.is_training = False

    def step(self, closure: Any = None) -> Any:
        assert self.is_training
        return super().step(closure)


AVERAGING: dict[str, Callable[[list[Any]], Any]] = {
    "schedulefreesgd": lambda params: thalweg.ScheduleFreeSGD(params, lr=0.01),
    "schedulefreeadamw": lambda params: thalweg.ScheduleFreeAdamW(params, lr=0.1),
    "ema": lambda params: thalweg.SGD(params, lr=0.01, options=[EMA(0.8)]),
}


@pytest.mark.parametrize("make", AVERAGING.values(), ids=AVERAGING)
def test_the_average_is_the_answer(make):
    problem = PROBLEMS["condition 100"]
    result = minimize(problem.f, problem.x0, optimizer=make, max_steps=40)
    x = torch.tensor(problem.x0, dtype=torch.float64, requires_grad=True)
    optimizer, path, beside = make([x]), [problem.x0], []
    for _ in range(40):
        optimizer.zero_grad()
        problem.f(x).backward()
        optimizer.step()
        beside.append(x.tolist())
        with shown(optimizer):
            path.append(tuple(x.tolist()))
    assert result.path.x == pytest.approx(np.array(path), rel=1e-14)
    assert result.value == pytest.approx(min(problem.f(p) for p in path), rel=1e-12)
    assert np.abs(result.path.x[1:] - beside).max() > 1e-3, "the two differ"
    assert 41 < result.num_evaluations <= 81, "f at both places"


def test_an_average_comes_to_the_minimum():
    problem = PROBLEMS["condition 100"]
    settings: dict[str, Any] = {"optimizer": "schedulefreeadamw", "lr": 0.1, "tolerance": 1e-4}
    result = minimize(problem.f, problem.x0, **settings)
    assert result.converged
    assert distance(problem, result.x) < 1e-3


def test_an_optimizer_with_train_and_eval_is_put_into_training():
    result = minimize(lambda x: (x**2).sum(), [4.0], optimizer=lambda p: Trained(p, lr=0.1))
    assert result.converged


# Several starts.


def test_best_of_several_starts():
    def f(x):  # minima near every whole number, the lowest at 0
        return x**2 / 20 - torch.cos(2 * math.pi * x)

    one = minimize(f, 5.2)
    many = minimize(f, 5.2, starts=30, spread=6.0)
    assert one.starts == ()
    assert one.value > 0
    assert float(many.x) == pytest.approx(0.0, abs=1e-5)
    assert len(many.starts) == 30
    assert many.value == min(r.value for r in many.starts)
    assert many.starts[0].x == one.x
    assert "best of 30 starts" in many.reason
    assert "no proof of a global minimum" in many.reason


def test_starts_are_keyed():
    def firsts(**settings):
        return [r.path.x[0].tolist() for r in minimize(himmelblau, [1.0, 2.0], **settings).starts]

    five = firsts(starts=5, spread=[3.0, 0.0])
    assert five[0] == [1.0, 2.0]
    assert firsts(starts=3, spread=[3.0, 0.0]) == five[:3]
    assert firsts(starts=5, spread=[3.0, 0.0], seed=1)[1:] != five[1:]
    assert all(-2 <= x <= 4 and y == 2.0 for x, y in five)
    assert len({x for x, _ in five}) == 5


def test_all_four_minima_of_himmelblau_are_found():
    results = minimize(himmelblau, [0.0, 0.0], starts=20, spread=5.0).starts
    nearest = {
        min(range(4), key=lambda i: np.linalg.norm(r.x - PROBLEMS["himmelblau"].minima[i]))
        for r in results
    }
    assert nearest == {0, 1, 2, 3}


def test_a_start_where_f_is_not_defined_is_passed_over():
    result = minimize(lambda x: x - torch.log(x), 0.5, starts=10, spread=3.0)
    assert result.converged
    lost = [r for r in result.starts if r.status == "undefined"]
    assert lost
    assert all(r.reason == "f is nan at this start" for r in lost)


def test_time_is_shared_by_the_starts():
    result = minimize(rosenbrock, [-1.2, 1.0], starts=1000, max_seconds=0.2, lr=1e-6)
    assert 1 <= len(result.starts) < 1000
    assert "(of 1000; the time was up)" in result.reason


def test_spread_without_starts_warns():
    with pytest.warns(UserWarning, match="spread has no effect"):
        minimize(rosenbrock, [0.0, 0.0], spread=1.0)


# Words.


def test_printed():
    result = minimize(rosenbrock, [-1.2, 1.0])
    lines = str(result).splitlines()
    assert lines[0] == f"converged: {result.reason}"
    assert [line.split()[0] for line in lines[1:]] == ["f", "x", "optimizer", "cost"]
    assert repr(result).startswith("Minimum(status='converged', value=")
    long = minimize(lambda x: (x**2).sum(), np.ones((100, 100)))
    assert len(str(long).splitlines()) < 20


LABELS = {
    "barzilai-borwein": {},
    "armijo": {"optimizer": "Armijo"},
    "sgd, lr 0.001": {"lr": 1e-3},
    "momentum, lr 0.001": {"optimizer": "momentum"},
    "nesterov, lr 0.002, momentum 0.8": {"optimizer": "nesterov", "lr": 0.002, "momentum": 0.8},
    "RMSprop, lr 0.002": {"optimizer": torch.optim.RMSprop, "lr": 0.002},
}


@pytest.mark.parametrize(("label", "settings"), LABELS.items(), ids=LABELS)
def test_the_result_says_what_took_the_steps(label, settings):
    assert minimize(rosenbrock, [-1.2, 1.0], max_steps=3, **settings).optimizer == label


class Alike(doctest.OutputChecker):
    """The words as they stand; numbers within a factor of 2, or both tiny: machines round apart."""

    NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if self.NUMBER.sub("#", want) != self.NUMBER.sub("#", got):
            return False
        return all(
            a == b or max(abs(a), abs(b)) < 1e-5 or (a * b > 0 and 0.5 < a / b < 2)
            for a, b in zip(self.numbers(want), self.numbers(got), strict=True)
        )

    def numbers(self, text: str) -> list[float]:
        return [float(number.replace(",", "")) for number in self.NUMBER.findall(text)]


def test_the_page_shows_what_happens():
    page = Path(__file__).resolve().parent.parent / "docs" / "minimize.md"
    examples = doctest.DocTestParser().get_doctest(
        page.read_text(encoding="utf-8"), {}, page.name, page.name, 0
    )
    found = doctest.DocTestRunner(checker=Alike()).run(examples)
    assert found.failed == 0
    assert found.attempted >= 10


@pytest.mark.parametrize(
    ("got", "is_alike"),
    [
        ("x 1.5, norm 2e-08 after 98 steps", True),
        ("x 1.5, norm 7e-09 after 120 steps", True),
        ("x 1.5, norm 2e-08 after 300 steps", False),
        ("x -1.5, norm 2e-08 after 98 steps", False),
        ("x 1.5, slope 2e-08 after 98 steps", False),
        ("x 1.5, norm 2e-08 after 98 steps, 1", False),
    ],
)
def test_the_pages_comparator_can_fail(got, is_alike):
    assert Alike().check_output("x 1.5, norm 2e-08 after 98 steps", got, 0) == is_alike


def test_names_are_public():
    for name in ("Armijo", "BarzilaiBorwein", "Minimum", "minimize"):
        assert name in thalweg.__all__


def test_adamw_leaves_the_minimum_where_it_is():
    result = minimize(lambda x: (x - 3) ** 2, 0.0, optimizer="adamw", lr=0.1)
    assert float(result.x) == pytest.approx(3.0, abs=1e-5)
    shrunk = minimize(lambda x: (x - 3) ** 2, 3.1, optimizer="adamw", lr=0.1, weight_decay=0.5)
    assert not shrunk.converged
    assert shrunk.path.x[-1] < 2.999


def ones(x):
    return (x**2).sum()


X = np.ones(3)
BAD = {
    "f is no function": (3, X, {}, "f is 3"),
    "gradient is no function": (ones, X, {"gradient": 3}, "gradient is 3"),
    "a float": (lambda x: 3.0, X, {}, "returned a float, so autograd cannot"),
    "detached": (lambda x: ones(x.detach()), X, {}, "detached from x"),
    "another leaf": (lambda x: torch.ones((), requires_grad=True), X, {}, "does not depend on x"),
    "numpy's sine": (lambda x: np.sin(x).sum(), X, {}, "written in NumPy.*gradient="),
    "numpy's sum": (lambda x: np.sum(x**2), X, {}, "written in NumPy.*gradient="),
    "numpy's array": (lambda x: (np.asarray(x) ** 2).sum(), X, {}, "written in NumPy.*gradient="),
    "a vector": (lambda x: x**2, X, {}, r"shape \(3,\): it must return one number"),
    "a vector, given": (lambda x: x, X, {"gradient": ones}, r"shape \(3,\): it must return one"),
    "nothing": (lambda x: None, X, {}, "f returned None"),
    "a pair": (lambda x: (ones(x), 2 * x), X, {}, "a tuple .*gradient="),
    "text": (lambda x: "1", X, {}, "f returned a str"),
    "complex f": (lambda x: ones(x) * 1j, X, {}, "complex number"),
    "complex f, given": (lambda x: 1j, X, {"gradient": ones}, "complex number"),
    "nan at the start": (lambda x: torch.log(-x).sum(), X, {}, "f is nan at x0"),
    "inf at the start": (lambda x: (1 / x).sum(), 0 * X, {}, "f is inf at x0"),
    "no slope at the start": (lambda x: torch.sqrt(x).sum(), 0 * X, {}, "gradient of f is not"),
    "gradient of no shape": (ones, X, {"gradient": lambda x: 2.0}, r"shape \(\): .* \(3,\)"),
    "gradient too short": (ones, X, {"gradient": lambda x: x[:2]}, r"shape \(2,\): .* \(3,\)"),
    "gradient of nothing": (ones, X, {"gradient": lambda x: None}, "gradient returned None"),
    "gradient of text": (ones, X, {"gradient": lambda x: "abc"}, "gradient returned a str"),
    "complex gradient": (ones, X, {"gradient": lambda x: x * 1j}, "complex numbers"),
    "nan gradient": (ones, X, {"gradient": lambda x: x * np.nan}, "gradient of f is not finite"),
    "complex x0": (ones, X * 1j, {}, "x0 is complex128"),
    "complex tensor": (ones, torch.ones(2) * 1j, {}, "x0 is complex64"),
    "flags": (ones, [True, False], {}, "x0 holds bool"),
    "half precision": (ones, X.astype(np.float16), {}, "x0 holds float16"),
    "brain floats": (ones, torch.ones(2, dtype=torch.bfloat16), {}, "x0 holds bfloat16"),
    "text for x0": (ones, "abc", {}, "x0 holds text"),
    "nothing for x0": (ones, None, {}, "x0 holds a NoneType"),
    "uneven lists": (ones, [[1.0], [1.0, 2.0]], {}, "uneven lists"),
    "a dict": (ones, {"a": 1.0}, {}, "x0 is a dict: minimize takes one array"),
    "tensors": (ones, (torch.ones(2), torch.ones(3)), {}, "tuple of tensors: .*torch.cat"),
    "empty": (ones, [], {}, "x0 is empty"),
    "nan in x0": (ones, [1.0, np.nan], {}, "x0 holds a number that is nan"),
    "an unknown name": (ones, X, {"optimizer": "momentun"}, "did you mean momentum"),
    "arguments swapped": (X, ones, {}, r"f is array\(\[1., 1., 1.\]\)"),
    "a made optimizer": (
        ones,
        X,
        {"optimizer": torch.optim.SGD([torch.ones(1)], lr=1.0)},
        "optimizer is SGD",
    ),
    "no optimizer": (ones, X, {"optimizer": 3}, "optimizer is 3"),
    "makes none": (ones, X, {"optimizer": lambda params: 3}, "returned 3"),
    "lr beside a search": (ones, X, {"optimizer": "armijo", "lr": 0.1}, "leave lr out"),
    "an lr it does not take": (ones, X, {"optimizer": lambda params: 1, "lr": 1}, "no lr="),
    "another's setting": (ones, X, {"optimizer": "adam", "shrink": 0.1}, "adam takes no shrink="),
    "a search's wrong setting": (ones, X, {"momentum": 0.9}, "BarzilaiBorwein takes no momentum="),
    "beside an object": (ones, X, {"optimizer": Armijo(), "shrink": 0.1}, "give it inside"),
    "momentum": (ones, X, {"optimizer": "momentum", "momentum": 2.0}, "0 <= momentum < 1"),
    "shrink": (ones, X, {"optimizer": "armijo", "shrink": 1.0}, "0 < shrink < 1"),
    "shrink as text": (ones, X, {"optimizer": "armijo", "shrink": "a"}, "0 < shrink < 1"),
    "decrease": (ones, X, {"decrease": 0.0}, "0 < decrease < 1"),
    "grow": (ones, X, {"optimizer": "armijo", "grow": 0.5}, "grow >= 1"),
    "first": (ones, X, {"first": -1.0}, "first > 0"),
    "variant": (ones, X, {"variant": 3}, "variant=3"),
    "window": (ones, X, {"window": 0}, "window >= 1"),
    "lr below 0": (ones, X, {"lr": -0.1}, "lr is -0.1"),
    "lr as text": (ones, X, {"lr": "0.1"}, "lr is '0.1'"),
    "lr nan": (ones, X, {"lr": math.nan}, "lr is nan"),
    "tolerance": (ones, X, {"tolerance": -1}, "tolerance is -1"),
    "relative": (ones, X, {"relative_tolerance": 1.5}, "relative_tolerance is 1.5"),
    "max_steps": (ones, X, {"max_steps": 0}, "max_steps is 0"),
    "broken max_steps": (ones, X, {"max_steps": 1.5}, "max_steps is 1.5"),
    "max_seconds": (ones, X, {"max_seconds": 0}, "max_seconds is 0"),
    "starts": (ones, X, {"starts": 0}, "starts is 0"),
    "seed": (ones, X, {"starts": 2, "seed": 0.5}, "seed is 0.5"),
    "spread": (ones, X, {"starts": 2, "spread": -1}, "spread is -1"),
    "spread's shape": (ones, X, {"starts": 2, "spread": [1, 2]}, r"spread is \[1, 2\]"),
    "spread as text": (ones, X, {"starts": 2, "spread": "wide"}, "spread is 'wide'"),
    "scipy's method": (ones, X, {"method": "BFGS"}, "use optimizer="),
    "scipy's jac": (ones, X, {"jac": ones}, "use gradient="),
    "scipy's bounds": (ones, X, {"bounds": []}, "no constraints"),
}


@pytest.mark.parametrize(("f", "x0", "settings", "words"), BAD.values(), ids=BAD)
def test_bad_input_gets_one_line(f, x0, settings, words):
    with pytest.raises(UsageError, match=words) as caught:
        minimize(f, x0, **settings)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_an_error_of_f_itself_comes_through():
    with pytest.raises(IndexError, match="7"):
        minimize(lambda x: x[7], X)
    with pytest.raises(TypeError, match="NoneType") as caught:
        minimize(lambda x: x.sum() + None, X)
    assert "gradient=" in caught.value.__notes__[0]
