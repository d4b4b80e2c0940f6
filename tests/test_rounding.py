"""How results are rounded: by chance that is counted, with Kahan's sum, in low-precision state."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import thalweg
from conformance.compare import same_bits
from definition import BACKENDS, gradients, make, parameters
from thalweg.optim import Optimizer
from thalweg.optim.reset import reset_moments
from thalweg.rules import RULES
from thalweg.rules.options import (
    EMA,
    Decoupled,
    Kahan,
    LowPrecisionState,
    MasterWeights,
    NearestRounding,
    StochasticRounding,
)

BF16 = torch.bfloat16
SHAPES = ((6, 4), (), (1000,))
NUM = 200_000

every_backend = pytest.mark.parametrize("backend", BACKENDS)


def stepped(backend: str, num_steps: int = 4, rule: str = "momentum", **more: Any) -> list[Any]:
    """bfloat16 parameters after some steps."""
    params = parameters(SHAPES, BF16)
    optimizer = make(params, rule, backend, **more)
    for k in range(num_steps):
        gradients(params, k)
        optimizer.step()
    return params


def one_small_step(backend: str, step: float, dtype: torch.dtype = BF16, **more: Any) -> Any:
    """Where many ones are after one step of this size."""
    p = nn.Parameter(torch.ones(NUM, dtype=dtype))
    optimizer = make([p], "sgd", backend, lr=1.0, weight_decay=0.0, **more)
    p.grad = torch.full_like(p, step)
    optimizer.step()
    return p.detach().double()


@every_backend
@pytest.mark.parametrize("share", [0.5, 0.125, 0.03125])
def test_rounding_by_chance_is_unbiased(share, backend):
    """1 - step lies between two numbers of bfloat16, 1 and 1 - 2^-8, and goes to each by chance."""
    found = one_small_step(backend, share * 2.0**-8)
    assert set(found.unique().tolist()) == {1.0, 1.0 - 2.0**-8}
    moved = float((found < 1.0).double().mean())
    sigma = (share * (1 - share) / NUM) ** 0.5
    assert abs(moved - share) < 4 * sigma
    assert bool((one_small_step(backend, 0.4 * share * 2.0**-8) < 1.0).any())


def test_nearest_rounding_is_seen_as_biased():
    options = [NearestRounding()]
    assert bool((one_small_step("numba", 0.125 * 2.0**-8, options=options) == 1.0).all())


@every_backend
def test_draws_are_no_pattern(backend):
    """Neighbours go up and down independently of each other, and so do two parameters."""
    ups = (one_small_step(backend, 2.0**-9) < 1.0).double() - 0.5
    for lag in (1, 2, 16, 1024):
        together = float((4 * ups[lag:] * ups[:-lag]).mean())
        assert abs(together) < 5 / NUM**0.5
    pair = [nn.Parameter(torch.ones(NUM, dtype=BF16)) for _ in range(2)]
    optimizer = make(pair, "sgd", backend, lr=1.0, weight_decay=0.0)
    for p in pair:
        p.grad = torch.full_like(p, 2.0**-9)
    optimizer.step()
    first, second = ((p.detach() < 1).double() - 0.5 for p in pair)
    assert abs(float((4 * first * second).mean())) < 5 / NUM**0.5


def test_it_is_the_default_of_bfloat16_only():
    default, asked = stepped("numba"), stepped("numba", options=[StochasticRounding()])
    nearest = stepped("numba", options=[NearestRounding()])
    assert same_bits(default, asked)
    assert not same_bits(default, nearest)
    single = [parameters(SHAPES, torch.float32) for _ in range(2)]
    for params, options in zip(single, ((), [NearestRounding()]), strict=True):
        optimizer = make(params, "momentum", "numba", options=options)
        gradients(params, 0)
        optimizer.step()
    assert same_bits(*single)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adagrad"])
def test_both_backends_draw_the_same_bits(rule):
    """With steps that both compute exactly: 1 - 2^-9 is rounded alike, element by element."""
    ours, theirs = (one_small_step(backend, 2.0**-9) for backend in BACKENDS)
    assert torch.equal(ours, theirs)
    paths = [stepped(backend, 1, rule, weight_decay=0.0) for backend in BACKENDS]
    num_other = sum(int((a != b).sum()) for a, b in zip(*paths, strict=True))
    assert num_other <= 3, "an element differs where float32 rounds the sum itself otherwise"


@every_backend
def test_seeds_steps_and_parameters_draw_other_bits(backend):
    default = one_small_step(backend, 2.0**-9)
    assert torch.equal(default, one_small_step(backend, 2.0**-9, seed=0))
    for other in (1, -1, 2**40):
        assert not torch.equal(default, one_small_step(backend, 2.0**-9, seed=other))
    p = nn.Parameter(torch.ones(NUM, dtype=BF16))
    optimizer = make([p], "sgd", backend, lr=1.0, weight_decay=0.0)
    moves = []
    for _ in range(2):
        with torch.no_grad():
            p.fill_(1.0)
        p.grad = torch.full_like(p, 2.0**-9)
        optimizer.step()
        moves.append(p.detach().clone())
    assert not torch.equal(*moves)


@every_backend
@pytest.mark.parametrize("is_named", [True, False])
def test_a_name_goes_where_its_parameter_goes(is_named, backend):
    """Named parameters draw by name, in whatever order they are given; others by their place."""
    found = {}
    for order in (("a", "b"), ("b", "a")):
        params = {name: nn.Parameter(torch.ones(1000, dtype=BF16)) for name in order}
        given = list(params.items()) if is_named else list(params.values())
        optimizer = make(given, "sgd", backend, lr=1.0, weight_decay=0.0)
        for p in params.values():
            p.grad = torch.full_like(p, 2.0**-9)
        optimizer.step()
        found[order] = params["a"].detach().clone()
    assert torch.equal(*found.values()) == is_named


@every_backend
@pytest.mark.parametrize(
    "option", [None, Kahan(), MasterWeights(), NearestRounding(), LowPrecisionState()]
)
@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_a_resumed_run_draws_the_same_bits(rule, option, backend):
    options = [option] if option else []
    whole = stepped(backend, 6, rule, options=options)
    params = parameters(SHAPES, BF16)
    optimizer = make(params, rule, backend, options=options)
    for k in range(3):
        gradients(params, k)
        optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    again = [nn.Parameter(p.detach().clone()) for p in params]
    resumed = make(again, rule, backend, options=options)
    resumed.load_state_dict(saved)
    for k in range(3, 6):
        gradients(again, k)
        resumed.step()
    assert same_bits(again, whole)


def test_a_run_resumed_without_its_state_is_another():
    params = stepped("numba", 3, "sgd")
    again = make(params, "sgd", "numba")
    for k in range(3, 6):
        gradients(params, k)
        again.step()
    assert not same_bits(params, stepped("numba", 6, "sgd"))


@every_backend
@pytest.mark.parametrize("rule", [r for r in RULES if not RULES[r].averages_weights])
def test_at_a_rate_of_zero_no_bit_changes(rule, backend):
    if backend == "numba" and rule not in ("sgd", "momentum", "adamw", "lion"):
        pytest.skip("conformance takes every optimizer's kernel at a rate of zero")
    before = parameters(SHAPES, BF16)
    assert same_bits(stepped(backend, 3, rule, lr=0.0), before)


# Kahan.


@every_backend
@pytest.mark.parametrize("dtype", [torch.float32, BF16], ids=str)
def test_kahan_keeps_tiny_steps(dtype, backend):
    """2,000 steps, each below half an ulp: without it nothing moves; with it, all of them count."""
    step = torch.finfo(dtype).eps / 32
    start = torch.linspace(1.0, 1.9, 50, dtype=torch.float64).to(dtype)
    ends = {}
    for options in ((), (Kahan(),), (NearestRounding(),)):
        p = nn.Parameter(start.clone())
        optimizer = make([p], "sgd", backend, lr=1.0, weight_decay=0.0, options=options)
        p.grad = torch.full_like(p, step)
        for _ in range(2000):
            optimizer.step()
        comp = optimizer.state[p].get("kahan_comp") if options == (Kahan(),) else 0.0
        ends[options] = p.detach().double() + comp
    exact = start.double() - 2000 * step
    unit = torch.finfo(dtype).eps
    kept = ends[(Kahan(),)]
    assert float((kept - exact).abs().max()) < unit, "the sum of both is off by more than an ulp"
    assert bool((ends[(NearestRounding(),)] == start.double()).all())


@every_backend
def test_kahan_follows_float64_with_decay(backend):
    ends = []
    for dtype, options in ((torch.float64, ()), (torch.float32, (Kahan(),)), (torch.float32, ())):
        p = nn.Parameter(torch.linspace(1.0, 2.0, 64, dtype=torch.float64).to(dtype))
        optimizer = make(
            [p], "momentum", backend, lr=1e-6, weight_decay=0.01, options=[*options, Decoupled()]
        )
        p.grad = torch.linspace(0.5, 1.5, 64, dtype=torch.float64).to(dtype)
        for _ in range(2000):
            optimizer.step()
        ends.append(p.detach().double())
    exact, kahan, plain = ends
    assert float((kahan - exact).abs().max()) < 2.4e-7, "one ulp of 2"
    assert float((plain - exact).abs().max()) > 10 * float((kahan - exact).abs().max())


# Master weights.


@every_backend
@pytest.mark.parametrize("dtype", [BF16, torch.float16], ids=str)
@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_master_weights_are_the_float32_run(rule, dtype, backend):
    """With the gradients of 16 bits, the copy takes the float32 run's path, and p is the copy."""
    ours = parameters(SHAPES, dtype)
    theirs = [nn.Parameter(p.detach().float()) for p in ours]
    options = [MasterWeights(), EMA(0.9)]
    optimizer = make(ours, rule, backend, lr=1e-4, options=options)
    twin = make(theirs, rule, backend, lr=1e-4, options=[EMA(0.9)])
    for k in range(20):
        gradients(ours, k)
        for p, q in zip(ours, theirs, strict=True):
            q.grad = p.grad.float()
        optimizer.step()
        twin.step()
    for p, q in zip(ours, theirs, strict=True):
        state, other = optimizer.state[p], twin.state[q]
        assert torch.equal(p, state["master"].to(dtype))
        for name, value in {"master": q.detach(), **other}.items():
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=2e-6)
    assert not same_bits([p.detach().float() for p in ours], [q.detach() for q in theirs])


