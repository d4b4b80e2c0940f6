"""Every rule on every backend in every type equals the NumPy definition; so do the statistics."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thalweg
from definition import BACKENDS, Walk, gradients, make, parameters
from thalweg.backends import numpy as definition
from thalweg.backends.cpu_launch import CHUNK
from thalweg.optim import Optimizer
from thalweg.rules import RULES
from thalweg.rules.options import DoubleArithmetic, NearestRounding

SHAPES = ((6, 4), (), (0, 3), (1,), (2 * CHUNK + 77,))
"""A matrix, a number, nothing, one element, and three chunks with a tail."""

HALVES = (torch.bfloat16, torch.float16)
QUICK = ("sgd", "momentum", "adamw", "rmsprop_centered", "lion", "schedulefree_adamw")
"""The rules that are tried in 16 bits each time; the others are slow ones."""

every_backend = pytest.mark.parametrize("backend", BACKENDS)
ALONE = [name for name, rule in RULES.items() if not rule.couples_tensors]
"""Rules whose tensors do not know each other: the definition takes one tensor at a time."""

every_rule = pytest.mark.parametrize("rule", ALONE)


def walked(rule: str, backend: str, dtype: torch.dtype, *options: Any) -> Walk:
    """Ten steps of a rule, with the definition beside them."""
    params = parameters(SHAPES, dtype)
    rounding = [NearestRounding()] if dtype == torch.bfloat16 else []
    optimizer = make(params, rule, backend, options=[*rounding, *options])
    # 0.9 m + 0.1 g of Lion is 0 but for rounding where g = -9 m: then either sign is right.
    walk = Walk(optimizer, params, excused=1e-3 if rule == "lion" and dtype in HALVES else 0.0)
    for k in range(10):
        walk.step(k)
    return walk


@every_backend
@every_rule
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_rule_equals_its_definition(rule, backend, dtype):
    times = 4 if RULES[rule].cancels else 1
    walked(rule, backend, dtype).must_agree(times=times)


@every_backend
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    "rule", [r if r in QUICK else pytest.param(r, marks=pytest.mark.slow) for r in ALONE]
)
def test_a_rule_equals_its_definition_in_16_bits(rule, backend, dtype):
    walked(rule, backend, dtype).must_agree()


@every_backend
@pytest.mark.parametrize("rule", QUICK)
def test_in_double_arithmetic_a_number_is_rounded_once(rule, backend):
    walk = walked(rule, backend, torch.float32, DoubleArithmetic())
    assert all(error <= 1.0 for error in walk.worst.values()), walk.worst


def test_every_state_and_scalar_was_compared():
    for name in ALONE:
        rule = RULES[name]
        walk = walked(name, "torch", torch.float32)
        assert walk.worst.keys() == {"p", *rule.states, *rule.scalars}


PLANTED = {
    "a coefficient": lambda new: tuple(1.00002 * array for array in new),
    "one element": lambda new: (new[0] + 0.1 * (np.arange(new[0].size) == 3), *new[1:]),
    "a state": lambda new: (*new[:-1], new[-1] + 1e-3),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("rule", ["momentum", "adamw", "nadam"])
def test_a_planted_difference_is_seen(rule, plant, monkeypatch):
    """Of 2e-5, which is 168 ulp of float32; of one element; of the last state or scalar."""
    from thalweg.backends import numpy as definition

    update = definition.update
    monkeypatch.setattr(definition, "update", lambda *a, **more: plant(update(*a, **more)))
    params = parameters(((10,),), torch.float32)
    walk = Walk(make(params, rule, "torch"), params)
    for k in range(3):
        walk.step(k)
    with pytest.raises(AssertionError, match="ulp off"):
        walk.must_agree()


def test_another_rule_is_seen(monkeypatch):
    other = dataclasses.replace(RULES["momentum"], update=RULES["nesterov"].update)
    params = parameters(SHAPES, torch.float32)
    walk = Walk(make(params, other, "numba"), params)
    walk._rule = RULES["momentum"]
    for k in range(3):
        walk.step(k)
    with pytest.raises(AssertionError, match="ulp off"):
        walk.must_agree()


# Statistics.

TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-5, torch.bfloat16: 2e-5, torch.float16: 2e-5}
"""Relative: 16,384 squares are summed in float32, the sums of the chunks in float64."""


def expected_statistics(before: list[Tensor], params: list[Tensor]) -> list[dict[str, float]]:
    rows = []
    for old, p in zip(before, params, strict=True):
        g, new, was = (t.detach().double().numpy() for t in (p.grad, p, old))
        rows.append(
            {
                "gradient_norm": math.sqrt(float((g * g).sum())),
                "update_norm": math.sqrt(float(((new - was) ** 2).sum())),
                "parameter_norm": math.sqrt(float((new * new).sum())),
                "num_nonfinite": float((~np.isfinite(g)).sum()),
            }
        )
    return rows


def assert_statistics(found: list[dict[str, float]], expected: list[dict[str, float]], rel: float):
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=rel, abs=1e-30, nan_ok=True)


@every_backend
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_statistics_are_those_of_numpy(rule, backend, dtype):
    """Clipping does not change what is told of the gradients: they count as they came."""
    params = parameters(SHAPES, dtype)
    optimizer = make(params, rule, backend, clip=0.5)
    for k in range(3):
        gradients(params, k)
        before = [p.detach().clone() for p in params]
        totals = optimizer.apply(torch.tensor(1.0))
        expected = expected_statistics(before, params)
        rel = TOLERANCE[dtype]
        # What was stored has been rounded; the step that is measured has not.
        assert_statistics(optimizer.statistics(), expected, max(rel, 3e-6))

        def together(name: str, rows: Any = expected) -> float:
            return math.sqrt(sum(row[name] ** 2 for row in rows))

        norm = together("gradient_norm")
        assert totals["gradient_norm"] == pytest.approx(norm, rel=rel)
        assert totals["update_norm"] == pytest.approx(together("update_norm"), rel=max(rel, 3e-6))
        assert totals["parameter_norm"] == pytest.approx(together("parameter_norm"), rel=rel)
        assert totals["clip_factor"] == pytest.approx(min(1.0, 0.5 / norm), rel=max(rel, 1e-5))
        assert totals["num_nonfinite"] == 0


def test_other_statistics_are_seen():
    row = {"gradient_norm": 1.0, "update_norm": 0.5, "parameter_norm": 2.0, "num_nonfinite": 0.0}
    assert_statistics([row], [row], 1e-6)
    for name, value in row.items():
        with pytest.raises(AssertionError):
            assert_statistics([row], [{**row, name: value + 1e-3}], 1e-6)
    with pytest.raises(AssertionError):
        assert_statistics([row], [], 1e-6)


@every_backend
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_elements_that_are_not_finite_are_counted(backend, dtype):
    params = parameters(((3, 4), (2 * CHUNK + 5,), (2,)), dtype)
    optimizer = make(params, "momentum", backend)
    gradients(params, 0)
    params[0].grad[1, 2] = math.nan
    params[1].grad[[0, CHUNK - 1, CHUNK, 2 * CHUNK + 4]] = math.inf
    params[1].grad[7] = -math.inf
    optimizer.step()
    counts = [row["num_nonfinite"] for row in optimizer.statistics()]
    assert counts == [1.0, 5.0, 0.0]
    assert optimizer.apply(torch.tensor(1.0))["num_nonfinite"] == 6


@every_backend
@pytest.mark.parametrize("num_groups", [1, 2])
@pytest.mark.parametrize("value", [1e30, 1e-30])
def test_the_norm_is_right_where_its_square_is_not(backend, value, num_groups):
    """1e30 squared is infinite in float32, and 1e-30 squared is 0."""
    params = [nn.Parameter(torch.zeros(1000)) for _ in range(2)]
    groups = [{"params": params[:1], "clip": 1.0}, {"params": params[1:], "clip": 2.0}]
    given = [{"params": params}] if num_groups == 1 else groups
    optimizer = make(given, "sgd", backend, lr=1e-30, weight_decay=0.0)
    for p in params:
        p.grad = torch.full_like(p, value)
    totals = optimizer.apply(torch.tensor(1.0))
    norm = value * math.sqrt(1000)
    if value > 1:
        assert totals["gradient_norm"] == pytest.approx(norm * math.sqrt(2), rel=1e-5)
        found = [row["gradient_norm"] for row in optimizer.statistics()]
        assert found == pytest.approx([norm, norm], rel=1e-5)
    assert totals["num_nonfinite"] == 0
    assert all(bool(torch.isfinite(p).all()) for p in params)


@every_backend
def test_a_skipped_step_has_moved_nothing_in_the_statistics(backend):
    params = parameters(((5,), (2, 3)), torch.float32)
    optimizer = make(params, "momentum", backend, skip_nonfinite=True)
    gradients(params, 0)
    optimizer.step()
    assert all(row["update_norm"] > 0 for row in optimizer.statistics())
    params[0].grad[0] = math.nan
    optimizer.step()
    rows = optimizer.statistics()
    assert [row["update_norm"] for row in rows] == [0.0, 0.0]
    assert [row["num_nonfinite"] for row in rows] == [1.0, 0.0]
    totals = optimizer.apply(torch.tensor(1.0))
    assert totals["update_norm"] == 0.0
    assert totals["parameter_norm"] is None


@every_backend
def test_statistics_stand_in_the_order_of_the_parameters(backend):
    """Types, and so kernels, mixed; a parameter that never had a gradient is not among them."""
    params = [nn.Parameter(torch.full((2,), float(k), dtype=t)) for k, t in enumerate(ORDER)]
    optimizer = make(params, "sgd", backend, lr=0.0, options=[NearestRounding()])
    for p in params[:-1]:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    found = [row["parameter_norm"] for row in optimizer.statistics()]
    assert found == pytest.approx([k * math.sqrt(2) for k in range(len(ORDER) - 1)], rel=1e-6)


ORDER = (torch.float32, torch.float64, torch.bfloat16, torch.float32, torch.float64, torch.float32)


@every_backend
def test_the_loss_scale_is_taken_off_in_the_statistics(backend):
    params = parameters(((4,), (3, 3)), torch.float32)
    optimizer = make(params, "sgd", backend)
    gradients(params, 0)
    expected = [float(p.grad.norm()) for p in params]
    for p in params:
        p.grad *= 1024.0
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    totals = optimizer.apply(torch.tensor(1.0))
    assert totals["gradient_norm"] == pytest.approx(math.hypot(*expected), rel=1e-6)
    found = [row["gradient_norm"] for row in optimizer.statistics()]
    assert found == pytest.approx(expected, rel=1e-6)


@every_backend
@pytest.mark.parametrize("clip", ["norm", "tensor", "adaptive", "two norms"])
def test_the_clip_factor_is_the_smallest(backend, clip):
    from thalweg.optim import Adaptive, PerTensor

    params = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups: list[dict[str, Any]] = [{"params": [p]} for p in params]
    if clip == "two norms":
        groups[0]["clip"], groups[1]["clip"] = 5.0, 1.0
    clips = {
        "norm": math.hypot(3.0, 4.0) / 4,
        "tensor": PerTensor(1.0),
        "adaptive": Adaptive(2.0, eps=0.5),
    }
    optimizer = make(groups, "sgd", backend, clip=clips.get(clip))
    params[0].grad, params[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert optimizer.apply(torch.tensor(1.0))["clip_factor"] == pytest.approx(0.25, rel=1e-5)


@every_backend
def test_before_any_gradient_there_are_no_statistics(backend):
    optimizer: Optimizer = make([nn.Parameter(torch.ones(2))], "adamw", backend)
    assert optimizer.statistics() == []
    optimizer.step()
    assert optimizer.statistics() == []
    assert optimizer.apply(torch.tensor(1.0))["gradient_norm"] == 0.0


def test_a_rule_that_couples_tensors_equals_its_definition_on_one():
    rule, source = RULES["prodigy"], np.random.default_rng(0)
    p = torch.tensor(source.normal(size=(4, 3))).requires_grad_()
    optimizer = thalweg.Prodigy([p], d0=1e-2, weight_decay=0.1)
    hyper = {name: float(v) for name, v in rule.spread(optimizer.param_groups[0]).items()}
    at = p.detach().numpy().copy()
    states = definition.first_states(rule, at, **hyper)
    scalars = tuple(rule.first_scalars(hyper).values())
    for t in range(1, 31):
        g = at + 0.1 * source.normal(size=at.shape)
        p.grad = torch.tensor(g)
        optimizer.step()
        new = definition.update(rule, t, at, g, *states, scalars=scalars, **hyper)
        at, states, scalars = new[0], new[1 : 1 + len(states)], new[1 + len(states) :]
    assert scalars[0] > 1e-2, "d did not grow, so nothing was tried"
    np.testing.assert_allclose(p.detach().numpy(), at, rtol=1e-12)
    assert optimizer.state[p]["d"].item() == pytest.approx(scalars[0], rel=1e-12)
