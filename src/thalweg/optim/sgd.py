"""SGD: gradient descent, with momentum or Nesterov momentum when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from thalweg.errors import UsageError
from thalweg.optim.common import Common, Number, Params
from thalweg.optim.family import Family
from thalweg.optim.optimizer import Optimizer
from thalweg.rules.rule import SWITCH


class SGD(Optimizer):
    """Gradient descent: p = p - lr g, with momentum or Nesterov momentum when asked for.

    lr: learning rate, >= 0; momentum: share of the last direction that is kept, 0 <= momentum < 1
    dampening: 0 .. 1, share by which a new gradient counts less than the first
    weight_decay: >= 0, joins the gradient
    nesterov: look ahead along the momentum (needs momentum > 0 and no dampening)
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Sources: Robbins and Monro 1951; Polyak 1964; Sutskever et al. 2013.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.SGD([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.8
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            _FAMILY,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            **more,
        )


def _choose(settings: Mapping[str, Any]) -> str:
    momentum, dampening = settings["momentum"], settings["dampening"]
    if settings["nesterov"]:
        if momentum == 0 or dampening != 0:
            raise UsageError(
                f"nesterov=True with momentum={momentum} and dampening={dampening}: "
                "give a momentum, such as 0.9, and no dampening"
            )
        return "nesterov"
    return "sgd" if momentum == 0 else "momentum"


_FAMILY = Family(_choose, ("sgd", "momentum", "nesterov"), {"nesterov": SWITCH})
