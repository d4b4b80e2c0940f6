"""What a matrix rule is: one function of whole arrays, and a row of facts about it.

The function is written once, on the few names of `Arrays`; every backend that runs it has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from thalweg.errors import UsageError
from thalweg.rules.formula import Formula, argument_names, compose, one_of_each
from thalweg.rules.options import PIECES, Option
from thalweg.rules.rule import Hyper, Rule

Shape = tuple[int, ...]


class Arrays(Protocol):
    """What a matrix rule may call, besides `+ - * /`, `reshape` and `shape` of its arrays.

    The first axis of an array counts tensors of one shape, which are updated at once and know
    nothing of each other; the last two are rows and columns.
    out: an array that the rule has made, or a state, that it needs no more: it may be written over
    """

    def matmul(self, a: Any, b: Any) -> Any: ...

    def addmm(self, c: Any, a: Any, b: Any, *, beta: float, alpha: float) -> Any:
        """beta c + alpha a b, rounded once where the backend can."""
        ...

    def transpose(self, a: Any) -> Any: ...

    def lerp(self, a: Any, b: Any, share: Any, *, out: Any = None) -> Any:
        """From a towards b by this share of the way."""
        ...

    def mean(self, a: Any, axis: int) -> Any:
        """Along one axis, which stays, of length 1."""
        ...

    def norm(self, a: Any) -> Any:
        """For each tensor the root of the sum of its squares; all axes stay, of length 1."""
        ...

    def add(self, a: Any, b: Any, *, alpha: Any, out: Any = None) -> Any:
        """a + alpha b."""
        ...

    def multiply(self, a: Any, b: Any, *, out: Any = None) -> Any: ...

    def divide(self, a: Any, b: Any, *, out: Any = None) -> Any: ...

    def sqrt(self, a: Any, *, out: Any = None) -> Any: ...

    def maximum(self, a: Any, b: Any) -> Any: ...

    def minimum(self, a: Any, b: Any) -> Any: ...

    def bfloat16(self, a: Any) -> Any:
        """Rounded to bfloat16; left alone where there is none, or where it must have a slope."""
        ...

    def astype(self, a: Any, like: Any) -> Any: ...

    def eps(self, a: Any) -> float:
        """The distance from 1 to the next number of the array's type."""
        ...


@dataclass(frozen=True)
class MatrixRule:
    """One update rule of whole tensors.

    update(xp, t, p, g, *state, ...) -> (step, *state): what p loses, and the new state; xp has the
    names of `Arrays`, t counts the updates from 1, further arguments are hyperparameters and
    switches by name
    hypers: as `Rule.hypers`; switches: settings that are no numbers, with their allowed values
    states: the state's public names in `update`'s order, and the shape of each by that of p
    least_dims: the least number of dimensions; `below`: the rule for tensors with fewer, if any
    counts_steps: the state holds `step`, as torch's does
    No option that works element by element joins it, so that it is its own formula. Weight decay
    is its own matter, gradients must be dense, numbers real.
    """

    name: str
    update: Callable[..., Any]
    hypers: tuple[Hyper, ...]
    states: Mapping[str, Callable[[Shape], Shape]] = field(hash=False)
    switches: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    least_dims: int = 2
    below: MatrixRule | None = None
    counts_steps: bool = False
    paper: str = ""

    averages_weights: ClassVar[bool] = False
    couples_tensors: ClassVar[bool] = False
    takes_sparse: ClassVar[bool] = False
    cancels: ClassVar[bool] = False
    scalars: ClassVar[Mapping[str, float]] = {}
    starts_at: ClassVar[Mapping[str, str]] = {}

    @property
    def rule(self) -> MatrixRule:
        """Itself: what a formula calls its rule."""
        return self

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The hyperparameters and switches that `update` takes, in its order."""
        return argument_names(self.update)[4 + len(self.states) :]

    def spread(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Hyperparameters and switches under the rule's own names."""
        numbers = {
            row.name: settings[row.setting] if row.index is None else settings[row.key][row.index]
            for row in self.hypers
        }
        return {**numbers, **{name: settings[name] for name in self.switches}}

    def first_scalars(self, hyper: Mapping[str, Any]) -> dict[str, float]:
        """None: a matrix rule carries no running scalars."""
        return {}

    def fitting(self, shape: Shape, *, is_complex: bool) -> MatrixRule:
        """The rule for a tensor of this shape.

        Raises UsageError for complex numbers, and where there is none for so few dimensions.
        """
        if is_complex:
            raise UsageError(
                f"{self.name} takes no complex parameters: give them to AdamW, which takes them as "
                "pairs of real numbers"
            )
        if len(shape) >= self.least_dims:
            return self
        if self.below is None:
            raise UsageError(
                f"{self.name} takes parameters of at least {self.least_dims} dimensions, and was "
                f"given one of shape {tuple(shape)}: give it to AdamW"
            )
        return self.below


AnyRule = Rule | MatrixRule
AnyFormula = Formula | MatrixRule


def formula_of(rule: AnyRule, options: Sequence[Option] = ()) -> AnyFormula:
    """What a backend runs for a rule with these options.

    Raises UsageError for options that do not go together, or that the rule cannot take.
    """
    if isinstance(rule, Rule):
        return compose(rule, tuple(options))
    joining = [option for option in one_of_each(options) if type(option) in PIECES]
    if joining:
        raise UsageError(
            f"{joining[0]} joins formulas that work element by element, and {rule.name} works on "
            "whole matrices: leave it out"
        )
    return rule


def fitting(formula: AnyFormula, shape: Shape, *, is_complex: bool) -> AnyFormula:
    """The formula for a tensor of this shape; an element-wise one fits all."""
    if isinstance(formula, MatrixRule):
        return formula.fitting(shape, is_complex=is_complex)
    return formula


def shape_of_state(formula: AnyFormula, name: str, shape: Shape) -> Shape:
    """The shape of a state by that of its parameter."""
    return formula.states[name](shape) if isinstance(formula, MatrixRule) else shape
