"""A rule and its options, joined into one formula that every backend runs.

The order: coupled decay on the gradient, the rule, what acts on the rule's step (decoupled decay
among it), and what looks at the parameter after it has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from thalweg.errors import UsageError
from thalweg.rules.language import Apply, Expression, Program, read
from thalweg.rules.options import PIECES, Coupled, Decoupled, LowPrecisionState, Option, Piece
from thalweg.rules.rule import Rule

Lines = tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A whole-tensor number that the update needs first: the coefficient `name`.

    lines: the formula as far as it is needed; sums: what is added up over the tensor
    scale: from (sum0, ..., size, the hyperparameters and `fields`), the coefficient
    clips: is it what the gradient is multiplied with, and so part of a step's `clip_factor`?
    """

    name: str
    lines: Lines
    sums: tuple[Expression, ...]
    scale: Callable[..., Any]
    fields: Mapping[str, float]
    clips: bool

    @property
    def scale_program(self) -> Program:
        return read(self.scale, is_coefficients=True)


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """One composed update: from p, g, the states and the coefficients, by name, to p and states.

    states: public names of the rule's states, then of the options'
    starts_at: states that do not start at 0: at a hyperparameter, or at "p"
    coefficients: the inputs that are computed once a step, in the order of `values`
    measures: the inputs that need a sweep over the tensor first, in their order
    lines, outputs: the formula; outputs are p and the states; `step` is what p has lost
    """

    rule: Rule
    options: tuple[Option, ...]
    states: tuple[str, ...]
    starts_at: Mapping[str, str]
    coefficients: tuple[str, ...]
    measures: tuple[Measure, ...]
    lines: Lines
    step: Expression
    outputs: tuple[Expression, ...]
    sources: tuple[tuple[Callable[..., Any], Mapping[str, float]], ...]

    @property
    def clips(self) -> list[int]:
        """The places of the measures that the gradient is multiplied with."""
        return [k for k, measure in enumerate(self.measures) if measure.clips]

    @property
    def name(self) -> str:
        """The rule's and its options', as one word."""
        return "_".join([self.rule.name, *(type(o).__name__.lower() for o in self.options)])

    def values(
        self, t: float, scalars: Sequence[float], hyper: Mapping[str, Any]
    ) -> tuple[list[float], list[float]]:
        """(scalars after this step, coefficients), in float64; t counts from 1."""
        known = {"t": t, **hyper}
        if scalars:
            known.update(zip(self.rule.scalars, scalars, strict=True))
        made = call(self.rule.coefficients, known)
        cut = len(self.rule.scalars)
        return made[:cut], [*made[cut:], *self.option_values(hyper)]

    def option_values(self, hyper: Mapping[str, Any]) -> list[Any]:
        """The options' coefficients, which stand behind the rule's own."""
        values: list[Any] = []
        for function, own in self.sources:
            values += call(function, {**hyper, **own} if own else hyper)
        return values


def call(function: Callable[..., Any], known: Mapping[str, Any]) -> list[Any]:
    """What a function of plain numbers returns, its arguments taken by name, as a list."""
    made = function(*map(known.__getitem__, argument_names(function)))
    return list(made) if isinstance(made, tuple) else [made]


@cache
def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount]


@cache
def compose(rule: Rule, options: tuple[Option, ...] = ()) -> Formula:
    """The formula of a rule with these options, in whatever order they are given.

    Raises UsageError for two options of one kind, and for those that this rule cannot take.
    """
    chosen = _complete(rule, options)
    pieces = [(option, PIECES[type(option)]) for option in chosen]
    parts = _Assembly()

    for option, piece in pieces:
        if piece.place == "gradient":
            parts.join(option, piece, "g")

    parts.run(rule)
    for option, piece in pieces:
        if piece.place == "step":
            parts.join(option, piece, "step")
    parts.assign("p", Apply("subtract", ("p", parts.scope["step"])))

    for option, piece in pieces:
        if piece.state is not None:
            parts.scope[piece.state] = input_of(piece.state)
            parts.join(option, piece, piece.state)

    extra = {piece.state: piece for _, piece in pieces if piece.state is not None}
    states = (*rule.states, *extra)
    starts = {name: "p" for name, piece in extra.items() if piece.starts_at_p}
    return Formula(
        rule=rule,
        options=chosen,
        states=states,
        starts_at={**rule.initial, **starts},
        coefficients=tuple(parts.coefficients),
        measures=tuple(parts.measures),
        lines=tuple(parts.lines),
        step=parts.scope["step"],
        outputs=(parts.scope["p"], *({**parts.scope, **parts.states}[name] for name in states)),
        sources=tuple(parts.sources),
    )


def _complete(rule: Rule, options: tuple[Option, ...]) -> tuple[Option, ...]:
    """The options that join the formula, decay among them, in the order of `PIECES`."""
    by_group = {option.group: option for option in one_of_each(options)}
    for option in options:
        _check_fits(rule, option)
    if rule.decay == "own" and "decay" in by_group:
        raise UsageError(f"{rule.name} decays in its own way: leave {by_group['decay']} out")
    if rule.decay != "own" and "decay" not in by_group:
        by_group["decay"] = Coupled() if rule.decay == "coupled" else Decoupled()
    joining = [option for option in by_group.values() if type(option) in PIECES]
    disturbing = [option for option in joining if PIECES[type(option)].place != "gradient"]
    if rule.averages_weights and disturbing:
        raise UsageError(f"{rule.name} averages its weights, which {disturbing[0]} would disturb")
    return tuple(sorted(joining, key=lambda option: list(PIECES).index(type(option))))


