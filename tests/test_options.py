"""Options: each alone and every pair equals the definition on both backends; those that exclude
each other stand in a table, and what the papers say is written down by hand.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from definition import BACKENDS, SETTINGS, Walk, gradients, make, parameters
from thalweg.errors import UsageError
from thalweg.optim import Optimizer
from thalweg.rules import RULES
from thalweg.rules.formula import compose
from thalweg.rules.options import (
    EMA,
    OPTIONS,
    Adaptive,
    ByValue,
    Cautious,
    Coupled,
    Decoupled,
    DoubleArithmetic,
    Kahan,
    LowPrecisionState,
    MasterWeights,
    NearestRounding,
    StochasticRounding,
    TrustRatio,
    UpdateClip,
)

EXAMPLES: dict[str, Any] = {
    "ByValue": ByValue(0.5),
    "Adaptive": Adaptive(0.2),
    "Coupled": Coupled(),
    "Cautious": Cautious(),
    "UpdateClip": UpdateClip(0.7),
    "Decoupled": Decoupled(),
    "TrustRatio": TrustRatio(),
    "EMA": EMA(0.9),
    "StochasticRounding": StochasticRounding(),
    "NearestRounding": NearestRounding(),
    "Kahan": Kahan(),
    "MasterWeights": MasterWeights(),
    "LowPrecisionState": LowPrecisionState(),
    "DoubleArithmetic": DoubleArithmetic(),
}
"""One of each kind, with a value at which it acts."""

ROUNDING = ("StochasticRounding", "NearestRounding", "Kahan", "LowPrecisionState")

EXCLUDING = {
    frozenset(pair)
    for pair in [
        ("Coupled", "Decoupled"),
        ("ByValue", "Adaptive"),
        ("StochasticRounding", "NearestRounding"),
        ("StochasticRounding", "Kahan"),
        ("StochasticRounding", "LowPrecisionState"),
        ("NearestRounding", "Kahan"),
        ("NearestRounding", "LowPrecisionState"),
        ("Kahan", "LowPrecisionState"),
        *((name, "MasterWeights") for name in ROUNDING),
    ]
}
"""The pairs that cannot combine: weight decay enters once, a gradient is clipped in one way and a
number rounded in one way.
"""

AVERAGING = ("schedulefree_sgd", "schedulefree_adamw")
"""Rules that take no option which would act on their step or decay; rounding they do take."""

CANCELLING = ("rmsprop_centered", "rmsprop_centered_momentum", "prodigy")
"""Rules that take differences of their states: these are never stored in bfloat16."""

RULE_NAMES = ("sgd", "momentum", "adamw", "rmsprop_centered", "lion")
PAIRS = [tuple(sorted(pair)) for pair in itertools.combinations(EXAMPLES, 2)]
ALLOWED_PAIRS = [pair for pair in PAIRS if frozenset(pair) not in EXCLUDING]
SHAPES = ((6, 4), (), (300,))

every_backend = pytest.mark.parametrize("backend", BACKENDS)


def ids(pair: tuple[str, ...]) -> str:
    return "-".join(pair)


def walk_with(names: Any, rule: str, backend: str, dtype: torch.dtype = torch.float32) -> Walk:
    """Six steps with these options, and the definition beside them."""
    options = [EXAMPLES[name] for name in names]
    params = parameters(SHAPES, dtype)
    walk = Walk(make(params, rule, backend, options=options), params)
    for k in range(6):
        walk.step(k)
    return walk


def test_there_is_an_example_of_every_option():
    assert EXAMPLES.keys() == OPTIONS.keys()
    assert all(type(option) is OPTIONS[name] for name, option in EXAMPLES.items())


# Options and pairs against the definition.

MEASURING = {"Adaptive", "Cautious", "UpdateClip", "TrustRatio"}
"""They sum over a tensor first, in float32: a sum's rounding is every element's."""


def must_agree(walk: Walk, names: Any, rule: str) -> None:
    walk.must_agree(times=8 if MEASURING & set(names) or RULES[rule].cancels else 2)


def must_go_together(names: Any, rule: str) -> None:
    """Skip what stands in the table of what a rule does not take."""
    if rule in CANCELLING and "LowPrecisionState" in names:
        pytest.skip(f"{rule} is refused with LowPrecisionState")


def kernels_of_options() -> list[Any]:
    """Every option with AdamW and with one more rule, in turn; with the others, slow.

    A kernel is written from the composed formula, which is tried whole on the other backend.
    """
    others = [rule for rule in RULE_NAMES if rule != "adamw"]
    return [
        pytest.param(
            name,
            rule,
            id=f"{name}-{rule}",
            marks=[] if rule in ("adamw", others[k % len(others)]) else pytest.mark.slow,
        )
        for k, name in enumerate(EXAMPLES)
        for rule in RULE_NAMES
    ]


@pytest.mark.parametrize("rule", RULE_NAMES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_option_equals_its_definition(name, rule):
    must_go_together([name], rule)
    must_agree(walk_with([name], rule, "torch"), [name], rule)


@pytest.mark.parametrize(("name", "rule"), kernels_of_options())
def test_a_kernel_of_an_option_equals_its_definition(name, rule):
    must_go_together([name], rule)
    must_agree(walk_with([name], rule, "numba"), [name], rule)


@pytest.mark.parametrize("rule", RULE_NAMES)
@pytest.mark.parametrize("pair", ALLOWED_PAIRS, ids=ids)
def test_a_pair_equals_its_definition(pair, rule):
    must_go_together(pair, rule)
    must_agree(walk_with(pair, rule, "torch"), pair, rule)


def joined(pairs: Any, most: int = 4) -> list[tuple[str, ...]]:
    """Sets of options, up to `most` in each, in which every one of the pairs is found."""
    left, found = dict.fromkeys(pairs), []
    while left:
        names = list(next(iter(left)))

        def gain(name: str, names: list[str] = names) -> int:
            pairs = {tuple(sorted((name, other))) for other in names}
            return len(pairs & left.keys()) if pairs <= set(ALLOWED_PAIRS) else 0

        while len(names) < most and gain(best := max(EXAMPLES, key=gain)):
            names.append(best)
        found.append(tuple(sorted(names)))
        for pair in itertools.combinations(found[-1], 2):
            left.pop(pair, None)
    return found


def test_joined_sets_hold_every_pair_and_no_other():
    held = {pair for names in joined(ALLOWED_PAIRS) for pair in itertools.combinations(names, 2)}
    assert held == set(ALLOWED_PAIRS)
    assert {len(names) for names in joined(ALLOWED_PAIRS)} <= {2, 3, 4}


@pytest.mark.parametrize("names", joined(ALLOWED_PAIRS), ids=ids)
def test_a_kernel_of_several_equals_its_definition(names):
    """Every pair is in one of them; each alone would be a kernel more to compile."""
    must_agree(walk_with(names, "adamw", "numba"), names, "adamw")


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULE_NAMES)
@pytest.mark.parametrize("pair", ALLOWED_PAIRS, ids=ids)
def test_a_kernel_of_a_pair_equals_its_definition(pair, rule):
    must_go_together(pair, rule)
    must_agree(walk_with(pair, rule, "numba"), pair, rule)


@pytest.mark.slow
@every_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("pair", ALLOWED_PAIRS, ids=ids)
def test_a_pair_equals_its_definition_in_other_types(pair, dtype, backend):
    must_agree(walk_with(pair, "adamw", backend, dtype), pair, "adamw")


@pytest.mark.parametrize(
    "name", ["Cautious", "UpdateClip", "TrustRatio", "EMA", "ByValue", "Adaptive"]
)
def test_an_option_left_out_is_seen(name):
    params = parameters(SHAPES, torch.float32)
    walk = Walk(make(params, "adamw", "torch", options=[EXAMPLES[name]]), params)
    walk._options = ()
    for k in range(4):
        walk.step(k)
    if name == "EMA":
        assert "ema" not in walk.worst
        assert "ema" in walk.optimizer.state[params[0]]
        return
    with pytest.raises(AssertionError, match="ulp off"):
        must_agree(walk, [name], "adamw")


# What cannot combine.


@pytest.mark.parametrize("pair", PAIRS, ids=ids)
def test_the_table_of_exclusions_is_true(pair):
    """Each pair is refused, in one line that names both, just where the table says so."""
    options = [EXAMPLES[name] for name in pair]
    params = parameters(SHAPES, torch.float32)
    if frozenset(pair) not in EXCLUDING:
        assert make(params, "adamw", "torch", options=options).param_groups
        return
    for given in (options, options[::-1]):
        for refused in (
            lambda: make(params, "adamw", "torch", options=given),  # noqa: B023
            lambda: make([{"params": params, "options": given}], "adamw", "torch"),  # noqa: B023
            lambda: compose(RULES["adamw"], tuple(given)),  # noqa: B023
        ):
            with pytest.raises(UsageError) as caught:
                refused()
            text = str(caught.value)
            assert "\n" not in text
            assert all(name in text for name in pair), text


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_option_twice_is_refused(name):
    kind = type(EXAMPLES[name])
    other = kind(0.25) if kind in (ByValue, Adaptive, UpdateClip, EMA) else kind()
    with pytest.raises(UsageError, match=name):
        make(parameters(SHAPES, torch.float32), "adamw", "torch", options=[EXAMPLES[name], other])


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("rule", AVERAGING)
def test_what_an_averaging_rule_takes(rule, name):
    params = parameters(SHAPES, torch.float32)
    storage = ("Rounding", "State", "Kahan", "Weights", "Arithmetic")
    can_join = name.endswith((*storage, "ByValue", "Adaptive"))
    if can_join:  # what concerns storage, or the gradient alone
        must_agree(walk_with([name], rule, "torch"), [name], rule)
        return
    with pytest.raises(UsageError, match=rule) as caught:
        make(params, rule, "torch", options=[EXAMPLES[name]])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


REFUSING = [
    *((rule, "LowPrecisionState") for rule in CANCELLING),
    ("prodigy", "UpdateClip"),
    ("prodigy", "TrustRatio"),
]
"""Options that a rule would make void (its states are float32 all the same) or wrong (they measure
the step in units of lr, which is 1 where the rate is found).
"""


@pytest.mark.parametrize(("rule", "name"), REFUSING)
def test_an_option_that_a_rule_would_make_void_is_refused(rule, name):
    params = parameters(SHAPES, torch.float32)
    for refused in (
        lambda: make(params, rule, "torch", options=[EXAMPLES[name]]),
        lambda: make([{"params": params, "options": [EXAMPLES[name]]}], rule, "torch"),
        lambda: compose(RULES[rule], (EXAMPLES[name],)),
    ):
        with pytest.raises(UsageError, match=f"{rule}.*leave .* out") as caught:
            refused()
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_table_of_cancelling_rules_is_true():
    assert {name for name, rule in RULES.items() if rule.cancels} == {*CANCELLING}


@pytest.mark.parametrize(
    "name", ["Cautious", "EMA", "ByValue", "Adaptive", "Kahan", "NearestRounding"]
)
def test_prodigy_takes_what_needs_no_rate(name):
    params = parameters(SHAPES, torch.float32)
    assert make(params, "prodigy", "torch", options=[EXAMPLES[name]]).param_groups


def test_clip_by_value_is_an_option_as_well():
    """Given both ways at once, it is refused like any option that is given twice."""
    params = parameters(SHAPES, torch.float32)
    with pytest.raises(UsageError, match="ByValue"):
        make(params, "sgd", "torch", clip=ByValue(0.1), options=[ByValue(0.2)])


BAD = {
    "a text": ("Cautious", "Cautious"),
    "the class": (Cautious, "Cautious"),
    "a number": (1.0, "1.0"),
}


@pytest.mark.parametrize(("option", "seen"), BAD.values(), ids=BAD)
def test_what_is_no_option_is_told(option, seen):
    with pytest.raises(UsageError, match="is unknown") as caught:
        make(parameters(SHAPES, torch.float32), "sgd", "torch", options=[option])
    assert seen in str(caught.value)
    assert "EMA" in str(caught.value)


@pytest.mark.parametrize("kind", [ByValue, Adaptive, UpdateClip, EMA])
@pytest.mark.parametrize("value", [-1.0, math.nan, "much", None])
def test_an_option_out_of_range_is_told(kind, value):
    with pytest.raises(UsageError, match=kind.__name__) as caught:
        kind(value)
    assert repr(value) in str(caught.value)


TRIPLE = (EMA(0.9), Cautious(), Decoupled(), UpdateClip(0.7))


@every_backend
def test_the_order_in_which_options_are_given_does_not_matter(backend):
    paths = []
    for given in (TRIPLE, TRIPLE[::-1], (*TRIPLE[2:], *TRIPLE[:2])):
        params = parameters(SHAPES, torch.float32)
        optimizer = make(params, "momentum", backend, options=given)
        for k in range(4):
            gradients(params, k)
            optimizer.step()
        paths.append([p.detach().clone() for p in params])
    for path in paths[1:]:
        assert all(torch.equal(a, b) for a, b in zip(path, paths[0], strict=True))


# By hand, as the papers have them.


def one_step(option: Any, backend: str, g: np.ndarray, p: np.ndarray, rule: str = "sgd") -> Any:
    """Where one step with lr 0.1 and no decay leads, and the optimizer."""
    param = nn.Parameter(torch.tensor(p))
    optimizer = make([param], rule, backend, options=[option], weight_decay=0.0)
    param.grad = torch.tensor(g)
    optimizer.step()
    return param.detach().numpy()


P = np.array([3.0, -4.0, 0.0, 12.0])
G = np.array([0.3, 2.0, -1.5, 4.0])


@every_backend
def test_cautious_by_hand(backend):
    """Momentum points up where the gradient has turned: those elements wait, others go further."""
    param = nn.Parameter(torch.tensor(P))
    optimizer = make([param], "momentum", backend, options=[Cautious()], weight_decay=0.0)
    second = np.array([0.3, -0.1, -1.5, 4.0])
    at, b = P.copy(), np.zeros(4)
    for t, g in enumerate((G, second)):
        b = g if t == 0 else 0.8 * b + 0.9 * g
        agrees = (b * g > 0).astype(float)
        at = at - 0.1 * b * agrees / max(agrees.mean(), 1e-3)
        param.grad = torch.tensor(g)
        optimizer.step()
    assert agrees.tolist() == [1, 0, 1, 1]
    np.testing.assert_allclose(param.detach().numpy(), at, rtol=1e-14)


@every_backend
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_update_clip_by_hand(scale, backend):
    found = one_step(UpdateClip(1.5), backend, scale * G, P)
    step = 0.1 * scale * G
    size = math.sqrt((step**2).mean())
    expected = P - step / max(1.0, size / (1.5 * 0.1))
    assert (size > 0.15) == (scale == 10.0)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@every_backend
def test_trust_ratio_by_hand(backend):
    found = one_step(TrustRatio(), backend, G, P)
    direction = G / np.linalg.norm(G)
    np.testing.assert_allclose(found, P - 0.1 * np.linalg.norm(P) * direction, rtol=1e-14)
    zero = np.zeros(4)
    np.testing.assert_allclose(one_step(TrustRatio(), backend, G, zero), -0.1 * G, rtol=1e-14)
    np.testing.assert_array_equal(one_step(TrustRatio(), backend, zero, P), P)


@every_backend
def test_decay_by_hand(backend):
    for option, expected in (
        (Coupled(), P - 0.1 * (G + 0.05 * P)),
        (Decoupled(), (1 - 0.1 * 0.05) * P - 0.1 * G),
    ):
        param = nn.Parameter(torch.tensor(P))
        optimizer = make([param], "momentum", backend, options=[option])
        param.grad = torch.tensor(G)
        optimizer.step()
        np.testing.assert_allclose(param.detach().numpy(), expected, rtol=1e-14)


@every_backend
@pytest.mark.parametrize("scale", [1e-3, 10.0])
def test_adaptive_clip_by_hand(scale, backend):
    """A short gradient stays; a long one is shortened to a share of p; p = 0 counts as eps."""
    for p, allowed in ((P, 0.02 * np.linalg.norm(P)), (np.zeros(4), 0.02 * 1e-3)):
        found = one_step(Adaptive(0.02), backend, scale * G, p)
        norm = np.linalg.norm(scale * G)
        expected = p - 0.1 * scale * G * min(1.0, allowed / norm)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
        assert (norm > allowed) == (scale == 10.0 or not p.any())


# Averages.


@every_backend
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_an_average_is_shown_and_taken_back(dtype, backend):
    params = parameters(SHAPES, dtype)
    optimizer = make(params, "adamw", backend, options=[EMA(0.5)])
    assert not optimizer.has_average
    mean = [p.detach().double().clone() for p in params]
    for k in range(3):
        gradients(params, k)
        optimizer.step()
        mean = [0.5 * m + 0.5 * p.detach().double() for m, p in zip(mean, params, strict=True)]
    assert optimizer.has_average
    before = [p.detach().clone() for p in params]
    rtol = 1e-12 if dtype == torch.float64 else 0.05
    with optimizer.averaged():
        for p, m in zip(params, mean, strict=True):
            torch.testing.assert_close(p.detach().double(), m, rtol=rtol, atol=rtol)
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    with pytest.raises(ZeroDivisionError), optimizer.averaged():
        raise ZeroDivisionError
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    optimizer.take_average()
    assert not all(torch.equal(p, b) for p, b in zip(params, before, strict=True))


def test_without_an_average_there_is_none_to_show():
    params = parameters(SHAPES, torch.float32)
    plain, early = Optimizer(params, "sgd"), Optimizer(params, "sgd", options=[EMA()])
    for optimizer in (plain, early):
        with pytest.raises(UsageError, match="EMA"):
            optimizer.take_average()
        with pytest.raises(UsageError, match="EMA"), optimizer.averaged():
            pass


def test_settings_at_which_options_act():
    """The settings of the tests have weight decay, and so decay's kind is seen."""
    assert SETTINGS["weight_decay"] > 0
