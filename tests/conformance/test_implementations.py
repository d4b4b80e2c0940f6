"""Layouts of memory, and the implementations that a constructor offers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conformance.compare import assert_close, copies, run, set_gradients
from conformance.subjects import Subject, every_subject

pytestmark = every_subject


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a parameter and its gradients lie in memory."""

    of_param: Callable[[Tensor], Tensor]
    of_grad: Callable[[Tensor], Tensor]


def permuted(t: Tensor) -> Tensor:
    """The same values with the strides of a transposed matrix, or channels last."""
    if t.ndim == 2:
        return t.t().clone(memory_format=torch.contiguous_format).t()
    return t.clone(memory_format=torch.channels_last)


def every_other(t: Tensor) -> Tensor:
    """The same values as a view with gaps, which hold 7."""
    base = torch.full((*t.shape[:-1], 2 * t.shape[-1]), 7.0, dtype=t.dtype)
    view = base[..., ::2]
    view.copy_(t)
    return view


def gaps_of(view: Tensor) -> Tensor:
    """What lies between the elements of an `every_other` view."""
    return view.detach().as_strided(view.shape, view.stride(), view.storage_offset() + 1)


PLAIN = Layout(torch.clone, torch.clone)
LAYOUTS = {
    "permuted parameter and gradient": Layout(permuted, permuted),
    "permuted parameter, plain gradient": Layout(permuted, torch.clone),
    "plain parameter, permuted gradient": Layout(torch.clone, permuted),
    "parameter with gaps": Layout(every_other, torch.clone),
}


def test_layouts(subject):
    layouts_change_nothing(subject)


def test_fused_layouts(subject):
    subject.must_take("fused")
    settings = {**subject.settings, **subject.only("fused")}
    fused = dataclasses.replace(subject, settings=settings)
    try:
        fused.make(fused.fresh())
    except (RuntimeError, NotImplementedError, ValueError) as error:
        skip_if_refused(error, "fused")
    layouts_change_nothing(fused)


def layouts_change_nothing(subject: Subject) -> None:
    """The same numbers whatever the strides; memory between the elements of a view stays."""
    expected = path_from(subject, start_of(subject), PLAIN)
    atol = max(1e-6, subject.product_atol())
    for name, layout in LAYOUTS.items():
        memory = layout.of_param(start_of(subject))
        p = path_from(subject, memory, layout)
        assert_close([p.contiguous()], [expected], name, rtol=1e-5, atol=atol)
        if layout.of_param is every_other:
            assert bool((gaps_of(memory) == 7.0).all()), "wrote outside of the parameter"


def start_of(subject: Subject) -> Tensor:
    shape = (6, 8) if subject.matrices_only else (4, 3, 2, 2)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def path_from(subject: Subject, start: Tensor, layout: Layout) -> Tensor:
    """A parameter in the memory of `start` after three steps."""
    source = torch.Generator().manual_seed(1)
    p = start.detach().requires_grad_()
    optimizer = subject.make([p])
    for _ in range(3):
        p.grad = layout.of_grad(torch.randn(start.shape, generator=source))
        optimizer.step()
    return p.detach()


def test_foreach_matches(subject):
    switch_changes_nothing(subject, "foreach")


def test_fused_matches(subject):
    switch_changes_nothing(subject, "fused")


def switch_changes_nothing(subject: Subject, switch: str) -> None:
    subject.must_take(switch)
    off, on = (path_with(subject, switch, value) for value in (False, True))
    assert_close(on, off, f"{switch} goes another way", rtol=1e-9, atol=1e-11)


def path_with(subject: Subject, switch: str, value: bool) -> list[Tensor]:
    """Seven steps in float64, in two of which the first parameter has no gradient."""
    params = subject.fresh(torch.float64)
    try:
        optimizer = subject.make(params, **subject.only(switch, value))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        skip_if_refused(error, switch)
    for k in range(7):
        set_gradients(params, k)
        if k in (3, 4):
            params[0].grad = None
        optimizer.step()
    return copies(params)


def skip_if_refused(error: Exception, *words: str) -> None:
    """Skip if the error names what is refused; any other error goes on."""
    if not any(word in str(error).lower() for word in words):
        raise error
    pytest.skip(f"refused: {error}")


def test_complex(subject):
    """Complex parameters go as pairs of reals; or the refusal says so and changes nothing."""
    if subject.matrices_only:
        pytest.skip("takes matrices only")
    source = torch.Generator().manual_seed(0)
    draws = [torch.randn(4, 3, dtype=torch.complex64, generator=source) for _ in range(4)]
    start, grads = draws[0], draws[1:]
    p = start.clone().requires_grad_()
    try:
        steps_with(subject, p, grads)
    except Exception as error:
        assert torch.equal(p.detach(), start), "refused, but the weights had been changed"
        skip_if_refused(error, "complex", "floating point")

    pairs = torch.view_as_real(start).clone().requires_grad_()
    steps_with(subject, pairs, [torch.view_as_real(g) for g in grads])
    moved = [torch.view_as_real(p.detach())]
    assert_close(moved, [pairs], "complex numbers are not as pairs", rtol=1e-5, atol=1e-6)


