"""Losses of numbers, each row's own: shape (n,). e is the error, output - target."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from thalweg.errors import UsageError
from thalweg.tasks.losses.shapes import like, of_rows

STEEPEST = 30.0


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """e^2"""
    return of_rows((like(outputs, targets) - targets).square())


def mae(outputs: Tensor, targets: Tensor) -> Tensor:
    """|e|"""
    return of_rows((like(outputs, targets) - targets).abs())


def huber(outputs: Tensor, targets: Tensor, *, delta: float = 1.0) -> Tensor:
    """e^2 / 2 where |e| <= delta, beyond it delta (|e| - delta / 2): outliers pull no harder.

    Huber, Robust Estimation of a Location Parameter, 1964
    """
    own = like(outputs, targets)
    return of_rows(functional.huber_loss(own, targets, reduction="none", delta=float(delta)))


def quantile(outputs: Tensor, targets: Tensor, *, levels: tuple[float, ...]) -> Tensor:
    """The mean over the levels q of max(-q e, (1 - q) e): the output of q tends to that quantile.

    outputs: (n, levels); targets: (n,); Koenker and Bassett, Regression Quantiles, 1978
    """
    if outputs.shape != (*targets.shape, len(levels)):
        raise UsageError(
            f"the model gives outputs of shape {tuple(outputs.shape)} for targets of shape "
            f"{tuple(targets.shape)}: for the quantiles {', '.join(map(str, levels))} it must give "
            f"{(*targets.shape, len(levels))}"
        )
    q = torch.tensor(levels, dtype=outputs.dtype, device=outputs.device)
    error = outputs - targets.unsqueeze(-1)
    return of_rows(torch.maximum(-q * error, (1 - q) * error).mean(dim=-1))


def poisson(outputs: Tensor, targets: Tensor, *, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    """Half the Poisson deviance, y log(y / m) - (y - m) with m = exp(output): 0 where m = y.

    y is shift + scale * target, >= 0: a target that was standardised is a count again, or its
    multiple. Its gradient is that of torch's poisson_nll_loss. Beyond an output of STEEPEST, a mean
    of 1e13, the exponential goes on as its tangent, so that no gradient overflows.
    """
    log_m = like(outputs, targets)
    y = (shift + scale * targets).clamp_min(0.0)  # below 0 by rounding
    bent = log_m.clamp(max=STEEPEST)
    m = bent.exp() * (1 + (log_m - bent))
    return of_rows(torch.xlogy(y, y) - y * log_m - y + m)
