"""A rule and its options written out in the order in which they are computed, for people to read.

The trees are the ones that backends run. A coefficient that the update takes by another name is
put in where it is used, so that `fresh1` reads `1 - beta1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from thalweg.rules.formula import argument_names, compose, names_in, substituted, with_step
from thalweg.rules.language import Apply, Expression, Program, read
from thalweg.rules.options import PIECES, Option, Piece
from thalweg.rules.printing import TOTAL, Spelling
from thalweg.rules.rule import Rule

Line = tuple[str, Expression]

ONCE = "once a step"
ELEMENT = "for every element"
TENSOR = "once a step and tensor"
TOGETHER = "once a step, over all tensors together"


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that are computed together: how often, and what."""

    how_often: str
    lines: list[Line] = field(default_factory=list)


def sheet(rule: Rule, options: Sequence[Option] = ()) -> list[Part]:
    """The parts of a formula, in their order.

    Raises UsageError for options that do not go together, or that the rule cannot take.
    """
    parts = _Parts()
    chosen = compose(rule, tuple(options)).options
    pieces = [(PIECES[type(option)], _clashing(option, rule)) for option in chosen]
    moving = [(piece, own) for piece, own in pieces if piece.place == "step"]
    for piece, own in pieces:
        if piece.place == "gradient":
            parts.join(piece, "g", own)
    parts.run(rule, keeps_step=bool(moving))
    for piece, own in moving:
        parts.join(piece, "step", own)
    if moving:
        parts.add(ELEMENT, ("p", Apply("subtract", (parts.before, "step"))))
    for piece, own in pieces:
        if piece.place == "after":
            assert piece.state is not None
            parts.join(piece, piece.state, own)
    return [Part(ONCE, parts.once), *parts.later] if parts.once else parts.later


def piece_sheet(piece: Piece) -> list[Part]:
    """What an option adds, by itself."""
    parts = _Parts()
    target = {"gradient": "g", "step": "step", "after": piece.state or ""}[piece.place]
    parts.join(piece, target, {})
    return parts.later


def _clashing(option: Option, rule: Rule) -> dict[str, Expression]:
    """The option's numbers that the rule has by the same name, such as eps: printed as numbers."""
    known = {row.name for row in rule.hypers}
    own = (row.name for row in fields(option) if row.name in known)
    return {name: getattr(option, name) for name in own}


def written(parts: Sequence[Part], spelling: Spelling, indent: str = "    ") -> str:
    """Parts as text."""
    blocks = (
        "\n".join([part.how_often, *(indent + spelling.assignment(*line) for line in part.lines)])
        for part in parts
    )
    return "\n\n".join(blocks)


def names_of(parts: Sequence[Part]) -> set[str]:
    """Every name that is read or assigned."""
    lines = [line for part in parts for line in part.lines]
    return {name for name, _ in lines}.union(*(names_in(value) for _, value in lines))


