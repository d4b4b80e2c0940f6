"""The samples that a model is given, each reduced to one number, and the targets of a loss.

A row's number is a weighted sum of its bits: equal rows have equal numbers, others nearly never.
It is made on the tensor's own device and waits for nothing.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.probes.loss_graph import below, kind_of

MOST_VALUES = 2048
"""Of a row that are looked at; of longer ones they are evenly spread."""

MOST_TENSORS = 4
MOST_ROWS = 4096
MOST_NODES = 12

TARGETS = {
    *("NllLoss", "NllLoss2D", "MseLoss", "HuberLoss", "SmoothL1Loss"),
    *("BinaryCrossEntropyWithLogits", "BinaryCrossEntropy"),
}
"""Nodes that keep the targets until the backward pass."""

LABELS = ("label", "target")
"""Words in the names of what is no input."""

_ODD = 0x1E3779B97F4A7C15


def inputs_of(given: Any) -> list[Tensor]:
    """The tensors among a model's arguments that hold a row for each sample, as the first does.

    >>> [len(x) for x in inputs_of(((torch.ones(3, 2),), {"labels": torch.ones(3)}))]
    [3]
    """
    found: list[Tensor] = []
    for name, x in _named(given, ""):
        is_label = any(word in name for word in LABELS)
        if is_label or not _is_plain(x) or x.ndim == 0 or x.numel() == 0 or x.is_complex():
            continue
        if not found or (len(x) == len(found[0]) and x.device == found[0].device):
            found.append(x)
    return found[:MOST_TENSORS]


def _is_plain(x: Tensor) -> bool:
    """Does it hold its numbers in one piece, and no others?"""
    is_own = type(x) in (Tensor, nn.Parameter) and not x.is_nested and not x.is_meta
    return is_own and x.layout == torch.strided


def _named(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named(item, str(key).lower())
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(item, name)


def labels_of(given: Any) -> Tensor | None:
    """Whole numbers that are given to a model by the name of labels. Of texts the first is left
    out: models that are given labels predict each from those before it.
    """
    for name, x in _named(given, ""):
        if name == "labels" and x.ndim in (1, 2) and not x.is_floating_point() and x.numel():
            return x if x.ndim == 1 or x.shape[1] == 1 else x[:, 1:]
    return None


@torch.no_grad()
def prints_of(inputs: Sequence[Tensor]) -> Tensor:
    """A 64-bit number for each row, at most 4,096 of them.

    >>> first, second, third = prints_of([torch.tensor([[0.0, 1.0], [1.0, 0.0], [-0.0, 1.0]])])
    >>> bool(first == third), bool(first == second)
    (True, False)
    """
    found: Tensor | None = None
    for x in inputs:
        bits = bits_of(thinned(x.detach()[:MOST_ROWS]))
        part = (bits * _weights(x.device)[: bits.shape[1]]).sum(1)
        part = (part ^ (part >> 29)) * _ODD
        found = part if found is None else found * 31 + part
    assert found is not None
    return found ^ (found >> 32)


def thinned(x: Tensor) -> Tensor:
    """(rows, values), with at most 2,048 values; of pictures every so many lines and columns."""
    width = x[0].numel()
    if width > MOST_VALUES and x.ndim > 2:
        step = -int(-((width / MOST_VALUES) ** 0.5) // 1)
        x = x[..., ::step, ::step]
        width = x[0].numel()
    flat = x.reshape(len(x), -1)
    return flat[:, :: -(-width // MOST_VALUES)] if width > MOST_VALUES else flat


def bits_of(x: Tensor) -> Tensor:
    """As int64; zero and minus zero are the same."""
    if not x.is_floating_point():
        return x.to(torch.int64)
    x = x + 0.0 if x.dtype in (torch.float32, torch.float64) else x.float() + 0.0
    bits = x.view(torch.int64 if x.dtype == torch.float64 else torch.int32)
    return (bits ^ (bits >> 16)).to(torch.int64)


@lru_cache
def _weights(device: torch.device) -> Tensor:
    source = random.Random(7)
    drawn = [(source.getrandbits(64) | 1) - 2**63 for _ in range(MOST_VALUES)]
    return torch.tensor([w | 1 for w in drawn]).to(device, non_blocking=True)


def targets_of(loss: Tensor) -> tuple[Tensor, int | None] | None:
    """What a loss was measured against, and the class that does not count; None where its graph
    does not tell, as after the backward pass, or where there are several.

    >>> outputs = torch.zeros(2, 3, requires_grad=True)
    >>> targets_of(nn.functional.cross_entropy(outputs, torch.tensor([2, 0])))
    (tensor([2, 0]), -100)
    """
    waiting = deque([loss.grad_fn])
    found = []
    for _ in range(MOST_NODES):
        node = waiting.popleft() if waiting else None
        if node is not None and kind_of(node) in TARGETS:
            found.append(node)
        elif node is not None:
            waiting.extend(below(node))
    return _saved(found[0]) if len(found) == 1 else None


def _saved(node: Any) -> tuple[Tensor, int | None] | None:
    try:
        target = node._saved_target
    except RuntimeError:  # freed by the backward pass
        return None
    ignored = getattr(node, "_saved_ignore_index", None)
    if ignored is not None and ignored >= 2**63:
        ignored -= 2**64
    return target.detach(), ignored