def _check_fits(rule: Rule, option: Option) -> None:
    """Raise UsageError for an option that this rule would make void or wrong."""
    if rule.cancels and isinstance(option, LowPrecisionState):
        raise UsageError(
            f"{rule.name} takes differences of its states, which bfloat16 would drown in rounding: "
            f"they are float32 at least, so leave {option} out"
        )
    piece = PIECES.get(type(option))
    scale = None if piece is None else piece.scale
    if rule.couples_tensors and scale is not None and "lr" in argument_names(scale):
        raise UsageError(
            f"{rule.name} finds its rate itself, and {option} measures a step in units of lr, "
            "which is not that rate: leave it out"
        )


def one_of_each(options: Sequence[Option]) -> Sequence[Option]:
    """The options. Raises UsageError where two of them are of one kind."""
    by_group: dict[str, Option] = {}
    for option in options:
        other = by_group.setdefault(option.group, option)
        if other is not option:
            raise UsageError(f"options {other} and {option} exclude each other: give one")
    return options


def input_of(state: str) -> str:
    """The name under which a state comes in."""
    return f"old_{state}"


class _Assembly:
    """Joins functions one after the other; every value gets a name of its own."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Expression]] = []
        self.coefficients: list[str] = []
        self.measures: list[Measure] = []
        self.sources: list[tuple[Callable[..., Any], Mapping[str, float]]] = []
        self.scope: dict[str, Expression] = {"p": "p", "g": "g"}
        self.states: dict[str, Expression] = {}
        self._taken = {"p", "g"}

    def run(self, rule: Rule) -> None:
        """The rule itself: gives `step` and its new states."""
        program = with_step(rule.update_program)
        num_states = len(rule.states)
        states = [input_of(name) for name in rule.states]
        self._taken.update(states)
        coefficients = [self.fresh(name) for name in program.inputs[2 + num_states :]]
        self.coefficients[:0] = coefficients  # Formula.values gives the rule's own first
        given = (self.scope["p"], self.scope["g"], *states, *coefficients)
        outputs = self.inline(program, dict(zip(program.inputs, given, strict=True)))
        self.scope["step"] = outputs[0]
        self.states = dict(zip(rule.states, outputs[1:], strict=True))

    def join(self, option: Option, piece: Piece, target: str) -> None:
        """An option's function gives `target` a new value."""
        own = {field.name: getattr(option, field.name) for field in fields(option)}
        scope = dict(self.scope)
        if piece.coefficients is not None:
            made = read(piece.coefficients, is_coefficients=True).outputs
            free = [name for name in argument_names(piece.apply) if name not in scope]
            names = [self.fresh(name) for name in free[: len(made)]]
            scope.update(zip(free, names, strict=False))
            self.coefficients += names
            self.sources.append((piece.coefficients, own))
        if piece.measure is not None:
            assert piece.scale is not None
            sums = self.inline(read(piece.measure), scope)
            wanted = next(name for name in argument_names(piece.apply) if name not in scope)
            name = self.fresh(wanted)
            scope[wanted] = name
            clips = piece.place == "gradient"
            lines = tuple(self.lines)
            self.measures.append(Measure(name, lines, tuple(sums), piece.scale, own, clips))
        self.assign(target, self.inline(read(piece.apply), scope)[0])

    def inline(self, program: Program, scope: Mapping[str, Expression]) -> list[Expression]:
        """Add a program's lines, its inputs replaced; its outputs as expressions."""
        names = {name: scope[name] for name in program.inputs}
        for name, value in program.lines:
            line = self.fresh(name)
            self.lines.append((line, substituted(value, names)))
            names[name] = line
        return [substituted(value, names) for value in program.outputs]

    def assign(self, name: str, value: Expression) -> None:
        line = self.fresh(name)
        self.lines.append((line, value))
        self.scope[name] = line

    def fresh(self, name: str) -> str:
        """A name that was not given out before: name, name2, name3, ..."""
        number, unused = 1, name
        while unused in self._taken:
            number += 1
            unused = f"{name}{number}"
        self._taken.add(unused)
        return unused


def with_step(program: Program) -> Program:
    """A rule's update, giving what it takes off p (the step) in place of the new p.

    Where p is moved by one line `p = p - ...`, the step is read off that line and loses nothing;
    otherwise it is the difference of old and new p.
    """
    moves = [i for i, (name, _) in enumerate(program.lines) if name == "p"]
    if len(moves) == 1 and program.outputs[0] == "p" and not _is_read(program, moves[0]):
        match program.lines[moves[0]][1]:
            case Apply("subtract", ("p", step)):
                lines = list(program.lines)
                lines[moves[0]] = ("p", step)
                return replace(program, lines=tuple(lines))
    difference = Apply("subtract", ("p_before", program.outputs[0]))
    return replace(
        program,
        lines=(("p_before", "p"), *program.lines),
        outputs=(difference, *program.outputs[1:]),
    )


def _is_read(program: Program, line: int) -> bool:
    """Is p read after it was moved on this line, other than to be returned?"""
    later = [value for _, value in program.lines[line + 1 :]]
    return any("p" in names_in(value) for value in (*later, *program.outputs[1:]))


def names_in(value: Expression) -> set[str]:
    """Every name that an expression reads."""
    if isinstance(value, Apply):
        return {name for argument in value.arguments for name in names_in(argument)}
    return {value} if isinstance(value, str) else set()


def substituted(value: Expression, names: Mapping[str, Expression]) -> Expression:
    """The expression with names replaced."""
    if isinstance(value, Apply):
        return Apply(value.operation, tuple(substituted(a, names) for a in value.arguments))
    return names[value] if isinstance(value, str) else value
