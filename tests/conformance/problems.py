"""Functions of a few numbers whose minima are known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["PROBLEMS", "Problem"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """value(x) is least at `minimum`; a descent begins at `start`."""

    value: Callable[[Tensor], Tensor]
    start: tuple[float, ...]
    minimum: tuple[float, ...]


def quadratic(x: Tensor) -> Tensor:
    return 5 * (x[0] - 3) ** 2 + 0.5 * (x[1] + 1) ** 2


def rosenbrock(x: Tensor) -> Tensor:
    """With 3 in place of 100, so that plain gradient descent gets there as well."""
    return (1 - x[0]) ** 2 + 3 * (x[1] - x[0] ** 2) ** 2


def logistic(x: Tensor) -> Tensor:
    """Mean log loss: of four samples at 0 three are 1, of four at 1 one is 1."""
    logits = torch.stack([x[0], x[0] + x[1]])
    shares = torch.tensor([0.75, 0.25], dtype=x.dtype)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, shares)


PROBLEMS = {
    "quadratic": Problem(quadratic, (0.0, 0.0), (3.0, -1.0)),
    "rosenbrock": Problem(rosenbrock, (0.5, 0.0), (1.0, 1.0)),
    "logistic": Problem(logistic, (0.0, 0.0), (math.log(3), -2 * math.log(3))),
}
