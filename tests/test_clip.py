"""Clipping, unscaling, skipping and going uphill, against torch and by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import thalweg
from conformance.compare import assert_close, copies, same_bits
from definition import BACKENDS, gradients, make, parameters
from thalweg.errors import UsageError
from thalweg.optim import Adaptive, ByNorm, ByValue, PerTensor
from thalweg.optim.bounds import Bounds
from thalweg.optim.updater import updater
from thalweg.rules.clips import clip_text, parse_clip

SHAPES = ((6, 4), (5,), (), (40_000,))

every_backend = pytest.mark.parametrize("backend", BACKENDS)


def pair(backend: str, rule: str = "momentum", **more: Any) -> tuple[Any, Any, Any, Any]:
    """(params, optimizer) with the settings, and twins without them."""
    ours, theirs = (parameters(SHAPES, torch.float64) for _ in range(2))
    return ours, make(ours, rule, backend, **more), theirs, make(theirs, rule, backend)


def clip_by_hand(clip: Any, params: list[Any]) -> None:
    match clip:
        case ByValue(limit=limit):
            nn.utils.clip_grad_value_(params, limit)
        case PerTensor(limit=limit):
            for p in params:
                nn.utils.clip_grad_norm_([p], limit)
        case Adaptive(limit=limit, eps=eps):
            for p in params:
                allowed = limit * max(p.detach().norm().item(), eps)
                p.grad.mul_(min(1.0, allowed / max(p.grad.norm().item(), 1e-300)))
        case ByNorm(limit=limit) | float(limit):
            nn.utils.clip_grad_norm_(params, limit)


CLIPS = {
    "number": 0.5,
    "by norm": ByNorm(0.5),
    "loose": ByNorm(1e9),
    "per tensor": PerTensor(0.3),
    "by value": ByValue(0.01),
    "adaptive": Adaptive(0.01),
    "adaptive, with a floor": Adaptive(0.02, eps=10.0),
}
every_clip = pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)


@every_backend
@every_clip
def test_clipping_is_torchs(clip, backend):
    """The gradients themselves stay as they were."""
    ours, optimizer, theirs, twin = pair(backend, clip=clip)
    for k in range(3):
        gradients(ours, k)
        before = copies(p.grad for p in ours)
        gradients(theirs, k)
        clip_by_hand(clip, theirs)
        optimizer.step()
        twin.step()
        assert same_bits([p.grad for p in ours], before)
    assert_close(ours, theirs, "clipped", rtol=1e-12, atol=1e-14)


BOUNDS = {
    "below": (Bounds(norm=1e9, clip_to=0.1), None, None),
    "above": (Bounds(norm=0.7, clip_to=0.1), None, 0.1),
    "below, and a clip": (Bounds(norm=1e9, clip_to=0.1), 0.5, 0.5),
    "above, and a looser clip": (Bounds(norm=0.7, clip_to=0.1), 0.5, 0.1),
    "above, and a stricter clip": (Bounds(norm=0.7, clip_to=0.3), 0.2, 0.2),
    "a loss above its bound": (Bounds(loss=0.5), None, 0.0),
    "a loss at its bound": (Bounds(loss=1.0), None, None),
    "nothing": (None, None, None),
}
"""Bounds of a step of loss 1, the optimizer's own clip, the norm that it comes to; 0: no step."""


@every_backend
@pytest.mark.parametrize(("bounds", "clip", "norm"), BOUNDS.values(), ids=BOUNDS)
def test_a_step_is_held_to_its_bounds(bounds, clip, norm, backend):
    ours, optimizer, theirs, twin = pair(backend, clip=clip)
    start = copies(theirs)
    gradients(ours, 0)
    gradients(theirs, 0)
    optimizer.apply(torch.tensor(1.0), bounds)
    if norm:
        nn.utils.clip_grad_norm_(theirs, norm)
    if norm != 0.0:
        twin.step()
    assert_close(ours, theirs, "bounded", rtol=1e-12, atol=1e-14)
    assert same_bits(ours, start) == (norm == 0.0)


