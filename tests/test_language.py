"""The rule language: what is refused, where and why; what is read runs as Python runs it."""

from __future__ import annotations

import inspect
import math
import random
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import refused_rules
from definition import BACKENDS, Walk, make, parameters
from thalweg.backends.base import evaluate, value_of
from thalweg.backends.numpy import OPERATIONS
from thalweg.errors import UsageError
from thalweg.rules import RULES, Hyper, Rule
from thalweg.rules.language import read
from thalweg.rules.options import EMA, Cautious, UpdateClip

SOURCE = Path(refused_rules.__file__).read_text(encoding="utf-8").splitlines()
REFUSED = {
    name: value
    for name, value in vars(refused_rules).items()
    if isinstance(value, types.FunctionType)
    and value.__module__ == refused_rules.__name__
    and name != "doubled"
}
HINTS = {
    "a_division_sign": r"div\(a, b\)",
    "a_power_sign": r"g \* g",
    "an_if": r"where\(condition, a, b\)",
    "an_inline_if": r"where\(condition, a, b\)",
    "an_augmented_assignment": r"m = m \+",
    "a_number_in_the_update": "let the coefficients return it",
    "an_attribute": "bare names",
    "an_and": "nest two where",
    "a_power_in_the_update": "coefficients only",
    "a_global_name": "BETA is neither an argument nor assigned before",
    "an_unknown_primitive": "exp is not among .*sqrt",
    "too_few_arguments": "div takes 2 arguments",
    "a_default_argument": "no defaults",
    "no_return": "must end with `return",
    "two_targets": "assigns to one name",
    "a_decorated_function": "decorator",
    "a_lambda": "`def`",
    "a_coroutine": "`def`",
    "an_argument_named_like_a_primitive": "sign is a primitive",
}
"""What the message says besides the place."""


