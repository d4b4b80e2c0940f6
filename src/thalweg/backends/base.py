"""The seam between an optimizer and whatever runs its rule over memory.

An optimizer keeps one `Group` per parameter group (the tensors that share hyperparameters) and
hands it to a backend each step. A backend knows rules and tensors, and nothing of torch.optim,
models or loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Protocol

from thalweg.rules import Rule
from thalweg.rules._primitives import NAMES


@dataclass(slots=True)
class Group:
    """Tensors that share hyperparameters, in one order everywhere.

    params, grads: n tensors each, pairwise of one shape
    states: per state name, n tensors of the parameters' shapes
    steps: one float32 tensor of shape (n,), the number of updates applied to each, or None for a
    rule that does not count; `step_views` are its n elements
    hyper: the hyperparameters of this step by name
    """

    params: list[Any]
    grads: list[Any]
    states: dict[str, list[Any]]
    steps: Any
    step_views: list[Any]
    hyper: Mapping[str, float]


class Backend(Protocol):
    """What runs a rule over memory."""

    name: str

    def norm(self, grads: Sequence[Any]) -> Any:
        """Euclidean norm of all gradients: a float on the CPU, else a 0-d tensor, with no sync."""
        ...

    def update(self, rule: Rule, groups: Sequence[Group], skip: Any | None) -> None:
        """One update of the whole optimizer, in place; none where `skip` (0-d) is 1.0."""
        ...


def bind(function: Callable, **primitives: Callable) -> Callable:
    """The rule function, running on a backend's own primitives instead of plain numbers' ones."""
    assert isinstance(function, FunctionType)
    assert set(primitives) == set(NAMES)
    names = {**function.__globals__, **primitives}
    return FunctionType(function.__code__, names, function.__name__)