@every_backend
def test_what_somebody_else_writes_is_taken_over(backend):
    """Such as weights that are loaded: a copy that was kept would bring back the old ones."""
    p = nn.Parameter(torch.ones(4, dtype=BF16))
    options = [MasterWeights()]
    optimizer = make([p], "sgd", backend, lr=1.0, weight_decay=0.0, options=options)
    p.grad = torch.full_like(p, 2.0**-12)
    optimizer.step()
    with torch.no_grad():
        p[1] = 2.0
    optimizer.step()
    expected = [1 - 2.0**-11, 2 - 2.0**-12, 1 - 2.0**-11, 1 - 2.0**-11]
    assert optimizer.state[p]["master"].tolist() == expected
    assert p.tolist() == [1.0, 2.0, 1.0, 1.0]
    reset_moments(optimizer)
    assert optimizer.state[p]["master"].tolist() == expected


def test_parameters_of_32_bits_are_their_own_copy():
    params = parameters(SHAPES, torch.float32)
    optimizer = make(params, "adamw", "torch", options=[MasterWeights()])
    gradients(params, 0)
    optimizer.step()
    assert "master" not in optimizer.state[params[0]]


def test_matrices_have_master_weights_too():
    p = nn.Parameter(torch.ones(4, 4, dtype=BF16))
    optimizer = thalweg.Muon([p], lr=1e-5, weight_decay=0.0, options=[MasterWeights()])
    p.grad = torch.eye(4, dtype=BF16)
    for _ in range(3):
        optimizer.step()
    assert bool((p == 1.0).all())
    assert bool((optimizer.state[p]["master"].diagonal() < 1.0).all())


