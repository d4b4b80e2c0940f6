"""What a rule is: two plain functions and a row of facts about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any, Literal, get_args

from thalweg.errors import UsageError
from thalweg.rules.language import Program, read


@dataclass(frozen=True, slots=True)
class Hyper:
    """One hyperparameter: its default (torch's own) and the range in which it may lie.

    name: how the rule's functions call it
    low, above: its lower end, and whether the value must stay above it
    high, below: its upper end, and whether the value must stay below it
    is_finite: infinity is not allowed; is_switch: it is True or False, 1 or 0 to the rule, and
    nothing else
    key, index: how users spell it, where that differs: beta1 is `betas[0]`
    is_whole: 3 and not 3.5; or_none: None has a meaning of its own
    """

    name: str
    default: float
    low: float = 0.0
    high: float = math.inf
    below: bool = True
    above: bool = False
    is_finite: bool = True
    is_switch: bool = False
    key: str = ""
    index: int | None = None
    meaning: str = ""
    is_whole: bool = False
    or_none: bool = False

    @property
    def setting(self) -> str:
        """The name under which users give it."""
        return self.key or self.name

    @property
    def label(self) -> str:
        """What messages call it: one of several numbers by its own name."""
        return self.name if self.index is not None else self.setting

    @property
    def range(self) -> str:
        """The allowed values in words, such as "0 <= beta1 < 1"."""
        none = ", or None" if self.or_none else ""
        if math.isinf(self.high):
            return f"{self.label} {'>' if self.above else '>='} {self.low:g}{none}"
        high = f"{'<' if self.below else '<='} {self.high:g}{none}"
        if math.isinf(self.low):
            return f"{self.label} {high}"
        return f"{self.low:g} {'<' if self.above else '<='} {self.label} {high}"

    def check(self, value: Any) -> None:
        """Raise UsageError unless `value`, or what a tensor of one number holds, is in range."""
        if self.or_none and value is None:
            return
        value = value.item() if getattr(value, "numel", lambda: 0)() == 1 else value
        if self.is_switch:
            check_choice(self.label, value, SWITCH)
            return
        number = number_of(value)
        if not math.isfinite(number) and (self.is_finite or number != math.inf):
            raise UsageError(f"{self.label} is {value!r}: it must be a number with {self.range}")
        if self.is_whole and not number.is_integer():
            raise UsageError(f"{self.label} is {value!r}: it must be a whole number")
        too_high = number >= self.high if self.below else number > self.high
        too_high = too_high and not math.isinf(self.high)
        too_low = number <= self.low if self.above else number < self.low
        if too_low or too_high:
            raise UsageError(f"{self.label} is {value!r}: allowed is {self.range}")


SWITCH = (True, False)


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise UsageError unless the value is one of those allowed; 1 and 0 are True and False."""
    if isinstance(value, int | str | None) and value in allowed:
        return
    *others, last = map(repr, allowed)
    raise UsageError(f"{name} is {value!r}: it must be {', '.join(others)} or {last}")


def number_of(value: Any) -> float:
    """The value as a float, infinite where it is too large; NaN for what is no number."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # pyright: ignore[reportOperatorIssue]


_NO_HYPERS = (
    "capturable",
    "clip",
    "differentiable",
    "foreach",
    "fused",
    "maximize",
    "options",
    "params",
    "rule",
    "seed",
    "skip_nonfinite",
)
"""Settings that every optimizer has besides its rule's."""

_NO_STATES = ("p", "g", "step", "ema", "kahan_comp", "kahan", "master")
"""Names that the optimizer and its options use beside a rule's states."""

Decay = Literal["coupled", "decoupled", "own"]
"""How weight decay enters: as part of the gradient, as a shrinking of p, or in the rule's own way.
"""


@dataclass(frozen=True)
class Rule:
    """One update rule, from two plain functions in the rule language (`rules/language.py`).

    coefficients(t, *scalars, *hypers) -> (*scalars, *coefficients): floats, evaluated in float64
    once a step; t counts the updates of a parameter from 1 (left out where it is not needed)
    update(p, g, *state, *coefficients) -> (p, *state): one element
    hypers: every hyperparameter by the name that `coefficients` takes, lr among them
    states: the state's public names in `update`'s order; by default the names in `update`
    scalars: running numbers that a parameter carries, with their first values: numbers, or the
    names of hyperparameters
    initial: states that do not start at 0, and the hyperparameter that they start at
    measure(p, g, *state, *coefficients) -> numbers that are added up over all tensors before the
    update, and conclude(sum0, sum1, ..., *scalars, *hypers) -> (*scalars, *further coefficients):
    both or none; a rule that has them couples all its tensors
    decay: how weight decay enters; `coefficients` takes weight_decay itself only where it is "own"
    counts_steps: the state holds `step`, as torch's does
    averages_weights: p is not the answer but the point where gradients are taken (train and eval)
    takes_sparse: a sparse gradient means what the dense one means
    cancels: states are subtracted from each other, so they are stored as float32 at least, and
    LowPrecisionState is refused
    A function that leaves the language is refused with UsageError, its line and the reason.

    >>> from thalweg.rules import Hyper, Rule
    >>> def signum_coefficients(lr, beta):
    ...     return lr, beta, 1 - beta
    >>> def signum_update(p, g, m, lr, beta, fresh):
    ...     m = beta * m + fresh * g
    ...     p = p - lr * sign(m)
    ...     return p, m
    >>> signum = Rule(
    ...     "signum", signum_coefficients, signum_update, (Hyper("lr", 1e-3), Hyper("beta", 0.9))
    ... )
    >>> signum.states
    ('m',)
    """

    name: str
    coefficients: Callable[..., Any]
    update: Callable[..., Any]
    hypers: tuple[Hyper, ...]
    states: tuple[str, ...] = ()
    scalars: Mapping[str, float | str] = field(default_factory=dict, hash=False)
    initial: Mapping[str, str] = field(default_factory=dict, hash=False)
    measure: Callable[..., Any] | None = None
    conclude: Callable[..., Any] | None = None
    decay: Decay = "coupled"
    counts_steps: bool = False
    averages_weights: bool = False
    takes_sparse: bool = False
    cancels: bool = False
    paper: str = ""

    def __post_init__(self) -> None:
        self._check_fields()
        given, made = self.coefficients_program, self.update_program
        num_states = len(made.outputs) - 1
        if made.inputs[:2] != ("p", "g"):
            raise self._refusal("update takes (p, g, *state, *coefficients)")
        if not self.states:
            object.__setattr__(self, "states", made.inputs[2 : 2 + num_states])
        if len(self.states) != num_states:
            raise self._refusal(f"update returns {num_states} states, named are {self.states}")
        for name in self.states:
            if name in _NO_STATES or name in self.scalars:
                raise self._refusal(f"a state cannot be called {name!r}: the optimizer does so")
        if "lr" not in self.by_name:
            raise self._refusal('there is no hyperparameter "lr", which schedules and decay need')
        for name in self.by_name.keys() & set(_NO_HYPERS):
            raise self._refusal(f"{name} is a setting of every optimizer: call it otherwise")
        num_needed = len(made.inputs) - 2 - num_states
        concluded = self.conclude_program.outputs[len(self.scalars) :] if self.conclude else ()
        num_made = len(given.outputs) - len(self.scalars) + len(concluded)
        if num_made != num_needed:
            raise self._refusal(f"update takes {num_needed} coefficients, {num_made} are returned")
        if self.decay != "own" and "weight_decay" not in self.by_name:
            object.__setattr__(self, "hypers", (*self.hypers, Hyper("weight_decay", 0.0)))
        for name in given.inputs:
            if name != "t" and name not in self.scalars and name not in self.by_name:
                raise self._refusal(f"coefficients takes {name}, which is no hyperparameter")
        self._check_use()

    def _check_fields(self) -> None:
        """Raise UsageError for a field that is not of its kind."""
        if not isinstance(self.name, str):
            raise self._refusal("its name must be a text")
        hypers = self.hypers
        if not isinstance(hypers, tuple) or not all(isinstance(row, Hyper) for row in hypers):
            raise self._refusal(f'hypers is {hypers!r}: give a tuple, (Hyper("lr", 1e-3), ...)')
        if len(self.by_name) < len(hypers):
            raise self._refusal("two of its hyperparameters have one name")
        if not isinstance(self.states, tuple):
            raise self._refusal(f"states is {self.states!r}: give a tuple of names")
        if self.decay not in get_args(Decay):
            kinds = ", ".join(get_args(Decay))
            raise self._refusal(f"decay is {self.decay!r}: it must be one of {kinds}")
        if (self.measure is None) != (self.conclude is None):
            raise self._refusal("measure and conclude go together: give both or none")

    def _check_use(self) -> None:
        """Raise UsageError for names that lead nowhere."""
        starts = {*self.initial.values(), *self.scalars.values()}
        concluding = self.conclude_program.inputs if self.conclude else ()
        taken = {*self.coefficients_program.inputs, *concluding, *starts, "weight_decay"}
        for name in self.by_name:
            if name not in taken:
                raise self._refusal(f"coefficients does not take the hyperparameter {name}")
        for state, start in self.initial.items():
            if state not in self.states or start not in ("p", *self.by_name):
                raise self._refusal(
                    f"initial says that {state} starts at {start}: a state, and 'p' or a "
                    "hyperparameter, are needed"
                )

    def _refusal(self, reason: str) -> UsageError:
        return UsageError(f"rule {self.name!r} is refused: {reason}")

    @property
    def coefficients_program(self) -> Program:
        return read(self.coefficients, is_coefficients=True)

    @property
    def update_program(self) -> Program:
        return read(self.update)

    @property
    def couples_tensors(self) -> bool:
        """Does one number, measured over all tensors, drive the update of each?"""
        return self.measure is not None

    @property
    def measure_program(self) -> Program:
        assert self.measure is not None
        return read(self.measure)

    @property
    def conclude_program(self) -> Program:
        assert self.conclude is not None
        return read(self.conclude, is_coefficients=True)

    @cached_property
    def spelling(self) -> tuple[tuple[str, str, int | None], ...]:
        """For each hyperparameter: its name, the setting it stands in, and where in it."""
        return tuple((row.name, row.setting, row.index) for row in self.hypers)

    @property
    def by_name(self) -> dict[str, Hyper]:
        return {row.name: row for row in self.hypers}

    def first_scalars(self, hyper: Mapping[str, Any]) -> dict[str, float]:
        """The running scalars before the first update."""
        starts = self.scalars.items()
        return {name: hyper[at] if isinstance(at, str) else at for name, at in starts}

    def spread(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The hyperparameters under the rule's own names: `betas` becomes beta1 and beta2."""
        return {
            name: settings[key] if index is None else settings[key][index]
            for name, key, index in self.spelling
        }
