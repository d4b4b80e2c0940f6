"""Formulas as text: what the generators of all kernels share, whatever language they write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thalweg.rules.formula import Formula, Measure
from thalweg.rules.language import Apply, Expression, Program, read


@dataclass(frozen=True)
class Speller:
    """Spells expressions in one language.

    operations: a template for each operation of the rule language; number: one for a number
    """

    operations: Mapping[str, str]
    number: str = "{!r}"

    def __call__(self, expression: Expression, prefix: str = "_") -> str:
        """The expression as text; no name of a rule, with its prefix, meets one of the kernel's."""
        if isinstance(expression, Apply):
            arguments = (self(argument, prefix) for argument in expression.arguments)
            return self.operations[expression.operation].format(*arguments)
        if isinstance(expression, str):
            return f"{prefix}{expression}"
        return self.number.format(expression)

    def inlined(
        self, program: Program, prefix: str, known: Mapping[str, str]
    ) -> tuple[list[str], list[str]]:
        """(lines, outputs) of a program whose inputs stand at the places in `known`."""
        lines = [f"{prefix}{name} = {known[name]}" for name in program.inputs]
        lines += [f"{prefix}{name} = {self(value, prefix)}" for name, value in program.lines]
        return lines, [self(value, prefix) for value in program.outputs]

    def coefficients(
        self, formula: Formula, hypers: Mapping[str, str]
    ) -> tuple[list[str], list[str], list[str]]:
        """What one row's update needs: lines, the new running scalars, and the coefficients.

        hypers: where each hyperparameter stands; the count is read as c_t, a running scalar as c_
        and its name
        """
        rule = formula.rule
        known = {**hypers, **{name: f"c_{name}" for name in ("t", *rule.scalars)}}
        lines, made = self.inlined(rule.coefficients_program, "r_", known)
        cut = len(rule.scalars)
        values = made[cut:]
        for j, (function, own) in enumerate(formula.sources):
            program = read(function, is_coefficients=True)
            more, of_option = self.inlined(program, f"o{j}_", {**hypers, **self._fields(own)})
            lines += more
            values += of_option
        return lines, made[:cut], values

    def scale(
        self, measure: Measure, hypers: Mapping[str, str], sums: Sequence[str]
    ) -> tuple[list[str], str]:
        """(lines, value) of the coefficient that a measure's sums come to; `size` is known."""
        by_name = {f"sum{j}": text for j, text in enumerate(sums)}
        known = {**hypers, **self._fields(measure.fields), **by_name, "size": "size"}
        lines, (value,) = self.inlined(measure.scale_program, "s_", known)
        return lines, value

    def _fields(self, own: Mapping[str, float]) -> dict[str, str]:
        return {name: self(float(value)) for name, value in own.items()}


def indented(lines: Sequence[str], width: int) -> str:
    """Lines as one text, each `width` blanks to the right."""
    return "\n".join(" " * width + line for line in lines)
