"""The table of losses: what a descent makes small, and which metrics are measured beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from thalweg.errors import UsageError
from thalweg.tasks.metrics import METRICS, Metric

Outputs = Any
Targets = Any


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss and the metrics that go with it.

    mean(outputs, targets) -> 0-d tensor, the mean over the batch
    each(outputs, targets) -> tensor of shape (n,), the loss of each sample; None where it is not
    known
    """

    name: str
    mean: Callable[[Outputs, Targets], Tensor]
    each: Callable[[Outputs, Targets], Tensor] | None
    metrics: tuple[Metric, ...] = ()


def _cross_entropy_each(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = functional.cross_entropy(outputs, targets, reduction="none")
    return losses.flatten(1).mean(dim=1) if losses.dim() > 1 else losses


def _mse(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(like(outputs, targets), targets)


def _mse_each(outputs: Tensor, targets: Tensor) -> Tensor:
    errors = (like(outputs, targets) - targets).square()
    return errors.flatten(1).mean(dim=1) if errors.dim() > 1 else errors


def like(outputs: Tensor, targets: Tensor) -> Tensor:
    """`outputs` in the shape of `targets`: (n, 1) becomes (n,).

    Raises UsageError for any other difference, which torch would silently broadcast into a wrong
    loss.
    """
    if outputs.shape == targets.shape:
        return outputs
    if outputs.dim() == targets.dim() + 1 and outputs.shape[-1] == 1:
        return outputs.squeeze(-1)
    raise UsageError(
        f"the model gives outputs of shape {tuple(outputs.shape)} for targets of shape "
        f"{tuple(targets.shape)}: for this loss they must agree"
    )


def _bce(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(like(outputs, targets), targets)


def _bce_each(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = functional.binary_cross_entropy_with_logits(
        like(outputs, targets), targets, reduction="none"
    )
    return losses.flatten(1).mean(dim=1) if losses.dim() > 1 else losses


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective(
            "cross_entropy",
            functional.cross_entropy,
            _cross_entropy_each,
            (METRICS["accuracy"],),
        ),
        Objective("bce", _bce, _bce_each),
        Objective("mse", _mse, _mse_each, (METRICS["rmse"], METRICS["r2"])),
    )
}


def objective_of(loss: str | Callable[[Any, Any], Tensor]) -> Objective:
    """The objective by name, or around a callable `loss(outputs, targets) -> 0-d tensor`."""
    if callable(loss):
        return Objective(getattr(loss, "__name__", type(loss).__name__), loss, None)
    if loss not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise UsageError(f"loss {loss!r} is unknown: choose one of {known}, or give a function")
    return OBJECTIVES[loss]
