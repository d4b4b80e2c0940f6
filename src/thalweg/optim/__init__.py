"""The optimizers that users pick: torch's names, arguments and defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from thalweg.errors import UsageError
from thalweg.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]


class SGD(Optimizer):
    """Gradient descent: p = p - lr g, with momentum or Nesterov momentum when asked for.

    lr: learning rate, >= 0; momentum: share of the last direction that is kept, 0 <= momentum < 1
    weight_decay: >= 0, joins the gradient; nesterov: look ahead along the momentum (needs momentum
    > 0) Raises UsageError (a ValueError) for a value out of range.
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
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        if nesterov and momentum == 0:
            raise UsageError("nesterov=True with momentum=0: give a momentum, such as 0.9")
        if momentum == 0:
            super().__init__(params, "sgd", lr=lr, weight_decay=weight_decay)
        else:
            rule = "nesterov" if nesterov else "momentum"
            super().__init__(params, rule, lr=lr, momentum=momentum, weight_decay=weight_decay)


class Adam(Optimizer):
    """Adam: each parameter's step is scaled by running means of its gradient and of its square.

    lr: learning rate, >= 0; betas: decay of the two means, each 0 <= beta < 1; eps: >= 0
    weight_decay: >= 0, joins the gradient
    Raises UsageError (a ValueError) for a value out of range.
    Source: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Adam([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, "adam", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class AdamW(Optimizer):
    """Adam with decoupled weight decay: parameters shrink by lr * weight_decay each step.

    Arguments, ranges and errors as `Adam`; the default weight_decay is torch's, 0.01.
    Source: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.AdamW([x], lr=0.1, weight_decay=0.0)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, "adamw", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
