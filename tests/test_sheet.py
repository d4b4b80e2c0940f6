"""Formulas as text: what is printed is what runs, in every spelling."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import numpy as np
import pytest

from thalweg.backends import numpy as reference
from thalweg.backends.base import value_of
from thalweg.rules import RULES, Hyper, Rule, _primitives
from thalweg.rules._primitives import ARITIES
from thalweg.rules.formula import compose
from thalweg.rules.language import Apply, Expression
from thalweg.rules.options import (
    EMA,
    Adaptive,
    ByValue,
    Cautious,
    Decoupled,
    TrustRatio,
    UpdateClip,
)
from thalweg.rules.printing import (
    ATOM,
    MATHS,
    POWER,
    PRODUCT,
    QUOTIENT,
    SUM,
    TOTAL,
    Form,
    Spelling,
)
from thalweg.rules.sheet import names_of, sheet, written

JAVASCRIPT = Spelling(
    forms={
        "add": Form("{0} + {1}", SUM, (SUM, QUOTIENT)),
        "subtract": Form("{0} - {1}", SUM, (SUM, QUOTIENT)),
        "multiply": Form("{0} * {1}", PRODUCT, (PRODUCT, POWER)),
        "div": Form("{0} / {1}", QUOTIENT, (PRODUCT, POWER)),
        "sqrt": Form("Math.sqrt({0})", ATOM, (0,)),
        "pow": Form("Math.pow({0}, {1})", ATOM, (0, 0)),
    },
    line="{name} = {value};",
    names={},
    number=repr,
)


COMPARISONS = ["less", "greater", "less_equal", "greater_equal"]


def test_another_language_is_another_table():
    lines = [line for part in sheet(RULES["adam"]) for line in part.lines]
    assert [JAVASCRIPT.assignment(*line) for line in lines] == [
        "rate = lr / (1.0 - Math.pow(beta1, t));",
        "root = 1.0 / Math.sqrt(1.0 - Math.pow(beta2, t));",
        "g = g + weight_decay * p;",
        "m = beta1 * m + (1.0 - beta1) * g;",
        "v = beta2 * v + (1.0 - beta2) * g * g;",
        "p = p - rate * (m / (root * Math.sqrt(v) + eps));",
    ]


def twice_coefficients(lr):
    return lr, 1 - lr


def twice_update(p, g, m, lr, keep):
    p = keep * p
    m = p - lr * g
    p = m - lr * g
    return p, m


def clashing_coefficients(t, lr):
    m = lr * t
    return m, 1 + m


def clashing_update(p, g, m, rate, more):
    m = m + rate * g
    p = p - more * m
    return p, m


TWICE = Rule("twice", twice_coefficients, twice_update, (Hyper("lr", 0.1),))
"""It moves p twice, so that its step cannot be read off a line."""

CLASHING = Rule("clashing", clashing_coefficients, clashing_update, (Hyper("lr", 0.1),))
"""Its functions mean two things by one name."""

OPTIONS = {
    "alone": (),
    "decoupled": (Decoupled(),),
    "clipped and cautious": (ByValue(0.3), Cautious()),
    "clipped by its own size": (Adaptive(0.1), Cautious()),
    "scaled and averaged": (UpdateClip(0.5), TrustRatio(), EMA(0.7)),
}


def evaluated(text: str, known: dict[str, float]) -> dict[str, float]:
    """The names after the printed lines were run, of a tensor of one element."""
    names = {name: getattr(_primitives, name) for name in ("sqrt", "sign")}
    names |= {"max": _primitives.maximum, "min": _primitives.minimum, "size": 1.0, **known}
    for line in text.splitlines():
        if "←" in line:
            name, value = line.strip().split(" ← ")
            exec(f"{name} = {as_python(value)}", names)
    return names


def as_python(text: str) -> str:
    for sign, python in (
        ("·", "*"),
        ("\u2212", "-"),
        ("^", "**"),
        (", else ", " else "),
        ("Σ ", ""),
        ("≤", "<="),
        ("≥", ">="),
    ):
        text = text.replace(sign, python)
    text = re.sub(r"\|([^|]+)\|", r"abs(\1)", text)
    return re.sub(r"√(\w+)", r"sqrt(\1)", text).replace("√(", "sqrt(")


def start(rule: Rule, options: tuple) -> tuple[list[float], dict[str, float], tuple[float, ...]]:
    """(p, g and states, hyperparameters, running scalars) that avoid every 0."""
    source = random.Random(0)
    numbers = [source.uniform(0.5, 1.0) for _ in range(2 + len(compose(rule, options).states))]
    hyper = {row.name: row.default or 0.25 for row in rule.hypers}
    return numbers, hyper, tuple(rule.first_scalars(hyper).values())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("rule", [*RULES.values(), TWICE, CLASHING], ids=lambda rule: rule.name)
@pytest.mark.parametrize("t", [1, 7])
def test_what_is_printed_is_what_runs(rule, options, t):
    if rule.decay == "own" and options:
        pytest.skip(f"{rule.name} takes no option that decays")
    numbers, hyper, scalars = start(rule, options)
    made = reference.update(
        rule, t, *(np.array([x]) for x in numbers), options=options, scalars=scalars, **hyper
    )

    formula = compose(rule, options)
    letters = rule.update_program.inputs[2 : 2 + len(rule.states)]
    own = {k: v for o in formula.options for k, v in vars_of(o).items()}
    places = ("p", "g", *letters, *formula.states[len(letters) :])
    known = dict(zip(places, numbers, strict=True))
    known |= {**own, **hyper, **dict(zip(rule.scalars, scalars, strict=True)), "t": float(t)}
    known = {MATHS.names.get(name, name): value for name, value in known.items()}
    after = evaluated(written(sheet(rule, options), MATHS), known)
    found = [after[name] for name in ("p", *places[2:], *rule.scalars)]
    assert np.allclose([np.ravel(x)[0] for x in made], found, rtol=1e-12, atol=0)


def vars_of(option) -> dict[str, float]:
    return {name: getattr(option, name) for name in type(option).__dataclass_fields__}


def test_a_planted_difference_is_seen():
    numbers, hyper, _ = start(RULES["momentum"], ())
    known = {**dict(zip("pgb", numbers, strict=True)), **hyper, "t": 7.0}
    one, other = (
        evaluated(written(sheet(RULES[name]), MATHS), known)["p"]
        for name in ("momentum", "nesterov")
    )
    assert abs(one - other) > 1e-4


def some_tree(source: random.Random, depth: int) -> Expression:
    """An expression of every operation whose value is a number."""
    if depth == 0:
        return source.choice(["a", "b", 0.5])
    operation = source.choice([name for name in MATHS.forms if name not in (*COMPARISONS, TOTAL)])
    x, y, z, other = (some_tree(source, depth - 1) for _ in range(4))
    size = Apply("add", (Apply("absolute", (x,)), 0.25))
    condition = Apply(source.choice(COMPARISONS), (y, z))
    given = {
        "div": (y, size),
        "sqrt": (size,),
        "pow": (size, 0.5),
        "where": (condition, x, other),
        "negative": (y,),
    }
    return Apply(operation, given.get(operation, (y, z)[: ARITIES.get(operation, 2)]))


@pytest.mark.parametrize("seed", range(200))
def test_brackets_stand_where_they_are_needed(seed):
    tree = some_tree(random.Random(seed), 4)
    known = {"a": 0.7, "b": -1.3}
    expected = value_of(tree, known, reference.OPERATIONS)
    spelling = replace(MATHS, forms={**MATHS.forms, "absolute": Form("abs({0})", ATOM, (0,))})
    found = evaluated(f"x ← {spelling.text(tree)}", known)["x"]  # |a |b|| can be read two ways
    assert found == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_no_name_comes_out_of_nowhere(rule):
    parts = sheet(rule)
    given = {"p", "g", "t", *(row.name for row in rule.hypers), *rule.scalars}
    given |= set(rule.update_program.inputs[2 : 2 + len(rule.states)])
    for part in parts:
        for name, value in part.lines:
            assert names_of([type(part)("", [(name, value)])]) - {name} <= given
            given.add(name)
