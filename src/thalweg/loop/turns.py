"""Networks that are trained in turns within a step, each by a loss of its own: phases of a task.

So a generator and its critic are trained: Goodfellow et al., Generative Adversarial Nets, 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.loop.norms import Measured

Values = Sequence[Any]
"""Floats, or tensors of shape () on the device; one of each phase."""


@contextmanager
def only(model: nn.Module, name: str) -> Iterator[None]:
    """Inside, only the part of that name is trained; gradients still flow through the others."""
    own = {id(p) for p in model.get_submodule(name).parameters()}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    for p in others:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in others:
            p.requires_grad_(True)


def together(phases: Mapping[str, Measured]) -> Measured:
    """What the phases of one step measured, as one: losses add up, and stand there by name."""
    rows = list(phases.values())
    found = {
        name: join([row[name] for row in rows])
        for name, join in _JOINED.items()
        if all(name in row and row[name] is not None for row in rows)
    }
    return {**found, **{name: row["loss"] for name, row in phases.items()}}


def _length(values: Values) -> Any:
    """The norm of vectors that stand side by side."""
    return sum(value * value for value in values) ** 0.5


def _least(values: Values) -> Any:
    if any(isinstance(value, Tensor) for value in values):
        return torch.stack([torch.as_tensor(value) for value in values]).min()
    return min(values)


def _last(values: Values) -> Any:
    return values[-1]


_JOINED: dict[str, Callable[[Values], Any]] = {
    "loss": sum,
    "gradient_norm": _length,
    "update_norm": _length,
    "parameter_norm": _length,
    "clip_factor": _least,
    "num_nonfinite": sum,
    "loss_scale": _last,
}
"""How each measure of the phases becomes the step's."""