class _Parts:
    """Gathers lines; a part goes on as long as its lines are computed equally often.

    before: the name of p as it was before the step
    """

    def __init__(self) -> None:
        self.once: list[Line] = []
        self.later: list[Part] = []
        self.before = "p"

    def add(self, how_often: str, *lines: Line) -> None:
        if not lines:
            return
        if not self.later or self.later[-1].how_often != how_often:
            self.later.append(Part(how_often))
        self.later[-1].lines.extend(lines)

    def run(self, rule: Rule, *, keeps_step: bool) -> None:
        """The rule's own lines; its step by name where options wait for it."""
        program = with_step(rule.update_program) if keeps_step else rule.update_program
        places = 2 + len(rule.states)
        taken = {*program.inputs[:places], *(name for name, _ in program.lines)}
        arguments = iter(program.inputs[places:])
        given = _apart(rule.coefficients_program, taken)
        self.once += given.lines
        later = set(rule.scalars) if rule.couples_tensors else set()
        known, named = _passed(given, rule, arguments, taken | later)
        self.once += named

        if rule.couples_tensors:
            self._measure(rule.measure_program, program.inputs, known)
            concluding = _apart(rule.conclude_program, taken)
            further, named = _passed(concluding, rule, arguments, taken)
            self.add(TOGETHER, *concluding.lines, *named)
            known = {**known, **further}
        self._move(program, known, keeps_step=keeps_step)

    def _measure(
        self, program: Program, names: Sequence[str], known: Mapping[str, Expression]
    ) -> None:
        """What a rule adds up over all tensors before it moves any; no state changes here."""
        inputs = zip(program.inputs, names, strict=False)
        scope: dict[str, Expression] = {own: known.get(name, name) for own, name in inputs}
        for name, value in program.lines:
            new = f"next_{name}"
            self.add(ELEMENT, (new, substituted(value, scope)))
            scope[name] = new
        self.add(TOGETHER, *_sums(program, scope))

    def _move(self, program: Program, known: Mapping[str, Expression], *, keeps_step: bool) -> None:
        scope = {name: known.get(name, name) for name in program.inputs}
        scope.update((name, name) for name, _ in program.lines)
        lines = [(name, substituted(value, scope)) for name, value in program.lines]
        if keeps_step and program.outputs[0] == "p":
            lines = [("step" if name == "p" else name, value) for name, value in lines]
        elif keeps_step:
            lines.append(("step", substituted(program.outputs[0], scope)))
            self.before = "p_before"
        self.add(ELEMENT, *lines)

    def join(self, piece: Piece, target: str, own: Mapping[str, Expression]) -> None:
        """An option's lines, which give `target` a new value; own: what its names stand for."""
        scope: dict[str, Expression] = {"p": self.before if target == "step" else "p"}
        scope.update((name, name) for name in ("g", "step", piece.state) if name)
        free = [name for name in argument_names(piece.apply) if name not in scope]
        if piece.coefficients is not None:
            made = read(piece.coefficients, is_coefficients=True).outputs
            scope.update(zip(free, made, strict=False))
        if piece.measure is not None:
            assert piece.scale is not None
            wanted = next(name for name in free if name not in scope)
            self.add(TENSOR, *_sums(read(piece.measure), scope))
            scaling = read(piece.scale, is_coefficients=True)
            names = {name: name for name, _ in scaling.lines}
            names = {**{name: own.get(name, name) for name in scaling.inputs}, **names}
            lines = [*scaling.lines, (wanted, scaling.outputs[0])]
            self.add(TENSOR, *((name, substituted(value, names)) for name, value in lines))
            scope[wanted] = wanted
        self.add(ELEMENT, (target, substituted(read(piece.apply).outputs[0], scope)))


def _apart(program: Program, taken: set[str]) -> Program:
    """The program, its own lines called otherwise where the update has such a name."""
    names: dict[str, Expression] = {name: name for name in program.inputs}
    lines: list[Line] = []
    for name, value in program.lines:
        free = f"{name}_once" if name in taken else name
        lines.append((free, substituted(value, names)))
        names[name] = free
    outputs = tuple(substituted(value, names) for value in program.outputs)
    return replace(program, lines=tuple(lines), outputs=outputs)


def _passed(
    given: Program, rule: Rule, arguments: Iterator[str], taken: set[str]
) -> tuple[dict[str, Expression], list[Line]]:
    """(what stands for each argument of the update, lines for those that need a name).

    An argument needs one where what it stands for reads a name that the update uses otherwise; a
    running scalar where it is not returned by its name.
    """
    cut = len(rule.scalars)
    scalars = zip(rule.scalars, given.outputs[:cut], strict=True)
    named: list[Line] = [(name, value) for name, value in scalars if value != name]
    known: dict[str, Expression] = {}
    for value in given.outputs[cut:]:
        name = next(arguments)
        if names_in(value) & taken:
            named.append((name, value))
        else:
            known[name] = value
    return known, named


def _sums(program: Program, scope: Mapping[str, Expression]) -> list[Line]:
    return [
        (f"sum{k}", Apply(TOTAL, (substituted(value, scope),)))
        for k, value in enumerate(program.outputs)
    ]
