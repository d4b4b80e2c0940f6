"""Formulas as text: one printer over the checked trees, one table for each way of spelling them.

`MATHS` is for people and is what the docs show; a table for another language stands beside it or
with whoever needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from thalweg.rules.language import Apply, Expression


@dataclass(frozen=True, slots=True)
class Form:
    """How one operation is spelt.

    text: with {0}, {1}, ... for its arguments
    binds: how tightly it holds together; needs: what an argument that binds less is put in
    brackets for, argument by argument (0: never)
    """

    text: str
    binds: int
    needs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spelling:
    """A way of writing formulas down.

    forms: every operation of the language; line: an assignment, with {name} and {value}
    names: names that are spelt otherwise; number: the text of a number
    """

    forms: Mapping[str, Form]
    line: str
    names: Mapping[str, str]
    number: Callable[[float], str]

    def assignment(self, name: str, value: Expression) -> str:
        """A line of a formula."""
        return self.line.format(name=self.names.get(name, name), value=self.text(value))

    def text(self, value: Expression) -> str:
        """An expression."""
        return self._text(value)[0]

    def _text(self, value: Expression) -> tuple[str, int]:
        """The text, and how tightly it holds together."""
        if isinstance(value, str):
            return self.names.get(value, value), ATOM
        if not isinstance(value, Apply):
            return self.number(value), ATOM
        form = self.forms[value.operation]
        pairs = zip(map(self._text, value.arguments), form.needs, strict=True)
        texts = (text if binds >= need else f"({text})" for (text, binds), need in pairs)
        return form.text.format(*texts), form.binds


COMPARE, SUM, QUOTIENT, PRODUCT, POWER, ATOM = range(1, 7)
"""How tightly things hold together. A quotient inside a product is bracketed, for the eye."""

TOTAL = "total"
"""An operation that is no function's: what its argument comes to over all elements, added up."""


def _infix(sign: str, binds: int, left: int, right: int) -> Form:
    return Form(f"{{0}} {sign} {{1}}", binds, (left, right))


def _between(sign: str) -> Form:
    return _infix(sign, COMPARE, SUM, SUM)


MATHS = Spelling(
    forms={
        "add": _infix("+", SUM, SUM, QUOTIENT),
        "subtract": _infix("−", SUM, SUM, QUOTIENT),  # noqa: RUF001  (the minus sign)
        "multiply": _infix("·", PRODUCT, PRODUCT, POWER),
        "negative": Form("−{0}", PRODUCT, (POWER,)),  # noqa: RUF001
        "less": _between("<"),
        "greater": _between(">"),
        "less_equal": _between("≤"),
        "greater_equal": _between("≥"),
        "div": _infix("/", QUOTIENT, PRODUCT, POWER),
        "sqrt": Form("√{0}", POWER, (ATOM,)),
        "pow": Form("{0}^{1}", POWER, (ATOM, ATOM)),
        "absolute": Form("|{0}|", ATOM, (0,)),
        "sign": Form("sign({0})", ATOM, (0,)),
        "maximum": Form("max({0}, {1})", ATOM, (0, 0)),
        "minimum": Form("min({0}, {1})", ATOM, (0, 0)),
        "where": Form("({1} if {0}, else {2})", ATOM, (0, SUM, SUM)),
        TOTAL: Form("Σ {0}", POWER, (ATOM,)),
    },
    line="{name} ← {value}",
    names={"alpha": "α", "beta": "β", "beta1": "β1", "beta2": "β2", "rho": "ρ"},  # noqa: RUF001
    number="{:g}".format,
)
"""Plain text for people; every step of the computation stands there, in its order."""
