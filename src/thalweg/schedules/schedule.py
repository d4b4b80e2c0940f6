"""A schedule: shapes one after the other, its text form, and what every shape has to offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import Flag, auto
from inspect import signature
from numbers import Integral
from typing import Any, ParamSpec, Protocol

from thalweg.errors import UsageError

Length = int | float | None
"""A number of steps, a share of the horizon (a float), or None for what is left."""

Evaluations = Sequence[tuple[int, float]]
"""(step, loss) of every evaluation so far, oldest first; step: after which it was made."""


class Trait(Flag):
    """What a shape looks at beside its step, and whether it is a warm-up itself."""

    NONE = 0
    HORIZON = auto()
    EVALUATIONS = auto()
    WARMUP = auto()


class Shape(Protocol):
    """One stretch of a schedule: a frozen dataclass, whose fields are its settings.

    shape(step, horizon, evaluations) -> factor, where step and evaluations are counted from the
    start of the stretch and horizon is its length; the evaluations are those before the step.
    """

    @property
    def name(self) -> str: ...

    @property
    def traits(self) -> Trait: ...

    def __call__(self, step: int, horizon: int, evaluations: Evaluations) -> float: ...


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Schedule:
    """A factor of the learning rate as a pure function: shapes one after the other.

    schedule(step, horizon, evaluations) -> factor in 0 .. 1
        step: counted from 1; a schedule that was planned for a horizon stays at its end after it
        horizon: number of steps the run is planned for; None: not known
        evaluations: (step, loss) of each so far, for `plateau`; the others do not look at them,
        and none looks at one that was made after its step
    Raises UsageError for a step or horizon below 1, and where the horizon is needed but not known.

    `first >> second` runs the second over what the first leaves of the horizon.
    Printed, it is the text that `parse` reads; schedules of one text are equal.

    >>> from thalweg import cosine, warmup
    >>> schedule = warmup(10) >> cosine(floor=0.1)
    >>> [round(schedule(step, 110), 3) for step in (5, 10, 61, 111)]
    [0.5, 1.0, 0.55, 0.1]
    >>> print(schedule)
    warmup(10) >> cosine(floor=0.1)
    """

    parts: tuple[tuple[Length, Shape], ...]

    def __call__(
        self, step: int, horizon: int | None = None, evaluations: Evaluations = ()
    ) -> float:
        if not isinstance(step, Integral) or step < 1:
            raise UsageError(f"step is {step!r}: steps are counted from 1, in whole numbers")
        self._check_horizon(horizon)
        left, start = horizon or 0, 0
        for length, shape in self.parts:
            steps = left if length is None else steps_of(length, horizon or 0)
            if length is None or step - start <= steps:
                seen = _seen(evaluations, start, step) if _looks(shape) else ()
                return shape(step - start, steps, seen)
            left, start = max(0, left - steps), start + steps
        return 1.0

    def __rshift__(self, other: Schedule) -> Schedule:
        check_schedule(other)
        if any(length is None for length, _ in self.parts):
            raise UsageError(
                f"{self} has no end: only parts with a length, such as warmup(100) or "
                "constant(100), may stand before >>"
            )
        return Schedule(self.parts + other.parts)

    def __rrshift__(self, other: object) -> Schedule:
        """Asked where what stands before >> is no schedule: it says so."""
        check_schedule(other)
        return NotImplemented

    @property
    def needs_horizon(self) -> bool:
        """Whether it must know the number of steps that the run is planned for."""
        return any(
            Trait.HORIZON in shape.traits or isinstance(length, float)
            for length, shape in self.parts
        )

    @property
    def needs_evaluations(self) -> bool:
        """Whether it looks at the losses of evaluations."""
        return any(_looks(shape) for _, shape in self.parts)

    @property
    def warms_up(self) -> bool:
        """Whether it begins with a warm-up of its own, be it one of no step."""
        return any(Trait.WARMUP in shape.traits for _, shape in self.parts[:1])

    def _check_horizon(self, horizon: int | None) -> None:
        if horizon is None:
            if self.needs_horizon:
                raise UsageError(
                    f"{self} follows the end of the run, and no end is planned: give "
                    "until=budget(steps=...), budget(epochs=...) or horizon=..., or use constant()"
                )
        elif not isinstance(horizon, Integral) or horizon < 1:
            raise UsageError(f"horizon is {horizon!r}: it must be a whole number, 1 step or more")

    def __str__(self) -> str:
        return " >> ".join(_text(length, shape) for length, shape in self.parts)

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        """Of one text; as values 1 step, warmup(1), and a whole share, warmup(1.0), are equal."""
        return isinstance(other, Schedule) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def check_schedule(value: object) -> None:
    """Raise UsageError for what is no schedule."""
    if isinstance(value, Schedule):
        return
    if any(value is builder for builder in BUILDERS.values()):
        name = getattr(value, "__name__", "")
        raise UsageError(f"{name} is the function that makes a schedule: write {name}(...)")
    raise UsageError(f"{value!r} is no schedule: give one, such as warmup(100) >> cosine()")


BUILDERS: dict[str, Callable[..., Schedule]] = {}
"""Every schedule's function by its name; `named` fills it."""

P = ParamSpec("P")


def named(builder: Callable[P, Schedule]) -> Callable[P, Schedule]:
    """Enter a function that makes a schedule into the table of names."""
    BUILDERS[builder.__name__] = builder
    return builder


def of(shape: Shape, length: Length = None) -> Schedule:
    """A schedule of one shape."""
    return Schedule(((length, shape),))


def steps_of(length: int | float, horizon: int) -> int:
    """A length in steps: a float is a share of the horizon."""
    return round(length * horizon) if isinstance(length, float) else length


def _looks(shape: Shape) -> bool:
    return Trait.EVALUATIONS in shape.traits


def _seen(evaluations: Evaluations, start: int, step: int) -> Evaluations:
    """The evaluations of a part that begins after step `start`, before a step; counted from it.

    The one after step `start` belongs to it: it shows where the part begins.
    """
    return [(number - start, loss) for number, loss in evaluations if start <= number < step]


def _text(length: Length, shape: Shape) -> str:
    """The call that makes a part, without what is the default anyway."""
    parameters = signature(BUILDERS[shape.name]).parameters
    values: dict[str, Any] = {row.name: getattr(shape, row.name) for row in fields(shape)}  # pyright: ignore[reportArgumentType]
    given = [f"{k}={v!r}" for k, v in values.items() if v != parameters[k].default]
    return f"{shape.name}({', '.join([*([] if length is None else [repr(length)]), *given])})"
