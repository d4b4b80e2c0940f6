"""A loss of a whole batch, of the user's own: of two networks, or the sum of several losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.types import MEASURES

Losses = Tensor | Mapping[str, Tensor]
"""The mean loss of a batch, 0-d; or several by name, whose sum is minimised."""

BatchLoss = Callable[[nn.Module, Any], Losses]
"""batch_loss(model, batch) of a batch as the data gives it."""


def summed(losses: Losses) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The mean loss of a batch; and those that it is the sum of, none where there is only one."""
    if isinstance(losses, Tensor):
        return losses, {}
    total, *others = losses.values()
    for other in others:
        total = total + other
    return total, losses


def checked_phases(model: nn.Module, phases: Mapping[str, BatchLoss]) -> dict[str, BatchLoss]:
    """The phases. Raises UsageError for a part that the model has not, or that trains nothing."""
    parts = [name for name, part in model.named_modules() if name and _trained(part)]
    for name in phases:
        if name not in parts or name in MEASURES:
            raise UsageError(
                f"phase {name!r}: the model has no part of that name with parameters to train; its "
                f"parts are {', '.join(parts[:8]) or 'none'}"
            )
    return dict(phases)


def _trained(part: nn.Module) -> list[Tensor]:
    return [p for p in part.parameters() if p.requires_grad]


def each_of(phases: Mapping[str, BatchLoss]) -> BatchLoss:
    """The losses of all phases of one batch, by name."""

    def phase_losses(model: nn.Module, batch: Any) -> Losses:
        return {
            name: summed(check_losses(loss(model, batch), name))[0] for name, loss in phases.items()
        }

    return phase_losses


def check_losses(losses: Any, name: str) -> Losses:
    """What a function of the user's own returned. Raises UsageError for what is no loss, with its
    shape.
    """
    rows = losses if isinstance(losses, Mapping) else {"": losses}
    if not rows:
        raise UsageError(f"batch loss {name} returned no loss: an empty mapping")
    for key, value in rows.items():
        what = f"{key!r}: " if key else ""
        if not isinstance(value, Tensor):
            raise UsageError(
                f"batch loss {name} returned {what}a {type(value).__name__}: it must be a tensor "
                "of shape (), the mean over the batch; or several by name, {'reconstruction': ...}"
            )
        if value.dim():
            raise UsageError(
                f"batch loss {name} returned {what}a tensor of shape {tuple(value.shape)}: it must "
                "be the mean over the batch, of shape ()"
            )
        if key in MEASURES or not isinstance(key, str):
            raise UsageError(f"batch loss {name}: {key!r} cannot be the name of a loss; rename it")
    return losses