# Low-precision state.


def bytes_of_state(optimizer: Optimizer, p: Any) -> int:
    kept = optimizer.state[p].values()
    return sum(t.element_size() * t.numel() for t in kept if t.ndim > 0)


@every_backend
@pytest.mark.parametrize("rule", ["momentum", "adamw", "adadelta"])
def test_low_precision_state_takes_half_the_memory(rule, backend):
    sizes = []
    for options in ((), (LowPrecisionState(),)):
        params = parameters(((300, 7),), torch.float32)
        optimizer = make(params, rule, backend, options=options)
        gradients(params, 0)
        optimizer.step()
        sizes.append(bytes_of_state(optimizer, params[0]))
    assert sizes[0] == 4 * 2100 * len(RULES[rule].states)
    assert 2 * sizes[1] == sizes[0]


@every_backend
def test_low_precision_state_is_unbiased(backend):
    """A running mean whose steps are below half an ulp of bfloat16 arrives all the same."""
    p = nn.Parameter(torch.zeros(5000))
    optimizer = make([p], "adam", backend, options=[LowPrecisionState()], weight_decay=0.0)
    optimizer.param_groups[0]["betas"] = (0.999, 0.999)
    p.grad = torch.ones_like(p)
    for _ in range(300):
        optimizer.step()
    mean = float(optimizer.state[p]["exp_avg"].double().mean())
    assert mean == pytest.approx(1 - 0.999**300, rel=0.01)
