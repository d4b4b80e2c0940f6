"""The glossary: what the words mean that a command line or a report prints; from `glossary/`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from thalweg.guard.policy import Policy
from thalweg.jobs import defaults
from thalweg.jobs.settings import Settings

FOLDER = Path(__file__).parent / "glossary"

THEMES = {
    "learning": "How a model learns",
    "optimizers": "Optimizers",
    "schedules": "Learning rates and schedules",
    "data": "Data",
    "parts": "Parts, folds and baselines",
    "models": "Models",
    "losses": "Losses",
    "metrics": "Metrics",
    "numbers": "Arithmetic and the machine",
    "runs": "Runs, checkpoints and commands",
    "health": "Health and repair",
}
"""By the name of the file."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word. also: other spellings; used: options and commands it belongs to; see: other terms,
    or codes of findings
    """

    name: str
    text: str
    theme: str
    also: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    see: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.name, *self.also)

    @property
    def options(self) -> dict[str, str]:
        """Its settings of fit, each with what --help says of it and what it is by default."""
        return {text.removeprefix("thalweg fit "): said for text, said in _settings(self.used)}

    @property
    def uses(self) -> tuple[str, ...]:
        """The other options and commands."""
        told = [text for text, _ in _settings(self.used)]
        return tuple(text for text in self.used if text not in told)


def _settings(used: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of them that are a setting of fit alone, with no value, and what is said of it."""
    for text in used:
        said = SETTINGS.get(text)
        if said is not None:
            yield text, said


def _said_of(name: str, help: str) -> str:
    rule = next((row.rule for row in defaults.TABLE if row.name == name), None)
    return help if rule is None else f"{help}. By default {rule}"


SETTINGS = {
    f"thalweg fit --{name}": _said_of(name, row.metadata["help"])
    for row in fields(Settings)
    if (name := row.name.replace("_", "-"))
}
"""What is said of each setting, by how it is written."""


@cache
def terms() -> tuple[Term, ...]:
    """All of them, theme by theme."""
    return tuple(term for theme in THEMES for term in _of(theme))


def _of(theme: str) -> Iterator[Term]:
    found = tomllib.loads((FOLDER / f"{theme}.toml").read_text(encoding="utf-8"))
    for name, row in found.items():
        lists = {key: tuple(row.get(key, ())) for key in ("also", "used", "see")}
        yield Term(name, filled(row["text"]), theme, **lists)


def filled(text: str) -> str:
    """A text in one line, with numbers of the defaults and of the guard where it names them.

    >>> filled("{defaults.LR[adamw]:g} and {guard.window}")
    '0.001 and 64'
    """
    known: dict[str, Any] = {"defaults": defaults, "guard": Policy()}
    return " ".join(text.format_map(known).split())


def key(word: str) -> str:
    """A word as it is looked up: small letters, spaces for dashes; an option without its "no".

    >>> key("--Learning-rate"), key("--no-compile")
    ('learning rate', 'compile')
    """
    bare = re.sub(r"^--(no|empty)-", "", word.lower())
    return " ".join(bare.replace("-", " ").replace("_", " ").split())
