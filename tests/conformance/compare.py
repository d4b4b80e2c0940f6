"""Comparators and the few verbs that the conformance tests share."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "all_finite",
    "any_moved",
    "assert_close",
    "assert_equal",
    "assert_same_trees",
    "by_file",
    "copies",
    "has_state",
    "params_of",
    "run",
    "same_bits",
    "set_gradients",
    "twins_of",
]


def assert_close(
    actual: Iterable[Tensor],
    expected: Iterable[Tensor],
    what: str,
    rtol: float = 1e-6,
    atol: float = 1e-7,
) -> None:
    """Two lists of tensors agree in length, shapes, types and, within the tolerance, values."""
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        torch.testing.assert_close(
            a.detach(),
            b.detach(),
            rtol=rtol,
            atol=atol,
            msg=lambda text, i=i: f"{what} (tensor {i}): {text}",
        )


def assert_equal(actual: Iterable[Tensor], expected: Iterable[Tensor], what: str) -> None:
    """As `assert_close`, with nothing to spare."""
    assert_close(actual, expected, what, rtol=0.0, atol=0.0)


def same_bits(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Are two lists equal to the bit? (-0.0 is not 0.0, and a NaN equals itself.)"""
    return len(tensors) == len(others) and all(
        a.dtype == b.dtype and a.shape == b.shape and _bits(a) == _bits(b)
        for a, b in zip(tensors, others, strict=True)
    )


def _bits(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same_trees(tree: Any, other: Any, path: str, skip_tensors_below: str = "-") -> None:
    """Equal keys, lengths and values all the way down."""
    if isinstance(other, torch.Tensor):
        assert path.startswith(skip_tensors_below) or torch.equal(tree, other), f"{path} changed"
    elif isinstance(other, dict):
        assert tree.keys() == other.keys(), f"{path}: keys {[*other]} became {[*tree]}"
        for key in other:
            assert_same_trees(tree[key], other[key], f"{path}.{key}", skip_tensors_below)
    elif isinstance(other, list | tuple):
        assert len(tree) == len(other), f"{path} changed its length"
        for i, (a, b) in enumerate(zip(tree, other, strict=True)):
            assert_same_trees(a, b, f"{path}.{i}", skip_tensors_below)
    else:
        assert tree == other, f"{path}: {other!r} became {tree!r}"


def all_finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors)


def any_moved(tensors: Iterable[Tensor], before: Iterable[Tensor]) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def copies(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [t.detach().clone() for t in tensors]


def twins_of(params: Iterable[Tensor]) -> list[nn.Parameter]:
    """Parameters of their own with the same values."""
    return [nn.Parameter(p.detach().clone()) for p in params]


def params_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def has_state(optimizer: torch.optim.Optimizer) -> bool:
    """Does it keep anything of a parameter from step to step?"""
    return any(len(kept) > 0 for kept in optimizer.state.values() if isinstance(kept, dict))


def set_gradients(params: Iterable[Tensor], step: int, scale: float = 1.0) -> None:
    """The gradients of a step: the same for the same shapes, whatever the type of numbers."""
    source = torch.Generator().manual_seed(1000 + step)
    for p in params:
        draw = torch.randn(p.shape, generator=source, dtype=torch.float64)
        p.grad = (draw * scale).to(p.dtype)


def run(optimizer: Any, params: Sequence[Tensor], steps: Iterable[int]) -> None:
    """Take these steps with the gradients of `set_gradients`."""
    for k in steps:
        set_gradients(params, k)
        optimizer.step()


def by_file(saved: Any) -> Any:
    """Saved and loaded again, as a checkpoint of plain values and tensors."""
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