@pytest.mark.parametrize(("bounds", "clip", "norm"), BOUNDS.values(), ids=BOUNDS)
def test_torchs_own_optimizers_are_held_to_them_too(bounds, clip, norm):
    ours, theirs = (parameters(SHAPES, torch.float64) for _ in range(2))
    gradients(ours, 0)
    gradients(theirs, 0)
    updater(torch.optim.SGD(ours, lr=0.1))(torch.tensor(1.0), bounds)
    allowed = norm if clip is None else bounds.clip_to if bounds.norm < 1e9 else None
    if allowed:
        nn.utils.clip_grad_norm_(theirs, allowed)
    if norm != 0.0:
        torch.optim.SGD(theirs, lr=0.1).step()
    assert_close(ours, theirs, "bounded", rtol=1e-12, atol=1e-14)


@every_backend
@pytest.mark.parametrize("clip", [0.5, PerTensor(0.3), ByValue(0.01), Adaptive(0.01)], ids=str)
def test_without_the_clip_the_path_is_another(clip, backend):
    ours, optimizer, theirs, twin = pair(backend, clip=clip)
    for params in (ours, theirs):
        gradients(params, 0)
    optimizer.step()
    twin.step()
    with pytest.raises(AssertionError):
        assert_close(ours, theirs, "not clipped", rtol=1e-12, atol=1e-14)


GROUPS = {
    "one clip for all": ({}, {}, {"clip": 0.5}, [[0, 1, 2, 3]]),
    "the same clip twice": ({"clip": 0.5}, {"clip": ByNorm(0.5)}, {}, [[0, 1, 2, 3]]),
    "only the first": ({"clip": 0.5}, {}, {}, [[0, 1]]),
    "the first without": ({"clip": None}, {}, {"clip": 0.5}, [[2, 3]]),
}


@every_backend
@pytest.mark.parametrize(("first", "second", "more", "together"), GROUPS.values(), ids=GROUPS)
def test_groups_with_one_clip_share_one_norm(first, second, more, together, backend):
    ours, theirs = (parameters(SHAPES, torch.float64) for _ in range(2))
    groups = [{"params": ours[:2], **first}, {"params": ours[2:], **second}]
    optimizer, twin = make(groups, "sgd", backend, **more), make(theirs, "sgd", backend)
    for params in (ours, theirs):
        gradients(params, 0)
    for members in together:
        nn.utils.clip_grad_norm_([theirs[i] for i in members], 0.5)
    optimizer.step()
    twin.step()
    assert_close(ours, theirs, "groups", rtol=1e-12, atol=1e-14)


@every_backend
def test_groups_with_clips_of_their_own_have_their_own_norms(backend):
    ours, theirs = (parameters(SHAPES, torch.float64) for _ in range(2))
    clips = (0.5, Adaptive(0.02), PerTensor(0.5), ByValue(0.1))
    groups = [{"params": [p], "clip": c} for p, c in zip(ours, clips, strict=True)]
    optimizer, twin = make(groups, "adamw", backend), make(theirs, "adamw", backend)
    for k in range(3):
        for params in (ours, theirs):
            gradients(params, k)
        for p, clip in zip(theirs, clips, strict=True):
            clip_by_hand(clip, [p])
        optimizer.step()
        twin.step()
    assert_close(ours, theirs, "own norms", rtol=1e-11, atol=1e-13)


