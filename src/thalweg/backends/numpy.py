"""The living definition: a formula in NumPy float64, which every other backend must equal.

Slow and plain on purpose. Tests run it beside the fast backends; nothing else does.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thalweg.backends.base import evaluate, value_of
from thalweg.rules import MatrixRule, Rule
from thalweg.rules.formula import Formula, call, compose, input_of
from thalweg.rules.options import Option

OPERATIONS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "negative": operator.neg,
    "less": operator.lt,
    "greater": operator.gt,
    "less_equal": operator.le,
    "greater_equal": operator.ge,
    "div": np.divide,
    "sqrt": np.sqrt,
    "pow": np.power,
    "absolute": np.abs,
    "sign": np.sign,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
}


def first_states(
    rule: Rule, p: np.ndarray, options: Sequence[Option] = (), **hyper: float
) -> list[np.ndarray]:
    """The states before the first update, float64."""
    formula = compose(rule, tuple(options))
    start = {**hyper, "p": p}
    return [
        np.zeros_like(p, dtype=np.float64) + start.get(formula.starts_at.get(name, ""), 0.0)
        for name in formula.states
    ]


def update(
    rule: Rule,
    t: int,
    p: np.ndarray,
    g: np.ndarray,
    *state: np.ndarray,
    scalars: Sequence[float] = (),
    options: Sequence[Option] = (),
    **hyper: float,
) -> tuple[Any, ...]:
    """One update of one tensor; returns (p, *state, *scalars), float64, and changes nothing.

    t: which update this is, counted from 1; p, g, state: arrays of one shape
    """
    formula = compose(rule, tuple(options))
    arrays = [np.asarray(array, dtype=np.float64) for array in (p, g, *state)]
    given = scalars or tuple(rule.first_scalars(hyper).values())
    new_scalars, values = formula.values(float(t), given, hyper)
    if rule.conclude is not None:
        new_scalars, values = _concluded(formula, arrays, new_scalars, values, hyper)
    names = ("p", "g", *map(input_of, formula.states), *formula.coefficients)
    known: dict[str, Any] = dict(zip(names, (*arrays, *values), strict=True))
    for measure in formula.measures:
        scope = dict(known)
        evaluate(measure.lines, scope, OPERATIONS)
        sums = [np.sum(value_of(s, scope, OPERATIONS)) for s in measure.sums]
        known[measure.name] = scale_of(measure, sums, arrays[0].size, hyper)
    evaluate(formula.lines, known, OPERATIONS)
    outputs = (value_of(output, known, OPERATIONS) for output in formula.outputs)
    return (*outputs, *new_scalars)


def _concluded(
    formula: Formula,
    arrays: Sequence[np.ndarray],
    scalars: list[float],
    values: list[float],
    hyper: Mapping[str, float],
) -> tuple[list[float], list[float]]:
    """(scalars, coefficients) after a rule that couples tensors has measured this one alone."""
    rule = formula.rule
    program = rule.measure_program
    known: dict[str, Any] = dict(zip(program.inputs, [*arrays, *values], strict=False))
    evaluate(program.lines, known, OPERATIONS)
    sums = [np.sum(value_of(output, known, OPERATIONS)) for output in program.outputs]
    by_name = {f"sum{k}": value for k, value in enumerate(sums)}
    running = dict(zip(rule.scalars, scalars, strict=True))
    assert rule.conclude is not None
    made = call(rule.conclude, {**hyper, **running, **by_name})
    cut, num_own = len(rule.scalars), len(rule.coefficients_program.outputs) - len(rule.scalars)
    return made[:cut], [*values[:num_own], *made[cut:], *values[num_own:]]


def scale_of(measure: Any, sums: Sequence[Any], size: Any, hyper: Mapping[str, Any]) -> Any:
    """The coefficient that a measure's sums come to."""
    by_name = {f"sum{i}": value for i, value in enumerate(sums)}
    return call(measure.scale, {**hyper, **measure.fields, **by_name, "size": size})[0]


class NumpyArrays:
    """The array names of matrix rules (`rules/matrix.py`), in float64 whatever a rule asks for.

    Nothing is written over.
    """

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a @ b

    def addmm(
        self, c: np.ndarray, a: np.ndarray, b: np.ndarray, *, beta: float, alpha: float
    ) -> np.ndarray:
        return beta * c + alpha * (a @ b)

    def transpose(self, a: np.ndarray) -> np.ndarray:
        return np.swapaxes(a, -1, -2)

    def lerp(self, a: np.ndarray, b: np.ndarray, share: float, *, out: Any = None) -> np.ndarray:
        return (1 - share) * a + share * b

    def mean(self, a: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(a, axis, keepdims=True)

    def norm(self, a: np.ndarray) -> np.ndarray:
        return np.sqrt(np.sum(a * a, tuple(range(1, a.ndim)), keepdims=True))

    def add(self, a: np.ndarray, b: np.ndarray, *, alpha: float, out: Any = None) -> np.ndarray:
        return a + alpha * b

    def multiply(self, a: np.ndarray, b: Any, *, out: Any = None) -> np.ndarray:
        return a * b

    def divide(self, a: np.ndarray, b: Any, *, out: Any = None) -> np.ndarray:
        return a / b

    def sqrt(self, a: np.ndarray, *, out: Any = None) -> np.ndarray:
        return np.sqrt(a)

    def maximum(self, a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return np.minimum(a, b)

    def bfloat16(self, a: np.ndarray) -> np.ndarray:
        return a

    def astype(self, a: np.ndarray, like: np.ndarray) -> np.ndarray:
        return a

    def eps(self, a: np.ndarray) -> float:
        return float(np.finfo(np.float64).eps)


def matrix_states(rule: MatrixRule, p: np.ndarray) -> list[np.ndarray]:
    """The states before the first update, float64."""
    return [np.zeros(shape(p.shape)) for shape in rule.states.values()]


def matrix_update(
    rule: MatrixRule, t: int, p: np.ndarray, g: np.ndarray, *state: np.ndarray, **settings: Any
) -> tuple[np.ndarray, ...]:
    """One update of one tensor; returns (p, *state), float64, and changes nothing.

    t: which update this is, counted from 1; settings: hyperparameters and switches, by the rule's
    names
    """
    arrays = [np.asarray(array, dtype=np.float64)[np.newaxis] for array in (p, g, *state)]
    wanted = (settings[name] for name in rule.wanted)
    step, *states = rule.update(NumpyArrays(), t, *arrays, *wanted)
    return (arrays[0][0] - step[0], *(state[0] for state in states))
