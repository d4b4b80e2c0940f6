"""Batches taken apart: some of their samples, other labels, no inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.keys import Purpose, key

LABELS = ("labels", "label", "targets", "target", "y")
"""Keys under which a batch that is a mapping holds its labels."""

MASK = "mask"
"""A key with this in it says which inputs count, and is left alone."""


def are_told_apart(batch: Any) -> bool:
    """Is it known which part of a batch is the labels? A pair, a triple with weights, or a mapping.

    >>> are_told_apart((torch.ones(2), torch.ones(2))), are_told_apart(torch.ones(2))
    (True, False)
    """
    if isinstance(batch, Mapping):
        return _label_key(batch) is not None
    return type(batch) in (tuple, list) and len(batch) in (2, 3)


def permuted(batch: Any, number: int) -> Any:
    """The batch with labels of other samples; number: which of the permutations.

    >>> permuted([torch.arange(4), torch.arange(4)], 0)[0]
    tensor([0, 1, 2, 3])
    """
    source = torch.Generator().manual_seed(key(Purpose.TRIAL, number))
    size = num_samples(batch)
    order = torch.randperm(size, generator=source)
    return _changed(batch, labels=lambda part: _rows(part, order, size))


def zeroed(batch: Any) -> Any:
    """The batch with inputs that are all zero.

    >>> zeroed({"x": torch.ones(2), "y": torch.ones(2)})
    {'x': tensor([0., 0.]), 'y': tensor([1., 1.])}
    """
    return _changed(batch, inputs=_zero)


def samples(batches: Sequence[Any], count: int) -> Any:
    """One batch of so many samples, from all over the batches. Raises UsageError for too few."""
    found = sum(num_samples(batch) for batch in batches)
    if found < count:
        raise UsageError(f"the batches hold {found} samples: the trials need {count} or more")
    try:
        return _spread(batches, count)
    except (RuntimeError, TypeError):  # of different shapes: they cannot be joined
        largest = max(batches, key=num_samples)
        return _spread([largest], min(count, num_samples(largest)))


def _spread(batches: Sequence[Any], count: int) -> Any:
    """Samples of equal distance in the batches as they stand in a row, at most `count` of each."""
    heads = [rows(batch, torch.arange(min(count, num_samples(batch)))) for batch in batches]
    whole = _joined(heads)
    return rows(whole, torch.linspace(0, num_samples(whole) - 1, count).round().long())


def num_samples(batch: Any) -> int:
    """How many samples a batch holds: the length of its first tensor that has one."""
    first = next((part for part in _tensors(batch) if part.ndim), None)
    if first is None:
        raise UsageError(
            f"a batch is a {type(batch).__name__} without a tensor: give batches as loss_of takes "
            "them, such as (inputs, labels)"
        )
    return len(first)


def rows(batch: Any, where: Tensor) -> Any:
    """These samples of a batch."""
    return _rows(batch, where, num_samples(batch))


def _rows(part: Any, where: Tensor, size: int) -> Any:
    if isinstance(part, Tensor):
        is_whole = part.ndim and len(part) == size
        return part.index_select(0, where.to(part.device)) if is_whole else part
    return _each(part, lambda inner: _rows(inner, where, size))


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts)) if first.ndim else first
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, list | tuple):
        return [_joined(column) for column in zip(*parts, strict=True)]
    return first


def _changed(
    batch: Any,
    *,
    inputs: Callable[[Any], Any] = lambda part: part,
    labels: Callable[[Any], Any] = lambda part: part,
) -> Any:
    if isinstance(batch, Mapping):
        own = _label_key(batch)
        return {k: labels(part) if k == own else inputs({k: part})[k] for k, part in batch.items()}
    return [inputs(batch[0]), labels(batch[1]), *batch[2:]]


def _zero(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part if part.dtype == torch.bool else torch.zeros_like(part)
    if isinstance(part, Mapping):
        return {k: inner if MASK in str(k) else _zero(inner) for k, inner in part.items()}
    return _each(part, _zero)


def _each(part: Any, change: Callable[[Any], Any]) -> Any:
    """What holds other things, with each of them changed."""
    if isinstance(part, Mapping):
        return {name: change(inner) for name, inner in part.items()}
    return [change(inner) for inner in part] if isinstance(part, list | tuple) else part


def _tensors(part: Any) -> list[Tensor]:
    if isinstance(part, Tensor):
        return [part]
    inner = list(part.values()) if isinstance(part, Mapping) else part
    return [t for each in inner for t in _tensors(each)] if isinstance(inner, list | tuple) else []


def _label_key(batch: Mapping[Any, Any]) -> Any:
    return next((name for name in LABELS if name in batch), None)