@every_backend
def test_a_clip_can_be_changed_between_steps(backend):
    ours, optimizer, theirs, twin = pair(backend, clip=0.5)
    for k, clip in enumerate((0.5, 0.1, None, PerTensor(0.2), ByValue(0.1), Adaptive(0.1))):
        optimizer.param_groups[0]["clip"] = clip
        for params in (ours, theirs):
            gradients(params, k)
        clip_by_hand(clip, theirs)
        optimizer.step()
        twin.step()
    assert_close(ours, theirs, "changed", rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("clip", [0, -1.0, math.nan, math.inf, True, "1", [1.0]], ids=repr)
def test_a_clip_out_of_range_is_told(clip):
    for given in ({"clip": clip}, {}):
        params = parameters(SHAPES, torch.float32)
        with pytest.raises(UsageError, match="clip is") as caught:
            make(params if given else [{"params": params, "clip": clip}], "sgd", "torch", **given)
        assert repr(clip) in str(caught.value)


# Adaptive clipping.


@every_backend
def test_what_is_held_to_its_bounds_is_clipped_adaptively_too(backend):
    """First the outlier's bound on all together, then each tensor by its own size."""
    ours, optimizer, theirs, twin = pair(backend, clip=Adaptive(0.05))
    for params in (ours, theirs):
        gradients(params, 0)
    measured = optimizer.apply(torch.tensor(1.0), Bounds(norm=0.7, clip_to=0.3))
    nn.utils.clip_grad_norm_(theirs, 0.3)
    before = [p.grad.norm().item() for p in theirs]
    bound = 0.3 / measured["gradient_norm"]
    clip_by_hand(Adaptive(0.05), theirs)
    twin.step()
    assert_close(ours, theirs, "bounded", rtol=1e-12, atol=1e-14)
    own = min(p.grad.norm().item() / norm for p, norm in zip(theirs, before, strict=True))
    assert measured["clip_factor"] == pytest.approx(own * bound, rel=1e-5)


@every_backend
def test_sparse_gradients_are_clipped_adaptively(backend):
    tables = [nn.Embedding(10, 4, sparse=sparse, dtype=torch.float64) for sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    for table in tables:
        optimizer = make(table.parameters(), "sgd", backend, clip=Adaptive(), weight_decay=0.0)
        (10 * table(torch.tensor([1, 1, 7]))).square().sum().backward()
        optimizer.step()
    assert_close([tables[0].weight], [tables[1].weight], "sparse", rtol=1e-12, atol=1e-14)


def test_the_last_layer_is_left_out_by_a_group_of_its_own():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).double()
    groups = [{"params": net[0].parameters()}, {"params": net[1].parameters(), "clip": None}]
    optimizer = thalweg.SGD(groups, lr=1.0, clip=Adaptive(0.01))
    start = [copies([layer.weight])[0] for layer in net]
    net[0].weight.grad, net[1].weight.grad = (torch.ones_like(w) for w in start)
    optimizer.step()
    moved = [(w - layer.weight.detach()) for w, layer in zip(start, net, strict=True)]
    assert moved[0].norm().item() == pytest.approx(0.01 * start[0].norm().item(), rel=1e-9)
    assert torch.allclose(moved[1], torch.ones_like(moved[1]))


TEXTS = {
    "1.0": ByNorm(1.0),
    "norm:2": ByNorm(2.0),
    "tensor:1.0": PerTensor(1.0),
    "value:0.5": ByValue(0.5),
    "adaptive": Adaptive(),
    "adaptive:0.02": Adaptive(0.02),
    "adaptive:limit=0.02,eps=0.1": Adaptive(0.02, eps=0.1),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_clip_has_a_text(text):
    clip = parse_clip(text)
    assert clip == TEXTS[text]
    assert parse_clip(clip_text(clip)) == clip


# GradScaler's attributes.


@every_backend
@pytest.mark.parametrize("clip", [None, 0.5, PerTensor(0.3), ByValue(0.01), Adaptive()], ids=str)
def test_a_loss_scale_is_folded_in(clip, backend):
    ours, optimizer, theirs, twin = pair(backend, clip=clip)
    twin.param_groups[0]["clip"] = clip
    for k in range(3):
        for params in (ours, theirs):
            gradients(params, k)
        for p in ours:
            p.grad *= 512.0
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(512.0), torch.tensor(0.0)
        optimizer.step()
        twin.step()
    assert_close(ours, theirs, "unscaled", rtol=1e-12, atol=1e-14)


@every_backend
def test_what_the_scaler_found_skips_the_step(backend):
    ours, optimizer, theirs, twin = pair(backend)
    for k in range(4):
        for params in (ours, theirs):
            gradients(params, k)
        optimizer.grad_scale = torch.tensor(1.0)
        optimizer.found_inf = torch.tensor(float(k % 2))
        optimizer.step()
        if k % 2 == 0:
            twin.step()
    assert same_bits(ours, theirs)


# Steps that are not finite.

VALUES = (math.nan, math.inf, -math.inf)


def everything(optimizer: Any, params: list[Any]) -> list[Any]:
    state = [optimizer.state[p] for p in params]
    return copies([*params, *(s[name] for s in state for name in sorted(s))])


@every_backend
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("rule", ["sgd", "adamw", "nadam", "schedulefree_adamw"])
def test_a_step_that_is_not_finite_changes_no_bit(rule, value, backend):
    """Neither parameters nor state, t and running scalars among them; then all goes on."""
    ours, optimizer, theirs, twin = pair(backend, rule, skip_nonfinite=True)
    for k in range(5):
        for params in (ours, theirs):
            gradients(params, k)
        if k in (0, 3):
            ours[3].grad[17_000] = value
        before = everything(optimizer, ours)
        optimizer.step()
        if k == 3:
            assert same_bits(everything(optimizer, ours), before)
        if k not in (0, 3):
            twin.step()
    assert same_bits(everything(optimizer, ours), everything(twin, theirs))


@every_backend
@pytest.mark.parametrize("value", VALUES)
def test_without_the_skip_it_is_applied_as_torch_does(value, backend):
    ours = parameters(SHAPES, torch.float64)
    theirs = parameters(SHAPES, torch.float64)
    optimizer = make(ours, "sgd", backend)
    twin = torch.optim.SGD(theirs, lr=0.1, weight_decay=0.05)
    for params, stepping in ((ours, optimizer), (theirs, twin)):
        gradients(params, 0)
        params[1].grad[2] = value
        stepping.step()
    assert not bool(torch.isfinite(ours[1][2]))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14, equal_nan=True)


@every_backend
def test_one_group_that_skips_makes_all_skip(backend):
    params = parameters(SHAPES, torch.float32)
    groups = [{"params": params[:2], "skip_nonfinite": True}, {"params": params[2:]}]
    optimizer = make(groups, "sgd", backend)
    gradients(params, 0)
    params[3].grad[0] = math.nan
    before = copies(params)
    optimizer.step()
    assert same_bits(params, before)


@every_backend
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_apply_skips_where_the_loss_is_not_finite(loss, backend):
    params = parameters(SHAPES, torch.float32)
    optimizer = make(params, "adamw", backend)
    gradients(params, 0)
    before = copies(params)
    optimizer.apply(torch.tensor(loss))
    assert same_bits(params, before)
    optimizer.apply(torch.tensor(1.0))
    assert not same_bits(params, before)


@every_backend
def test_a_huge_gradient_is_no_reason_to_skip(backend):
    p = nn.Parameter(torch.zeros(100))
    optimizer = make([p], "sgd", backend, skip_nonfinite=True, clip=1.0, weight_decay=0.0)
    p.grad = torch.full_like(p, 1e30)
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.full((100,), -0.01), rtol=1e-5, atol=0.0)


@every_backend
def test_uphill_is_downhill_of_the_negative(backend):
    ours, optimizer, theirs, twin = pair(backend, "adamw", maximize=True, clip=0.5)
    twin.param_groups[0]["clip"] = 0.5
    for k in range(3):
        for params in (ours, theirs):
            gradients(params, k)
        for p in theirs:
            p.grad.neg_()
        optimizer.step()
        twin.step()
    assert_close(ours, theirs, "uphill", rtol=1e-13, atol=1e-15)