def steps_with(subject: Subject, p: Tensor, grads: list[Tensor]) -> None:
    optimizer = subject.make([p])
    for grad in grads:
        p.grad = grad.clone()
        optimizer.step()


def test_sparse_rejected_or_right(subject):
    """A clear refusal that changes nothing; or touched rows move as with the dense gradient."""
    torch.manual_seed(0)
    sparse, dense = nn.Embedding(10, 4, sparse=True), nn.Embedding(10, 4)
    dense.load_state_dict(sparse.state_dict())
    before = sparse.weight.detach().clone()
    rows, factor = torch.tensor([1, 2, 2]), torch.randn(3, 4)
    for table in (sparse, dense):
        (table(rows) * factor).sum().backward()
    assert sparse.weight.grad.is_sparse

    try:
        subject.make(sparse.parameters()).step()
    except Exception as error:
        text = str(error)
        assert "sparse" in text.lower(), f"no clear refusal: {text}"
        assert "aten::" not in text, "torch's own complaint, not a refusal"
        assert "SparseCPU" not in text, "torch's own complaint, not a refusal"
        assert torch.equal(sparse.weight.detach(), before), "refused, but the weights moved"
    else:
        subject.make(dense.parameters()).step()
        moved, expected = sparse.weight.detach(), dense.weight.detach()
        assert_close([moved[1:3]], [expected[1:3]], "touched rows", rtol=1e-5, atol=1e-6)
        rest = [0, *range(3, 10)]
        stayed = torch.equal(moved[rest], before[rest])
        as_dense = torch.allclose(moved[rest], expected[rest], rtol=1e-5, atol=1e-6)
        assert stayed or as_dense, "untouched rows moved"


def test_tensor_lr(subject):
    """A learning rate in a tensor is as a number, stays a tensor, and can be changed in place."""
    lr = subject.lr
    params, optimizer = subject.start(lr=lr)
    others = subject.fresh()
    try:
        by_tensor = subject.make(others, lr=torch.tensor(lr, dtype=torch.float64))
    except (ValueError, TypeError) as error:
        pytest.skip(f"refused: {error}")
    run(optimizer, params, range(4))
    run(by_tensor, others, range(4))
    assert_close(others, params, "lr in a tensor goes another way", rtol=1e-5, atol=1e-6)

    kept = by_tensor.param_groups[0]["lr"]
    assert isinstance(kept, Tensor), "lr turned into a number, which recompiles compiled steps"
    assert float(kept) == lr, "the step changed the tensor"
    for group in by_tensor.param_groups:
        group["lr"].fill_(0.1 * lr)
    run(optimizer, params, [4])
    run(by_tensor, others, [4])
    pairs = zip(params, others, strict=True)
    same = all(torch.allclose(a, b, rtol=1e-6, atol=1e-8) for a, b in pairs)
    assert not same, "a change of the tensor in place is ignored"


def test_differentiable(subject):
    """Derivatives of new weights, to the old ones and to the gradient, by differences."""
    subject.must_take("differentiable")
    source = torch.Generator().manual_seed(0)
    shape = (4, 3) if subject.matrices_only else (4,)
    draws = [torch.randn(shape, dtype=torch.float64, generator=source) for _ in range(5)]
    weight, grad, along_weight, along_grad, outward = draws

    def value(w: Tensor, g: Tensor) -> Tensor:
        p = w.clone()
        optimizer = subject.make([p], **subject.only("differentiable"))
        p.grad = g.clone()
        optimizer.step()
        return (p * outward).sum()

    w, g = weight.clone().requires_grad_(), grad.clone().requires_grad_()
    value(w, g).backward()
    for leaf in (w, g):
        assert leaf.grad is not None, "no gradient through the step"
        assert torch.isfinite(leaf.grad).all(), "no gradient through the step"

    h = 1e-6
    to_weight = value(weight + h * along_weight, grad) - value(weight - h * along_weight, grad)
    to_grad = value(weight, grad + h * along_grad) - value(weight, grad - h * along_grad)
    assert_slope(w.grad, along_weight, to_weight / (2 * h), "weights")
    assert_slope(g.grad, along_grad, to_grad / (2 * h), "gradient")


def assert_slope(derivative: Any, direction: Tensor, expected: Tensor, of: str) -> None:
    slope = float((derivative * direction).sum())
    difference = float(expected)
    allowed = 1e-5 * (1 + abs(difference))
    assert abs(slope - difference) < allowed, f"to the {of}: {slope}, by differences {difference}"
