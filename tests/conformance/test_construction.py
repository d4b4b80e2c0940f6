"""Construction, groups and hyperparameters."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from conformance.compare import (
    all_finite,
    any_moved,
    assert_close,
    assert_equal,
    copies,
    run,
    set_gradients,
)
from conformance.subjects import Subject, every_subject

pytestmark = every_subject


def test_repr_and_defaults(subject):
    _, optimizer = subject.start()
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert type(optimizer).__name__ in repr(optimizer)
    assert isinstance(optimizer.defaults, dict)
    assert "lr" in optimizer.defaults
    for group in optimizer.param_groups:
        assert optimizer.defaults.keys() <= group.keys()


def test_construct_errors(subject):
    p = subject.fresh()[0]
    wrong = [
        (p, TypeError),
        ([], ValueError),
        ([{"params": [p]}, {"params": [p]}], ValueError),
        ([1], TypeError),
        ([{"params": {p}}], TypeError),
    ]
    for params, error in wrong:
        with pytest.raises(error):
            subject.make(params)


def test_rejects_bad_hyperparameters(subject):
    for name in ("lr", "weight_decay"):
        if subject.takes(name):
            with pytest.raises(ValueError, match=r"\S"):
                subject.make(subject.fresh(), **{name: -1.0})


def test_named_parameters(subject):
    model = subject.model()
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = subject.make(model.named_parameters())
    for group in optimizer.param_groups:
        assert group.get("param_names") == [names[id(p)] for p in group["params"]]
    for group in optimizer.state_dict()["param_groups"]:
        assert "param_names" in group


def test_groups_equal_separate(subject):
    """Two groups are as two optimizers; where tensors are coupled, equal groups are as one."""
    if subject.couples_tensors:
        equal_groups_are_as_one(subject)
    else:
        groups_are_as_optimizers(subject)


def groups_are_as_optimizers(subject: Subject) -> None:
    together, apart = subject.fresh(), subject.fresh()
    lr = subject.lr
    both = subject.make([{"params": together[:1]}, {"params": together[1:], "lr": 3 * lr}])
    first = subject.make(apart[:1])
    rest = subject.make(apart[1:], lr=3 * lr)
    for k in range(5):
        set_gradients(together, k)
        set_gradients(apart, k)
        both.step()
        first.step()
        rest.step()
    assert_close(together, apart, "two groups differ from two optimizers")


def equal_groups_are_as_one(subject: Subject) -> None:
    params, others = subject.fresh(), subject.fresh()
    grouped = subject.make([{"params": params[:1]}, {"params": params[1:]}])
    run(grouped, params, range(5))
    run(subject.make(others), others, range(5))
    assert_close(params, others, "two equal groups differ from one", rtol=1e-5, atol=1e-6)

    grouped.param_groups[0]["lr"] = 0.0
    before = copies(params)
    run(grouped, params, range(5, 7))
    assert_close(params[:1], before[:1], "a group at lr = 0 moved", rtol=1e-6)
    assert not torch.equal(params[1], before[1]), "lr = 0 of one group froze the other"


def test_coupling_as_declared(subject):
    """What happens to one parameter must not depend on another's gradient; or it must."""
    usual = first_beside_scaled_last(subject, 1.0)
    other = first_beside_scaled_last(subject, -3.0)
    is_free = torch.allclose(usual, other, rtol=1e-6, atol=1e-7)
    assert is_free or subject.couples_tensors, "a parameter's path depends on another's gradient"
    assert not is_free or not subject.couples_tensors, "declared coupled, and is not"


def first_beside_scaled_last(subject: Subject, scale: float) -> torch.Tensor:
    """Where the first parameter ends while the last one's gradients are scaled."""
    params, optimizer = subject.start()
    for _ in range(30):
        set_gradients(params, 0)
        params[-1].grad.mul_(scale)
        optimizer.step()
    return params[0].detach()


def test_lr_mutation_takes_effect(subject):
    half = 0.5 * subject.lr
    params, optimizer = subject.start()
    others, built_so = subject.start(lr=half)
    set_rates(optimizer, half)
    run(optimizer, params, range(3))
    run(built_so, others, range(3))
    assert_close(params, others, "lr written into the groups differs from lr at construction")

    params, optimizer = subject.start(**subject.undecayed())
    others, untouched = subject.start(**subject.undecayed())
    run(optimizer, params, range(2))
    run(untouched, others, range(2))
    set_rates(optimizer, 0.0)
    before = copies(params)
    run(optimizer, params, [2])
    run(untouched, others, [2])
    assert any_moved(params, others), "lr = 0 written into the groups is ignored"
    if subject.averages_weights:
        assert any_moved(params, before), "declared as averaging, but lr = 0 froze the weights"
    else:
        assert_close(params, before, "lr = 0 does not freeze the weights")