def line_of(name: str) -> int:
    """The line that ends in `# here`, in or after the function's first line."""
    first = inspect.getsourcelines(REFUSED[name])[1]
    return next(k for k, text in enumerate(SOURCE, 1) if k >= first and text.endswith("# here"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_leaves_the_language_is_refused(name):
    with pytest.raises(UsageError, match=HINTS.get(name, "refused")) as caught:
        read(REFUSED[name])
    text = str(caught.value)
    assert "\n" not in text
    assert f"line {line_of(name)}:" in text, f"the line is {line_of(name)}: {text}"


def test_the_table_is_long_and_every_hint_has_its_function():
    assert len(REFUSED) > 45
    assert HINTS.keys() <= REFUSED.keys()


def typed_at_a_prompt() -> Any:
    scope: dict[str, Any] = {}
    exec("def update(p, g, lr):\n    return p - lr * g\n", scope)
    return scope["update"]


NO_SOURCE = {
    "typed at a prompt": typed_at_a_prompt(),
    "print": print,
    "3": 3,
    "a module": nn.Linear(1, 1),
}


@pytest.mark.parametrize("function", NO_SOURCE.values(), ids=NO_SOURCE)
def test_without_a_source_there_is_no_kernel(function):
    with pytest.raises(UsageError, match=r"source|def"):
        read(function)


def test_lambdas_in_a_call_are_told():
    with pytest.raises(UsageError, match="def") as caught:
        Rule("x", lambda lr: lr, lambda p, g, lr: p - lr * g, (Hyper("lr", 0.1),))
    assert "\n" not in str(caught.value)


# What is accepted runs as Python runs it.


def run(function: Any, *given: float, is_coefficients: bool = False) -> list[float]:
    """The function's tree, evaluated on numbers."""
    program = read(function, is_coefficients=is_coefficients)
    known: dict[str, Any] = dict(zip(program.inputs, given, strict=True))
    evaluate(program.lines, known, OPERATIONS)
    return [float(value_of(output, known, OPERATIONS)) for output in program.outputs]


def plainly(function: Any, *given: float) -> list[float]:
    made = function(*given)
    return [float(v) for v in (made if isinstance(made, tuple) else (made,))]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_read_is_the_function_itself(rule):
    source = random.Random(0)
    update, coefficients = RULES[rule].update, RULES[rule].coefficients
    for _ in range(20):
        given = [abs(source.gauss(0, 1)) for _ in read(update).inputs]
        given[:2] = [source.gauss(0, 1), source.gauss(0, 1)]
        assert run(update, *given) == plainly(update, *given)
        names = read(coefficients, is_coefficients=True).inputs
        first = [float(source.randint(1, 20))] if "t" in names else []
        given = first + [source.uniform(0.1, 0.9) for _ in names[len(first) :]]
        expected = plainly(coefficients, *given)
        assert run(coefficients, *given, is_coefficients=True) == pytest.approx(expected, rel=1e-15)


# fmt: off
class Holder:
    """A function that stands further in, with a comment that stands further out."""

    def update(p, g, lr):
        """A docstring
        of two lines."""
# a comment at the margin
        p = p - lr * -g
        return p
# fmt: on


def test_a_function_that_stands_further_in_is_read():
    assert run(Holder.update, 1.0, 2.0, 0.5) == [2.0]


def test_the_line_is_right_further_in_as_well():
    def update(p, g, lr):
        p = p - lr * g
        p = p / g
        return p

    with pytest.raises(UsageError, match=f"line {update.__code__.co_firstlineno + 2}:"):
        read(update)


def test_reading_happens_once():
    assert read(RULES["adam"].update) is read(RULES["adam"].update)
    numbers = RULES["adam"].coefficients
    assert read(numbers, is_coefficients=True) is read(numbers, is_coefficients=True)
    with pytest.raises(UsageError):
        read(numbers)


# Rows whose numbers do not fit.


def rate(lr):
    return lr


def two(lr):
    return lr, 1 - lr


def signum(p, g, m, lr, fresh):
    m = m + fresh * (g - m)
    p = p - lr * sign(m)
    return p, m


def swapped(g, p, lr):
    return p - lr * g


def unknown_hyper(lr, beta):
    return lr, beta


def named_step(p, g, step, lr, fresh):
    step = step + fresh * g
    p = p - lr * step
    return p, step


FIELDS = ("coefficients", "update", "hypers")
LR = (Hyper("lr", 0.1),)
WRONG = {
    "too few coefficients": ((rate, signum, LR), {}, "takes 2 coefficients, 1 are returned"),
    "too many": ((two, swapped, LR), {}, "takes|update"),
    "p is not first": ((rate, swapped, LR), {}, r"\(p, g, \*state"),
    "an unknown hyperparameter": ((unknown_hyper, signum, LR), {}, "beta"),
    "too many names": ((two, signum, LR), {"states": ("m", "v")}, "returns 1 states"),
    "a scalar too many": ((two, signum, LR), {"scalars": {"s": 1.0}}, "2 coefficients, 1"),
    "a state called step": ((two, named_step, LR), {}, "'step'"),
    "a name that is no text": ((two, signum, LR), {"name": 3}, "its name must be a text"),
    "one hyperparameter": ((two, signum, LR[0]), {}, r"hypers is Hyper.*give a tuple"),
    "names of hyperparameters": ((two, signum, ("lr",)), {}, r"hypers is .*give a tuple"),
    "a list of them": ((two, signum, [*LR]), {}, r"hypers is .*give a tuple"),
    "one twice": ((two, signum, LR * 2), {}, "two of its hyperparameters"),
    "one that is not taken": (
        (two, signum, (*LR, Hyper("beta", 0.9))),
        {},
        "coefficients does not take the hyperparameter beta",
    ),
    "a text of states": ((two, signum, LR), {"states": "m"}, "states is 'm': give a tuple"),
    "an unknown decay": ((two, signum, LR), {"decay": "L2"}, "decay is 'L2': .*coupled"),
    "half a measure": ((two, signum, LR), {"measure": signum}, "measure and conclude"),
    "a start of no state": ((two, signum, LR), {"initial": {"v": "p"}}, "v starts at p"),
    "a start at nothing": ((two, signum, LR), {"initial": {"m": "beta"}}, "m starts at beta"),
    "a state called ema": ((two, signum, LR), {"states": ("ema",)}, "'ema'"),
}


@pytest.mark.parametrize(("functions", "more", "message"), WRONG.values(), ids=WRONG)
def test_a_row_whose_numbers_do_not_fit_is_refused(functions, more, message):
    named = {"name": "own", **more}
    with pytest.raises(UsageError, match=message) as caught:
        Rule(**dict(zip(FIELDS, functions, strict=True)), **named)
    assert f"rule {named['name']!r} is refused" in str(caught.value)
    assert "\n" not in str(caught.value)


# A rule of the user's own gets everything.

OWN = Rule("my rule/1 é", two, signum, LR)
"""Its name is one that no file could have."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rule_of_ones_own_runs_on_both_backends(backend):
    params = parameters(((6, 4), (), (300,)), torch.float32)
    optimizer = make(params, OWN, backend, options=[EMA(0.9)])
    walk = Walk(optimizer, params)
    for k in range(4):
        walk.step(k)
    walk.must_agree()
    assert walk.worst.keys() == {"p", "m", "ema"}
    assert set(optimizer.state[params[0]]) == {"m", "ema"}
    assert len(optimizer.statistics()) == 3
    again = make(params, OWN, backend, options=[EMA(0.9)])
    again.load_state_dict(optimizer.state_dict())
    assert torch.equal(again.state[params[2]]["m"], optimizer.state[params[2]]["m"])


def tricky(p, g, ratio, one, lr, fresh):
    old_one = fresh * one
    step = g + ratio
    ratio = ratio + fresh * (g - ratio)
    one = one + old_one + fresh * g
    p = p - lr * (step + one)
    return p, ratio, one


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [[], [Cautious(), UpdateClip(0.5)]], ids=["alone", "options"])
def test_names_of_a_rule_meet_none_of_the_options(options, backend):
    """`ratio`, `one` and `step` are names in options, and old_one is how `one` comes in."""
    params = parameters(((7,),), torch.float64)
    rule = Rule("tricky", two, tricky, LR)
    optimizer = make(params, rule, backend, options=options, weight_decay=0.0)
    at, ratio, one = (params[0].detach().clone(), torch.zeros(7).double(), torch.zeros(7).double())
    for k in range(3):
        g = torch.linspace(-1, 2, 7, dtype=torch.float64) * (k + 1)
        params[0].grad = g
        optimizer.step()
        new, ratio, one = tricky(at, g, ratio, one, 0.1, 0.9)
        step = at - new
        if options:
            agrees = (g * step > 0).double()
            step = step * agrees / agrees.mean().clamp_min(1e-3)
            step = step * min(1.0, 0.5 * 0.1 / math.sqrt(float((step**2).mean())))
        at = at - step
    torch.testing.assert_close(params[0].detach(), at, rtol=1e-12, atol=1e-14)


def sign(a: Any) -> Any:
    """For `signum`, should anybody call it."""
    return torch.sign(a)
