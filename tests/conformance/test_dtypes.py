"""Types of numbers: half precision that keeps its digits, float64 that keeps all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conformance.compare import all_finite, copies, params_of, run, set_gradients
from conformance.subjects import every_storage, every_subject


@every_storage
def test_fp16_small_grads_finite(subject):
    """eps = 1e-8 is 0 in float16, and a gradient of 1e-5 squared is."""
    params, optimizer = subject.start(torch.float16)
    for k in range(3):
        set_gradients(params, k, scale=1e-5)
        params[0].grad.view(-1)[0] = 0
        optimizer.step()
    assert all_finite(params)


@every_subject
def test_bf16_tracks_fp32(subject):
    """500 updates, each below bfloat16's resolution, arrive where float32 arrives."""

    @cache
    def displacement(dtype: torch.dtype, lr: float) -> Tensor:
        torch.manual_seed(0)
        start = (torch.rand(256, 4) + 1).bfloat16().float()
        p = nn.Parameter(start.to(dtype, copy=True))
        optimizer = subject.make([p], lr=lr, **subject.undecayed())
        source = torch.Generator().manual_seed(1)
        for _ in range(500):
            p.grad = (0.01 * torch.randn(256, 4, generator=source) + 0.05).to(dtype)
            optimizer.step()
        return p.detach().float() - start

    def size(lr: float) -> float:
        return float(displacement(torch.float32, lr).square().mean().sqrt())

    lr = rate_that_reaches(size, 0.25, subject.lr)
    exact, rounded = displacement(torch.float32, lr), displacement(torch.bfloat16, lr)
    error = float((rounded - exact).norm() / exact.norm())
    assert error < 0.5, f"relative error of the displacement {error:.2f}"


@every_subject
def test_bf16_weight_decay_acts(subject):
    """The same of weight decay alone."""
    subject.must_take("weight_decay")

    @cache
    def shrinkage(dtype: torch.dtype, lr: float) -> float:
        p = nn.Parameter(torch.linspace(0.5, 2, 64).reshape(16, 4).to(dtype))
        before = p.detach().float().clone()
        optimizer = subject.make([p], lr=lr, weight_decay=0.1)
        for _ in range(500):
            p.grad = torch.zeros_like(p)
            optimizer.step()
        return float((before - p.detach().float()).mean())

    lr = rate_that_reaches(lambda lr: shrinkage(torch.float32, lr), 0.1, subject.lr)
    exact, rounded = shrinkage(torch.float32, lr), shrinkage(torch.bfloat16, lr)
    assert abs(rounded - exact) < 0.5 * exact, f"shrinks by {exact:.4f}, in bfloat16 {rounded:.4f}"


def rate_that_reaches(size: Callable[[float], float], goal: float, lr: float) -> float:
    """A learning rate at which `size` is about `goal`, whatever the rule makes of it.

    A search that comes back to where it was goes round in circles, and ends.
    """
    tried: set[float] = set()
    while lr not in tried and len(tried) < 25 and 1e-9 < lr < 1e5:
        tried.add(lr)
        reached = size(lr)
        if 0.6 * goal <= reached <= 1.6 * goal:
            return lr
        is_number = reached == reached
        lr *= min(10.0, max(0.1, goal / max(reached, 1e-30))) if is_number else 0.1
    return pytest.skip("no learning rate gets there in float32 either")


@every_subject
def test_high_precision_state_survives_load(subject):
    """State that is kept in more digits than the parameters is not cast when it is loaded."""
    params, optimizer = subject.start(torch.bfloat16)
    run(optimizer, params, range(2))
    _, loaded = subject.start(torch.bfloat16)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert types_of_state(loaded) == types_of_state(optimizer)


def types_of_state(optimizer: Any) -> list[dict[str, torch.dtype]]:
    states = [optimizer.state[p] for p in params_of(optimizer)]
    return [
        {name: kept.dtype for name, kept in state.items() if isinstance(kept, Tensor)}
        for state in states
    ]


@every_subject
def test_float64(subject):
    """Neither state nor updates of float64 parameters are rounded to float32 on the way."""
    params, optimizer = subject.start(torch.float64, lr=1.1 * subject.lr)
    before = copies(params)
    run(optimizer, params, [0])
    after_one = copies(params)
    run(optimizer, params, [1, 2])
    for p in params:
        assert p.dtype == torch.float64
        for name, kept in optimizer.state[p].items():
            if is_like(kept, p):
                assert kept.dtype == torch.float64, f"{name} has fewer digits than its parameter"

    moves = [(b - a).flatten() for a, b in zip(before, after_one, strict=True)]
    move = torch.cat(moves)
    beyond = (move - move.float().double()).abs() / move.abs().clamp_min(1e-300)
    assert float(beyond.median()) > 1e-10, "updates were rounded to float32"


def is_like(kept: Any, p: Tensor) -> bool:
    """Is it a tensor of state that has an element for each of the parameter's?"""
    if not isinstance(kept, Tensor) or kept.ndim == 0:
        return False
    return kept.is_floating_point() and kept.shape == p.shape