def set_rates(optimizer: Any, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def test_group_override_of_every_default(subject):
    """Each setting counts in a group as it does in the constructor."""
    defaults = subject.build(subject.fresh(), **subject.settings).defaults
    group = {"params": subject.fresh(), **defaults}
    kept = subject.build([group], **subject.settings).param_groups[0]
    for name, value in defaults.items():
        if not isinstance(value, torch.Tensor):
            assert kept[name] is value or kept[name] == value, f"{name} changed on the way in"

    num_compared = 0
    for name, value in defaults.items():
        changed = other_value(value)
        if changed is None or not is_a_groups(subject, name):
            continue
        others = subject.fresh()
        try:
            built_so = subject.make(others, **{name: changed})
        except (ValueError, RuntimeError):  # not a legal combination
            continue
        params = subject.fresh()
        grouped = subject.make([{"params": params, name: changed}])
        run(grouped, params, range(3))
        run(built_so, others, range(3))
        assert_close(params, others, f"{name}={changed} differs in a group and in the constructor")
        num_compared += 1
    assert num_compared > 0


def other_value(value: Any) -> Any:
    """A legal value that makes a difference; None for settings that have no obvious one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return 0.5 * value if value > 1e-3 else 0.05
    if isinstance(value, tuple | list) and value and all(isinstance(x, float) for x in value):
        return type(value)(0.9 * x for x in value)
    return None


def is_a_groups(subject: Subject, name: str) -> bool:
    """May groups differ in this setting? How to compute a step is the optimizer's."""
    if not subject.takes(name) or name in ("foreach", "fused", "capturable", "differentiable"):
        return False
    return not subject.couples_tensors or name in ("lr", "betas", "eps", "weight_decay")


def test_maximize_in_group(subject):
    subject.must_take("maximize")
    params, others = subject.fresh(), subject.fresh()
    climbing = subject.make([{"params": params, "maximize": True}], **subject.undecayed())
    descending = subject.make(others, **subject.undecayed())
    for k in range(3):
        set_gradients(params, k)
        set_gradients(others, k)
        for p in others:
            p.grad.neg_()
        climbing.step()
        descending.step()
    assert_close(params, others, "maximize in a group differs from a negated gradient")


def test_add_param_group_midway(subject):
    """A late group is updated, and starts at its own first step."""
    params = subject.fresh()
    optimizer = subject.make(params[:1])
    run(optimizer, params[:1], range(3))
    optimizer.add_param_group({"params": params[1:], "lr": subject.lr})
    before = copies(params)
    run(optimizer, params, [3])
    assert all_finite(params)
    for p, start in zip(params, before, strict=True):
        assert not torch.equal(p, start), "a parameter is not updated after a group was added"

    run(optimizer, params, [4])
    if subject.couples_tensors:
        return  # the late group's path depends on the first: see test_coupling_as_declared
    others = subject.fresh()
    alone = subject.make(others[1:])
    for k in (3, 4):
        set_gradients(others, k)
        alone.step()
    assert_close(params[1:], others[1:], "a late group does not start at its own first step")


def test_flags_as_declared(subject):
    """What a row excuses is so: train() and eval() are there, a vector is not as a matrix."""
    has_modes = all(callable(getattr(subject.build, name, None)) for name in ("train", "eval"))
    assert has_modes == subject.averages_weights
    if subject.matrices_only:
        assert is_told_of_vectors(subject), "a vector is taken without a word"


def is_told_of_vectors(subject: Subject) -> bool:
    """Are vectors beside matrices refused; or is there one warning, and matrices go as alone?"""
    params, others = subject.fresh(), subject.fresh()
    vectors = [nn.Parameter(torch.zeros(3)) for _ in range(2)]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer = subject.make([*vectors, *params])
    except ValueError as error:
        return bool(str(error))
    run(optimizer, [*params, *vectors], range(3))
    run(subject.make(others), others, range(3))
    assert_equal(params, others, "a vector beside it leads a matrix elsewhere")
    assert all(vector.any() for vector in vectors), "a vector stays where it is"
    return len(caught) == 1
