"""Adafactor: the memory of a row and a column in place of a matrix."""

from __future__ import annotations

from typing import Unpack

from thalweg.optim.common import Common, Number, Params
from thalweg.optim.optimizer import Optimizer
from thalweg.rules import MATRIX_RULES


class Adafactor(Optimizer):
    """Adafactor: steps as Adam's without momentum, from the mean squares of rows and columns only.

    lr: >= 0, the largest relative step; a tensor moves by its own root mean square (at least
    eps[1]) times the smaller of lr and 1 / sqrt(t)
    beta2_decay: <= 0, a new square counts t ** beta2_decay
    eps: two numbers >= 0; the first bounds the estimates from below (None: the distance from 1 to
    the next number of the type that is computed in), the second the size of a tensor
    d: >= 1, the largest root mean square of a step before its rate
    weight_decay: >= 0, shrinks the parameter beside the step, by lr * weight_decay
    more: clip, options for storage such as NearestRounding, ...: see `Optimizer`
    Tensors of more than two dimensions are stacks of matrices; those of fewer keep every square.
    Raises UsageError (a ValueError) for a value out of range, for complex parameters, sparse
    gradients and options that work element by element.
    Source: Shazeer and Stern, Adafactor: adaptive learning rates with sublinear memory, ICML 2018.

    >>> import torch, thalweg
    >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> optimizer = thalweg.Adafactor([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); [tuple(s.shape) for s in optimizer.state[x].values()]
    [(), (1, 1), (1, 2)]
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            MATRIX_RULES["adafactor"],
            lr=lr,
            beta2_decay=beta2_decay,
            eps=eps,
            d=d,
            weight_decay=weight_decay,
            **more,
        )
