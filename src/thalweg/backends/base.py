"""The seam between an optimizer and whatever runs its formulas over memory.

An optimizer keeps one `Group` per parameter group and binds them, once, to a backend; each step it
hands over the gradients and a `Request`, and gets an `Outcome`. A backend knows formulas and
tensors, and nothing of torch.optim, models or loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Literal, Protocol

from thalweg.errors import UsageError
from thalweg.rules._primitives import ARITIES
from thalweg.rules.formula import Formula
from thalweg.rules.matrix import AnyFormula, AnyRule

Rounding = Literal["nearest", "stochastic", "kahan", "master"]

BESIDE: dict[Rounding, str] = {"kahan": "kahan_comp", "master": "master"}
"""The state that a way of rounding keeps beside a parameter."""


@dataclass(slots=True)
class Group:
    """Tensors that share a formula and hyperparameters, in one order everywhere.

    params: n tensors; states: per state name of the formula (and of what the way of rounding keeps,
    see `BESIDE`), n tensors of the parameters' shapes, or of those that a matrix rule says
    steps: one float32 tensor of shape (n,) on the parameters' device: the updates applied to each
    scalars: per running scalar of the rule, one float64 tensor of shape (n,)
    keys: n whole numbers that name the parameters for stochastic rounding
    segment: groups with the same segment share one gradient norm and clip limit
    hyper: the hyperparameters of this step, by the rule's names; set anew each step
    sign: -1.0 to go uphill, else 1.0
    is_double: compute in float64 whatever the parameters are stored as
    is_differentiable: autograd follows the update
    """

    formula: AnyFormula
    params: list[Any]
    states: dict[str, list[Any]]
    steps: Any
    scalars: dict[str, Any]
    keys: list[int]
    seed: int
    rounding: Rounding
    segment: int
    is_double: bool = False
    is_differentiable: bool = False
    hyper: Mapping[str, Any] = field(default_factory=dict)
    sign: float = 1.0

    @property
    def state_names(self) -> list[str]:
        """The formula's states, then what the way of rounding keeps."""
        beside = BESIDE.get(self.rounding)
        return [*self.formula.states, *([] if beside is None else [beside])]


@dataclass(slots=True)
class Request:
    """What one step is asked to do besides the update.

    limits: per segment, the largest norm that its gradient may have, or None
    per_tensor: the largest norm that each tensor's gradient may have, per segment, or None
    outlier, clip_to: where the norm of a segment is above `outlier`, its limit is at most `clip_to`
    inverse_scale: gradients count this many times (1 / loss scale)
    skip_nonfinite: a gradient that is not finite makes the whole step a no-op
    skip: this step is a no-op (a flag on the device, or known on the host)
    measure: `totals` and `per_tensor` will be asked for
    """

    limits: Sequence[float | None]
    per_tensor: Sequence[float | None]
    outlier: float = math.inf
    clip_to: float = math.inf
    inverse_scale: Any = 1.0
    skip_nonfinite: bool = False
    skip: Any = False
    measure: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """What a step measured, over all parameters: floats on the CPU, else 0-d tensors, not waited
    for.

    Norms are Euclidean; `gradient_norm` counts the gradients as they were before clipping, after
    the loss scale was taken off. None is "not measured"; so is NaN, where a device decided.
    """

    gradient_norm: Any = None
    update_norm: Any = None
    parameter_norm: Any = None
    clip_factor: Any = None
    num_nonfinite: Any = None


class Runner(Protocol):
    """Groups bound to a backend: whatever can be prepared once has been."""

    def is_current(self) -> bool:
        """Do all parameters still lie where they lay when the groups were bound?"""
        ...

    def step(self, grads: Sequence[Sequence[Any]], request: Request) -> None:
        """One update of all groups; grads as the groups' params, None for no gradient."""
        ...

    def totals(self) -> Totals:
        """What the last step measured; a skipped one moved nothing."""
        ...

    def per_tensor(self) -> list[Any]:
        """Per group (n, 4): each tensor's sums of g², step² and p², and its number of gradient
        elements that are not finite, in the last step; p² is NaN where that was skipped."""
        ...


def elementwise(formula: AnyFormula) -> Formula:
    """The formula, where it cannot be a matrix rule."""
    assert isinstance(formula, Formula)
    return formula


CLIP_EPS = 1e-6
"""Added to a norm before the limit is divided by it, as torch's clip_grad_norm_ does."""


class Backend(Protocol):
    """What runs formulas over memory."""

    name: str

    def bind(self, groups: Sequence[Group]) -> Runner: ...


def bind(function: Callable, **primitives: Callable) -> Callable:
    """The rule function, running on a backend's own primitives instead of plain numbers' ones."""
    assert isinstance(function, FunctionType)
    assert set(primitives) == set(ARITIES)
    names = {**function.__globals__, **primitives}
    return FunctionType(function.__code__, names, function.__name__)


def dense(rule: AnyRule, gradient: Any) -> Any:
    """The gradient as a dense tensor.

    Raises UsageError for a sparse one where the rule would treat it otherwise.
    """
    if not gradient.is_sparse:
        return gradient
    if not rule.takes_sparse:
        raise UsageError(
            f"{rule.name} takes no sparse gradients, because elements without one move as well: "
            "give Embedding(sparse=False), or use SGD, momentum or Adagrad"
        )
    return gradient.to_dense()


def is_dense(tensor: Any) -> bool:
    """Does the tensor fill a stretch of memory, each place once, in whatever order?"""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def evaluate(
    lines: Sequence[tuple[str, Any]], known: dict[str, Any], operations: Mapping[str, Callable]
) -> None:
    """Run a formula's lines over whole arrays; every line's value joins `known`."""
    for name, expression in lines:
        known[name] = value_of(expression, known, operations)


def value_of(expression: Any, known: Mapping[str, Any], operations: Mapping[str, Callable]) -> Any:
    """What an expression comes to."""
    if isinstance(expression, str):
        return known[expression]
    if isinstance(expression, float):
        return expression
    arguments = (value_of(a, known, operations) for a in expression.arguments)
    return operations[expression.operation](*arguments)
