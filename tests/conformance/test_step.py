"""What one step does and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.profiler import ProfilerActivity, profile

from conformance.compare import all_finite, assert_close, assert_equal, copies, run, set_gradients
from conformance.subjects import every_subject

pytestmark = every_subject


def test_closure(subject):
    model = subject.model()
    optimizer = subject.make(model.parameters())
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    modes = []

    def closure():
        modes.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = model(x).pow(2).mean()
        loss.backward()
        return loss

    with torch.no_grad():
        returned = optimizer.step(closure)
    assert modes, "the closure was not called"
    assert all(modes), "the closure runs with gradients off"
    assert returned is not None
    assert float(returned.detach()) > 0
    assert optimizer.step(None) is None


def test_none_grad_is_noop(subject):
    params, optimizer = subject.start()
    before = copies(params)
    optimizer.step()
    assert_equal(params, before, "a step without gradients moved the weights")


def test_freeze_unfreeze_step_count(subject):
    """A parameter without a gradient waits; later it goes by its own count of steps."""
    params, optimizer = subject.start()
    before = copies(params)
    for k in range(6):
        set_gradients(params, k)
        if k < 3:
            params[0].grad = None
        optimizer.step()
        if k == 2:
            assert_equal(params[:1], before[:1], "moved without a gradient")
            assert not torch.equal(params[1], before[1]), "the others were stopped"
    assert all_finite(params[:1])
    assert not torch.equal(params[0], before[0]), "stuck after it got a gradient"
    if subject.couples_tensors:
        return  # the others drive its step meanwhile: see test_coupling_as_declared

    others = subject.fresh()
    late = subject.make(others[:1])
    for k in range(3, 6):
        set_gradients(others, k)
        late.step()
    if subject.shares_count:
        assert not torch.equal(params[0], others[0]), "declared to share a count, and does not"
    else:
        assert_close(params[:1], others[:1], "a late start goes by another's count of steps")


def test_grad_not_mutated(subject):
    settings = [{}]
    if subject.takes("weight_decay"):
        settings.append({"weight_decay": 0.1})
    if subject.takes("maximize"):
        settings.append({"maximize": True})
    for more in settings:
        params, optimizer = subject.start(**more)
        for k in range(2):
            step_keeps_gradients(optimizer, params, k)


def test_grad_not_mutated_bf16(subject):
    params, optimizer = subject.start(torch.bfloat16)
    step_keeps_gradients(optimizer, params, 0)


def step_keeps_gradients(optimizer, params, step: int) -> None:
    set_gradients(params, step)
    before = copies(p.grad for p in params)
    optimizer.step()
    for p in params:
        assert p.grad is not None, "the step dropped .grad"
    assert_equal([p.grad for p in params], before, "the step changed .grad")


def test_param_identity_and_no_graph(subject):
    params, optimizer = subject.start()
    places = [p.data_ptr() for p in params]
    run(optimizer, params, range(2))
    assert [p.data_ptr() for p in params] == places, "parameters must be updated in place"
    for p in params:
        assert p.grad_fn is None
        assert p.is_leaf
        assert p.requires_grad


def test_zero_grad(subject):
    params, optimizer = subject.start()
    set_gradients(params, 0)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)

    set_gradients(params, 0)
    optimizer.zero_grad(set_to_none=False)
    for p in params:
        assert p.grad is not None
        assert not p.grad.any()


def test_empty_tensor_and_scalar(subject):
    if subject.matrices_only:
        pytest.skip("takes matrices only")
    empty, scalar = nn.Parameter(torch.empty(0, 3)), nn.Parameter(torch.tensor(1.0))
    optimizer = subject.make([empty, scalar])
    run(optimizer, [empty, scalar], [0])
    assert all_finite([scalar])
    assert scalar.item() != 1.0, "a scalar beside an empty tensor is not updated"
    run(optimizer, [empty, scalar], [1])
    optimizer.state_dict()


def test_hooks(subject):
    params, optimizer = subject.start()
    set_gradients(params, 0)
    calls = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: calls.append("before, of all")),
        register_optimizer_step_post_hook(lambda *_: calls.append("after, of all")),
        optimizer.register_step_pre_hook(lambda *_: calls.append("before")),
        optimizer.register_step_post_hook(lambda *_: calls.append("after")),
    ]
    try:
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    assert calls == ["before, of all", "before", "after", "after, of all"]

    optimizer.register_state_dict_post_hook(lambda _, saved: {**saved, "tag": 1})
    assert optimizer.state_dict()["tag"] == 1
    optimizer.register_load_state_dict_pre_hook(without_tag)
    optimizer.load_state_dict(optimizer.state_dict())


def without_tag(_, saved):
    return {key: value for key, value in saved.items() if key != "tag"}


def test_profiler_name(subject):
    params, optimizer = subject.start()
    set_gradients(params, 0)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        optimizer.step()
        optimizer.zero_grad()
    names = [event.key for event in profiler.key_averages()]
    assert any(name.startswith("Optimizer.step#") for name in names)
