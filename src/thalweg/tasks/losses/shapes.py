"""Shapes of outputs and targets: brought together, or refused with both named."""

from __future__ import annotations

from torch import Tensor

from thalweg.errors import UsageError


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


def of_rows(losses: Tensor) -> Tensor:
    """Shape (n,): the mean over whatever a row has more than one of."""
    return losses.flatten(1).mean(dim=1) if losses.dim() > 1 else losses
