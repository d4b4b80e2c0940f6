"""The laws of descent, each a function that fails on an optimizer that breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conformance.compare import (
    assert_close,
    assert_same_trees,
    by_file,
    copies,
    has_state,
    run,
    same_bits,
    set_gradients,
    twins_of,
)
from conformance.problems import PROBLEMS
from conformance.subjects import Subject

__all__ = [
    "accumulated_batches_are_one_big_batch",
    "empty_tensors_change_nothing",
    "finds_minimum",
    "frozen_parameter_waits",
    "gradient_scale_as_declared",
    "groups_have_their_own_settings",
    "late_group_goes_as_if_alone",
    "layouts_change_nothing",
    "one_number_for_all_gradients",
    "rate_of_zero_changes_no_bit",
    "scalar_goes_as_a_vector_of_one",
    "state_comes_back_to_the_bit",
    "without_its_state_a_run_is_another",
    "zero_gradient_moves_nothing_but_decay",
]

FLOATS = (torch.float64, torch.float32, torch.bfloat16)
NUM_STEPS = 800
"""Enough to a known minimum."""

EXACT = {"rtol": 1e-10, "atol": 1e-12}
"""In float64, where the order of a sum may differ."""


def finds_minimum(subject: Subject, name: str = "quadratic") -> None:
    problem = PROBLEMS[name]
    start = torch.tensor(problem.start, dtype=torch.float64)
    p = nn.Parameter(start.view(1, -1) if subject.matrices_only else start)
    lr = getattr(subject.rates, name)
    optimizer = subject.make([p], lr=lr, **subject.undecayed())
    for k in range(NUM_STEPS):
        optimizer.param_groups[0]["lr"] = lr * (1 - k / NUM_STEPS)
        optimizer.zero_grad()
        problem.value(p.view(-1)).backward()
        optimizer.step()
    if subject.averages_weights:
        optimizer.eval()
    goal = torch.tensor(problem.minimum, dtype=torch.float64)
    assert_close([p.view(-1)], [goal], f"minimum of {name}", rtol=0.0, atol=subject.minimum_atol)


# What must not change.


def zero_gradient_moves_nothing_but_decay(subject: Subject) -> None:
    params, optimizer = subject.start(torch.float64, **subject.undecayed())
    before = copies(params)
    step_with_zeros(optimizer, params)
    assert same_bits(params, before), "moved by a gradient of zero"
    if subject.takes("weight_decay") and not subject.couples_tensors:
        params, optimizer = subject.start(torch.float64, weight_decay=0.1)
        step_with_zeros(optimizer, params)
        assert not same_bits(params, before), "weight decay has no effect without a gradient"


def step_with_zeros(optimizer: Any, params: list[Tensor]) -> None:
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()


def rate_of_zero_changes_no_bit(subject: Subject) -> None:
    """From the start, and from amid a run; an average goes on moving towards its base."""
    decayed = {"weight_decay": 0.05} if subject.takes("weight_decay") else {}
    for dtype in FLOATS:
        params, optimizer = subject.start(dtype, **{**decayed, "lr": 0.0})
        before = copies(params)
        run(optimizer, params, range(3))
        if subject.averages_weights:
            assert_close(params, before, f"moved at lr = 0 in {dtype}", rtol=1e-2, atol=0.0)
        else:
            assert same_bits(params, before), f"moved at lr = 0 in {dtype}"

    params, optimizer = subject.start(torch.float64, **decayed)
    run(optimizer, params, range(3))
    before = copies(params)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    run(optimizer, params, range(3, 6))
    assert same_bits(params, before) != subject.averages_weights


# State.


def state_comes_back_to_the_bit(subject: Subject) -> None:
    params, optimizer = subject.start()
    run(optimizer, params, range(3))
    saved = copy.deepcopy(optimizer.state_dict())
    others = twins_of(params)
    loaded = subject.make(others)
    loaded.load_state_dict(by_file(saved))
    assert_same_trees(loaded.state_dict(), saved, "state_dict")

    run(optimizer, params, range(3, 6))
    run(loaded, others, range(3, 6))
    assert same_bits(others, params), "the resumed run is another run"
    assert_same_trees(loaded.state_dict(), optimizer.state_dict(), "state_dict")


def without_its_state_a_run_is_another(subject: Subject) -> None:
    """Where there is state, it matters."""
    params, optimizer = subject.start()
    run(optimizer, params, range(3))
    others = twins_of(params)
    fresh = subject.make(others)
    run(optimizer, params, range(3, 6))
    run(fresh, others, range(3, 6))
    assert has_state(optimizer) != subject.keeps_no_state
    assert same_bits(others, params) == subject.keeps_no_state


# Layouts and shapes.


def with_gaps(t: Tensor) -> Tensor:
    return torch.stack([t, torch.full_like(t, 7.0)], dim=-1)[..., 0]


def transposed(t: Tensor) -> Tensor:
    return t.transpose(0, -1).clone(memory_format=torch.contiguous_format).transpose(0, -1)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": torch.clone,
    "transposed": transposed,
    "with gaps": with_gaps,
    "a slice": lambda t: torch.cat([t, t])[len(t) :],
    "padded rows": lambda t: torch.cat([t, t], dim=-1)[..., : t.shape[-1]],
}


def layouts_change_nothing(subject: Subject) -> None:
    """Every layout of the parameter with every layout of its gradients."""
    expected = path_in(subject, torch.clone, torch.clone)
    atol = max(EXACT["atol"], subject.product_atol())
    for of_param in LAYOUTS.values():
        for of_grad in LAYOUTS.values():
            path = path_in(subject, of_param, of_grad)
            assert_close([path], [expected], "layout", rtol=EXACT["rtol"], atol=atol)


def path_in(subject: Subject, of_param: Callable, of_grad: Callable) -> Tensor:
    """Where a parameter of this layout is after four steps."""
    shape = (4, 6) if subject.matrices_only else (3, 4, 2, 5)
    source = torch.Generator().manual_seed(5)
    draws = [torch.randn(shape, generator=source, dtype=torch.float64) for _ in range(5)]
    p = of_param(draws[0]).requires_grad_()
    optimizer = subject.make([p])
    for draw in draws[1:]:
        p.grad = of_grad(draw)
        optimizer.step()
    return p.detach()


def one_number_for_all_gradients(subject: Subject) -> None:
    """A gradient that was expanded from one number has strides of 0."""
    params, optimizer = subject.start(torch.float64)
    others, plain = subject.start(torch.float64)
    for k in range(3):
        for p, q in zip(params, others, strict=True):
            p.grad = torch.tensor(0.5 + k, dtype=p.dtype).expand(p.shape)
            q.grad = p.grad.clone(memory_format=torch.contiguous_format)
        optimizer.step()
        plain.step()
    atol = max(EXACT["atol"], subject.product_atol())
    assert_close(params, others, "expanded gradient", rtol=EXACT["rtol"], atol=atol)


def scalar_goes_as_a_vector_of_one(subject: Subject) -> None:
    if subject.matrices_only:
        pytest.skip("takes matrices only")
    scalar, one = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor([0.5]))
    by_scalar, by_one = subject.make([scalar]), subject.make([one])
    for grad in (1.0, -0.3, 0.2):
        scalar.grad, one.grad = torch.tensor(grad), torch.tensor([grad])
        by_scalar.step()
        by_one.step()
    assert scalar.item() != 0.5
    assert_close([scalar], [one.view(())], "0-d")


def empty_tensors_change_nothing(subject: Subject) -> None:
    if subject.matrices_only:
        pytest.skip("takes matrices only")
    params, optimizer = subject.start()
    others = subject.fresh()
    empty = [nn.Parameter(torch.empty(shape)) for shape in ((0,), (0, 3), (2, 0, 2))]
    mixed = [others[0], empty[0], others[1], empty[1], *others[2:], empty[2]]
    beside = subject.make(mixed)
    for k in range(3):
        set_gradients(params, k)
        set_gradients(others, k)
        set_gradients(empty, k)
        optimizer.step()
        beside.step()
    assert_close(others, params, "beside empty tensors")
    alone = twins_of(empty)
    run(subject.make(alone), alone, range(2))


# Groups and gradients that come and go.


def late_group_goes_as_if_alone(subject: Subject) -> None:
    """And the early one as if nothing had joined it."""
    if subject.couples_tensors:
        pytest.skip("the groups drive each other's steps: see test_coupling_as_declared")
    params, others = subject.fresh(torch.float64), subject.fresh(torch.float64)
    optimizer = subject.make(params[:1])
    early, late = subject.make(others[:1]), subject.make(others[1:], lr=0.5 * subject.lr)
    for k in range(6):
        if k == 3:
            optimizer.add_param_group({"params": params[1:], "lr": 0.5 * subject.lr})
        set_gradients(params, k)
        set_gradients(others, k)
        optimizer.step()
        early.step()
        if k >= 3:
            late.step()
    assert_close(params, others, "a late group", **EXACT)


def frozen_parameter_waits(subject: Subject) -> None:
    """Frozen for three steps, it goes on as if they had not been; the others do not wait."""
    params, optimizer = subject.start(torch.float64)
    others, twin = subject.start(torch.float64)
    for k in range(9):
        is_frozen = 3 <= k < 6
        set_gradients(params, k)
        set_gradients(others, k)
        params[0].requires_grad_(not is_frozen)
        if is_frozen:
            params[0].grad = None
            before = copies([*params[:1], *state_of(optimizer, params[0])])
            rest = copies(params[1:])
        optimizer.step()
        if is_frozen:
            after = [*params[:1], *state_of(optimizer, params[0])]
            assert same_bits(after, before), "a frozen parameter or its state moved"
            assert not same_bits(params[1:], rest)
        else:
            twin.step()
    if subject.shares_count:
        assert not same_bits(params[:1], others[:1]), "declared to share a count, and does not"
    elif not subject.couples_tensors:
        assert_close(params[:1], others[:1], "a frozen parameter counts on", **EXACT)


def state_of(optimizer: Any, p: Tensor) -> list[Tensor]:
    kept = optimizer.state.get(p, {})
    return [kept[name] for name in sorted(kept) if isinstance(kept[name], Tensor)]


OWN_SETTINGS = {"weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "maximize": True}


def groups_have_their_own_settings(subject: Subject) -> None:
    """All at once, each group is as an optimizer of its own."""
    if subject.couples_tensors:
        pytest.skip("the groups drive each other's steps: see test_coupling_as_declared")
    own = {name: value for name, value in OWN_SETTINGS.items() if fits(subject, name, value)}
    own["lr"] = 0.3 * subject.lr
    params, others = subject.fresh(torch.float64), subject.fresh(torch.float64)
    optimizer = subject.make([{"params": params[:1], **own}, {"params": params[1:]}])
    first, rest = subject.make(others[:1], **own), subject.make(others[1:])
    for k in range(5):
        set_gradients(params, k)
        set_gradients(others, k)
        optimizer.step()
        first.step()
        rest.step()
    assert_close(params, others, "settings of a group", **EXACT)


def fits(subject: Subject, name: str, value: Any) -> bool:
    """Does the subject have this setting, in this form?"""
    default = subject.make(subject.fresh()).defaults.get(name)
    return subject.takes(name) and type(default) is type(value)


# Batches and scales.


def accumulated_batches_are_one_big_batch(subject: Subject) -> None:
    whole, parts = subject.model().double(), subject.model().double()
    at_once, by_parts = subject.make(whole.parameters()), subject.make(parts.parameters())
    source = torch.Generator().manual_seed(2)
    for _ in range(4):
        x = torch.randn(12, 5, generator=source, dtype=torch.float64)
        at_once.zero_grad()
        by_parts.zero_grad()
        whole(x).square().mean().backward()
        for part in x.chunk(3):
            (parts(part).square().mean() / 3).backward()
        at_once.step()
        by_parts.step()
    # A gradient near zero, divided by its own size, keeps the rounding of its sum.
    atol = max(1e-8, subject.product_atol())
    assert_close(parts.parameters(), whole.parameters(), "accumulated", rtol=1e-8, atol=atol)


def gradient_scale_as_declared(subject: Subject) -> None:
    """1024 times the gradient: the same path, or 1024 times the moves, or neither."""
    one, many = moves_with(subject, 1.0), moves_with(subject, 1024.0)
    assert bool(one.any()), "with these settings nothing moves"
    atol = max(1e-9, subject.product_atol())
    is_invariant = torch.allclose(many, one, rtol=1e-6, atol=atol)
    is_linear = torch.allclose(many, 1024 * one, rtol=1e-6, atol=atol)
    assert is_invariant == (subject.gradient_scale == "invariant")
    assert is_linear == (subject.gradient_scale == "linear")


def moves_with(subject: Subject, scale: float) -> Tensor:
    """How far every element went in five steps, without weight decay."""
    more = {**subject.undecayed(), **subject.scale_settings}
    params, optimizer = subject.start(torch.float64, **more)
    before = copies(params)
    for k in range(5):
        set_gradients(params, k, scale)
        optimizer.step()
    return torch.cat([(p.detach() - b).flatten() for p, b in zip(params, before, strict=True)])
