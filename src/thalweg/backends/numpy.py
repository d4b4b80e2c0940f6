"""The living definition: a formula in NumPy float64, which every other backend must equal.

Slow and plain on purpose. Tests run it beside the fast backends; nothing else does.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thalweg.backends.base import evaluate, value_of
from thalweg.rules import Rule
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
