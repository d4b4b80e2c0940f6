"""A page for each finding, from `findings/CODE.toml`: what it looks like, causes, remedies, doubts.

The files hold words. A number by which a detector decides stands there as {breaks.RISE:.0%}, and is
read from the detector's own file, so that a page cannot say another one than the code has.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from thalweg.health.codes import CODES, Code
from thalweg.health.words import SPELLED, Run, advice

FOLDER = Path(__file__).parent
AT_HAND = "the model at hand, by thalweg.monitor"
"""What a check needs that no log can serve."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line of advice. what: a cause, or what to try; then: how to tell it from the next cause,
    or what to expect
    """

    what: str
    then: str


@dataclass(frozen=True, slots=True)
class Page:
    """What is known of a finding; row: of the table, causes and remedies: the likeliest first.

    looks: in the curves; sure: how the check decides; wrong: healthy runs that look alike
    terms: of the glossary
    """

    row: Code
    looks: str
    causes: tuple[Point, ...]
    remedies: tuple[Point, ...]
    sure: str
    wrong: str
    terms: tuple[str, ...]

    @property
    def needs(self) -> str:
        """What must be there for the check."""
        return self.row.needs or AT_HAND

    @property
    def remedy(self) -> str:
        """The table's remedy, in the words of no tool."""
        return advice(self.row, Run())

    @property
    def spelled(self) -> dict[str, str]:
        """The same in the words of each tool that has its own."""
        texts = {tool: advice(self.row, Run(tool)) for tool in SPELLED if tool}
        bare = advice(self.row, Run("-"))
        return {tool: text for tool, text in texts.items() if text not in (bare, self.remedy)}


def page_of(code: str) -> Page:
    """The page of a code of the table.

    >>> page_of("TW001").row.name
    'non-finite loss or gradient'
    """
    file = FOLDER / "findings" / f"{code}.toml"
    found = tomllib.loads(file.read_text(encoding="utf-8"))
    return Page(
        row=CODES[code],
        looks=filled(found["looks"]),
        causes=_points(found["causes"], "tell"),
        remedies=_points(found["remedies"], "expect"),
        sure=filled(found["sure"]),
        wrong=filled(found["wrong"]),
        terms=tuple(found["terms"]),
    )


def _points(rows: Sequence[Mapping[str, str]], then: str) -> tuple[Point, ...]:
    return tuple(Point(filled(row["what"]), filled(row[then])) for row in rows)


class _Numbers(dict[str, Any]):
    """The constants of each file of this folder, by its name."""

    def __missing__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(**constants_of(name))


def filled(text: str) -> str:
    """A text in one line, with the numbers that it names.

    >>> filled("the last {state.LATE:.0%}")
    'the last 20%'
    """
    return " ".join(text.format_map(_Numbers()).split())


@cache
def constants_of(name: str) -> dict[str, Any]:
    """The numbers that a file of this folder names at its top, read and not run: detectors need
    NumPy, which takes longer to load than a page may.

    >>> constants_of("curve")["MAD"]
    1.4826
    """
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        target = node.targets[0]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = value if isinstance(target, ast.Tuple) else [value]
        pairs = zip(names, values, strict=True)
        found |= {each.id: value for each, value in pairs if isinstance(each, ast.Name)}
    return found
