"""From text to a schedule: what Python prints, the command line and run.toml say.

warmup(100) >> cosine(floor=0.1)        as printed
cosine:floor=0.1                        as the command line spells --optimizer
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import reduce
from inspect import Parameter, signature
from operator import rshift
from typing import Any

from thalweg.errors import UsageError
from thalweg.schedules.schedule import BUILDERS, Schedule

_PART = re.compile(r"\s*(\w*)\s*(?:\(([^()]*)\)|:([^():]*))?\s*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MOST_DIGITS = 40


def parse(text: str) -> Schedule:
    """The schedule that a text stands for: parse(str(schedule)) == schedule.

    A part is NAME, NAME(setting=number, ...) or NAME:setting=number,...; parts are joined by >>. A
    whole number of steps is a length, a number with a point is a share.
    Raises UsageError, in one line, for a name, setting or value that is not allowed.

    >>> parse("warmup:0.1 >> cosine")
    warmup(0.1) >> cosine()
    """
    if not isinstance(text, str):
        raise UsageError(f"schedule is {text!r}: it must be a text, such as {_EXAMPLE}")
    return reduce(rshift, map(_part, text.split(">>")))


def _part(text: str) -> Schedule:
    match = _PART.fullmatch(text)
    if match is None or not match[1]:
        raise UsageError(f"schedule: {text.strip()!r} cannot be read: write it as in {_EXAMPLE}")
    name = match[1]
    if name not in BUILDERS:
        near = get_close_matches(name, BUILDERS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"schedule {name!r} is unknown: {hint}choose one of {', '.join(sorted(BUILDERS))}"
        )
    builder = BUILDERS[name]
    parameters = signature(builder).parameters
    given = _given(name, match[2] or match[3] or "", list(parameters))
    for parameter in parameters.values():
        if parameter.default is Parameter.empty and parameter.name not in given:
            raise UsageError(f"schedule: {name} needs {parameter.name}, such as {name}(100)")
    return builder(**given)


def _given(name: str, text: str, known: list[str]) -> dict[str, Any]:
    """The settings of a part by name."""
    given: dict[str, Any] = {}
    for key, value in _settings(name, text, known):
        if key not in known:
            raise UsageError(f"schedule: {name} has no setting {key!r}: it has {', '.join(known)}")
        if key in given:
            raise UsageError(f"schedule: {name} is given {key} twice")
        given[key] = _number(name, key, value)
    return given


def _settings(name: str, text: str, known: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a setting and its value as text; a value without a name is the first setting's."""
    rows = text.split(",") if text.strip() else []
    for i, row in enumerate(rows):
        key, sign, value = (word.strip() for word in row.partition("="))
        if sign:
            yield key, value
        elif i == 0:
            yield known[0], key
        else:
            raise UsageError(
                f"schedule: {name}: {row.strip()!r} is not NAME=NUMBER; {name} has "
                f"{', '.join(known)}"
            )


def _number(name: str, key: str, text: str) -> int | float:
    if not _NUMBER.fullmatch(text) or len(text) > _MOST_DIGITS:
        raise UsageError(f"schedule: {name}: {key} is {text[:_MOST_DIGITS]!r}: give a number")
    return int(text) if text.lstrip("+-").isdigit() else float(text)


_EXAMPLE = '"warmup(100) >> cosine(floor=0.1)" or cosine:floor=0.1'
