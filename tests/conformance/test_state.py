"""State: saved, loaded, copied, and made by others."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    _init_optim_state,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from conformance.compare import (
    all_finite,
    any_moved,
    assert_close,
    assert_equal,
    assert_same_trees,
    by_file,
    copies,
    has_state,
    params_of,
    run,
    set_gradients,
    twins_of,
)
from conformance.subjects import Subject, every_subject

pytestmark = every_subject

PLAIN = torch.Tensor, int, float, bool, str, type(None)
"""What a state dict may hold besides dicts and lists."""

LATER_FLAGS = (
    "maximize",
    "foreach",
    "fused",
    "capturable",
    "differentiable",
    "decoupled_weight_decay",
)
"""Settings that older checkpoints do not have."""


def test_state_dict_layout(subject):
    params, optimizer = subject.start()
    run(optimizer, params, range(2))
    saved = optimizer.state_dict()
    assert saved.keys() >= {"state", "param_groups"}
    numbers = list(range(len(params)))
    assert {key for key in saved["state"] if not isinstance(key, str)} <= set(numbers)
    assert [i for group in saved["param_groups"] for i in group["params"]] == numbers
    for path, leaf in leaves(saved, "state_dict"):
        assert not isinstance(leaf, nn.Parameter), f"{path} is a live parameter"
        assert isinstance(leaf, PLAIN), f"{path} is a {type(leaf).__name__}"

    assert has_state(optimizer) != subject.keeps_no_state
    if subject.keeps_no_state:
        others = twins_of(params)
        run(optimizer, params, [2])
        run(subject.make(others), others, [2])
        assert_equal(params, others, "no state, but the step depends on earlier steps")


def leaves(tree: Any, path: str) -> list[tuple[str, Any]]:
    """Every value in nested dicts and lists, with where it stands."""
    if isinstance(tree, dict):
        branches = tree.items()
    elif isinstance(tree, list | tuple):
        branches = enumerate(tree)
    else:
        return [(path, tree)]
    return [leaf for key, branch in branches for leaf in leaves(branch, f"{path}.{key}")]


def test_weights_only_roundtrip(subject):
    params, optimizer = subject.start()
    run(optimizer, params, range(2))
    loaded = by_file(optimizer.state_dict())
    assert_same_trees(loaded, optimizer.state_dict(), "state_dict")


def test_resume_bitwise(subject):
    resumes_to_the_bit(subject, copy.deepcopy)


def test_resume_bitwise_disk(subject):
    resumes_to_the_bit(subject, by_file)


def test_resume_bitwise_bf16(subject):
    resumes_to_the_bit(subject, copy.deepcopy, torch.bfloat16)


def resumes_to_the_bit(
    subject: Subject, via: Callable[[Any], Any], dtype: torch.dtype = torch.float32
) -> None:
    params, optimizer = subject.start(dtype)
    run(optimizer, params, range(4))
    others = twins_of(params)
    resumed = subject.make(others)
    resumed.load_state_dict(via(optimizer.state_dict()))
    run(optimizer, params, range(4, 8))
    run(resumed, others, range(4, 8))
    assert_equal(others, params, "the resumed run is another run")


def test_load_does_not_alias_or_modify(subject):
    """What was loaded stays as it was, state tensors aside, which torch itself may share."""
    params, optimizer = subject.start()
    run(optimizer, params, range(2))
    saved = copy.deepcopy(optimizer.state_dict())
    before = copy.deepcopy(saved)

    others, loaded = subject.start()
    loaded.load_state_dict(saved)
    for group in loaded.param_groups:
        group["lr"] = 0.5 * group["lr"]
    run(loaded, others, range(2))
    assert_same_trees(saved, before, "state_dict", skip_tensors_below="state_dict.state")


def test_load_older_state_dict(subject):
    """A checkpoint from before some settings existed loads and steps."""
    params, optimizer = subject.start()
    run(optimizer, params, range(2))
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for name in LATER_FLAGS:
            group.pop(name, None)
    others, loaded = subject.start()
    loaded.load_state_dict(saved)
    before = copies(others)
    run(loaded, others, [0])
    assert all_finite(others)
    assert any_moved(others, before)


def test_load_python_step(subject):
    """A count of steps that was saved as a plain number continues."""
    params, optimizer = subject.start()
    run(optimizer, params, range(2))
    saved = copy.deepcopy(optimizer.state_dict())
    for kept in saved["state"].values():
        if isinstance(kept, dict) and isinstance(kept.get("step"), torch.Tensor):
            kept["step"] = kept["step"].item()
    others = twins_of(params)
    loaded = subject.make(others)
    loaded.load_state_dict(saved)
    run(loaded, others, [2])
    run(optimizer, params, [2])
    assert_close(others, params, "a count saved as a number counts differently")


def test_deepcopy_steps(subject):
    a_copy_steps_alike(subject, copy.deepcopy)


def test_pickle_steps(subject):
    a_copy_steps_alike(subject, lambda optimizer: pickle.loads(pickle.dumps(optimizer)))


def a_copy_steps_alike(subject: Subject, via: Callable[[Any], Any]) -> None:
    """A copied optimizer has parameters of its own and goes the same way."""
    params, optimizer = subject.start()
    run(optimizer, params, range(2))
    twin = via(optimizer)
    others = params_of(twin)
    assert not {id(p) for p in params} & {id(p) for p in others}
    before = copies(others)
    run(optimizer, params, range(2, 4))
    assert_equal(others, before, "a step of the first moved its copy")
    run(twin, others, range(2, 4))
    assert_equal(others, params, "the copy goes another way")


def test_wrong_shape_state_rejected(subject):
    _, optimizer = subject.start()
    smaller = subject.make(subject.fresh()[:1])
    with pytest.raises(ValueError, match=r"\S"):
        optimizer.load_state_dict(smaller.state_dict())


def test_dcp_fqn_roundtrip(subject):
    """torch.distributed.checkpoint's state, keyed by the parameters' qualified names."""
    model = subject.model()
    optimizer = subject.make(model.parameters())
    train(model, optimizer, 3)
    saved = get_optimizer_state_dict(model, optimizer)
    assert all(isinstance(key, str) for key in saved["state"])

    other = copy.deepcopy(model)
    resumed = subject.make(other.parameters())
    set_optimizer_state_dict(other, resumed, copy.deepcopy(saved))
    train(model, optimizer, 2)
    train(other, resumed, 2)
    assert_equal(other.parameters(), model.parameters(), "the resumed run is another run")


def train(model: nn.Module, optimizer: Any, num_steps: int) -> None:
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    for _ in range(num_steps):
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        optimizer.step()


def test_dcp_init_is_noop(subject):
    """There, missing state is made by a step with lr = 0, whose changes are not taken back."""
    model = subject.model()
    before = copies(model.parameters())
    decayed = {"weight_decay": 0.1} if subject.takes("weight_decay") else {}
    optimizer = subject.make(model.parameters(), **decayed)
    _init_optim_state(optimizer)
    assert_equal(model.parameters(), before, "making the state moved the weights")
    assert all(p.grad is None for p in model.parameters()), "gradients are left behind"
    if subject.keeps_no_state:
        run(optimizer, list(model.parameters()), range(2))
        assert not has_state(optimizer), "declared without state, and has some"
    else:
        assert has_state(optimizer), "no state was made"


def test_lr_zero_start(subject):
    """Warm-up from lr = 0: the first step makes neither NaN nor motion, later steps move."""
    starts_from_rate_zero(subject, subject.fresh(), {})
    if subject.takes("differentiable"):
        no_leaves = copies(subject.fresh())
        starts_from_rate_zero(subject, no_leaves, subject.only("differentiable"))


def starts_from_rate_zero(subject: Subject, params: list, switches: dict[str, bool]) -> None:
    try:
        optimizer = subject.make(params, lr=0.0, **switches)
    except ValueError as error:
        pytest.skip(f"lr = 0 is refused: {error}")
    before = copies(params)
    set_gradients(params, 0)
    for p in params:
        if p.ndim:
            p.grad.view(-1)[:2] = 0  # as rows of an embedding that no sample used
    optimizer.step()
    assert all_finite(params), f"not finite after a step at lr = 0 {switches}"
    assert_close(params, before, f"moved at lr = 0 {switches}")

    for group in optimizer.param_groups:
        group["lr"] = subject.lr
    run(optimizer, params, [1, 2])
    assert all_finite(params), f"not finite after warm-up from 0 {switches}"
    assert any_moved(params, before), f"stuck after warm-up from 0 {switches}"
