"""What a user says of the columns: left out, used, of which kind, by options or by a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import polars as pl

from thalweg.errors import UsageError
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.describe import FREE_TEXT, Dropped, Wanted
from thalweg.tasks.table.kinds import KINDS, Column
from thalweg.tasks.table.values import find_column, nearest

TEXT, DROP = "text", "drop"
WORDS = (*KINDS, TEXT, DROP)
"""What --types takes."""

_TOP = ("rows", "target", "columns", "dropped", "reading")
_COLUMN = {row.name: str(row.type) for row in fields(Column)}
_DROPPED = ("name", "reason", "is_asked")
_LISTS = ("levels", "parts")
_ALLOWED = {"str": (str,), "float": (float, int), "int": (int,), "bool": (bool,)}


@dataclass(slots=True)
class Wishes:
    """wanted: kinds, and what is known, by column; dropped: left out as asked, and why"""

    wanted: dict[str, Wanted] = field(default_factory=dict)
    dropped: dict[str, Dropped] = field(default_factory=dict)


def wishes_of(asked: Asked, frame: pl.DataFrame, targets: tuple[str, ...]) -> Wishes:
    """What was asked of each column of a frame.

    Raises DataError for a column that is not there, UsageError for a kind that there is not, or
    wishes that contradict each other.
    """
    wishes = _of_file(asked.given, frame, targets)
    for name, text in asked.types.items():
        _check_no_target(find_column(frame, name, "the table"), targets, "types")
        _take(wishes, name, text)
    if asked.columns:
        used = {find_column(frame, name, "the table") for name in asked.columns}
        for name in frame.columns:
            if name not in used:
                _drop(wishes, name, "not among the columns that were asked for")
    for name in asked.drop:
        _check_no_target(find_column(frame, name, "the table"), targets, "drop")
        if name in asked.types:
            raise UsageError(f"{name!r} stands in drop and in types: leave it out of one of them")
        _drop(wishes, name, "left out as asked")
    for name in targets:
        wishes.dropped.pop(name, None)
    return wishes


def check_kind(name: str, text: str) -> None:
    """Raise UsageError for what is no kind on the command line: category, date:%d.%m.%Y, text..."""
    kind, _, format = text.partition(":")
    if kind not in WORDS or (format and (kind != "date" or "%" not in format)):
        near = nearest(kind, WORDS)
        hint = f"did you mean {near!r}?" if near and near != kind else ""
        raise UsageError(
            f"types: {name}={text} is no kind of column: {hint} choose one of {', '.join(WORDS)}; "
            "a date with its format as date:%d.%m.%Y".replace(":  ", ": ")
        )


def _take(wishes: Wishes, name: str, text: str) -> None:
    """A kind from the command line."""
    check_kind(name, text)
    kind, _, format = text.partition(":")
    if kind in (TEXT, DROP):
        is_text = kind == TEXT
        reason = f"{FREE_TEXT}: --text {name} trains on it" if is_text else "left out as asked"
        _drop(wishes, name, reason)
        return
    wishes.dropped.pop(name, None)
    wishes.wanted[name] = Wanted(kind, {"format": format} if format else {})


def _drop(wishes: Wishes, name: str, reason: str) -> None:
    wishes.wanted.pop(name, None)
    wishes.dropped[name] = Dropped(name, reason, is_asked=True)


def _check_no_target(name: str, targets: tuple[str, ...], where: str) -> None:
    if name in targets:
        raise UsageError(f"{where} names {name!r}, which is the target: leave it out there")


def _of_file(given: Mapping[str, Any], frame: pl.DataFrame, targets: tuple[str, ...]) -> Wishes:
    """The columns of a schema file. Raises UsageError for what is no schema of this table."""
    wishes = Wishes()
    if not given:
        return wishes
    _check_keys(given, _TOP, "it")
    for row in _rows(given, "columns"):
        name = _name(row, frame, targets)
        _check_keys(row, tuple(_COLUMN), f"column {name!r}")
        for key, value in row.items():
            _check_value(name, key, value)
        own = {key: tuple(v) if key in _LISTS else v for key, v in row.items()}
        kind = own.pop("kind", None)
        own.pop("name")
        if kind not in KINDS:
            near = nearest(str(kind), tuple(KINDS)) if kind else None
            hint = f"did you mean {near!r}?" if near else f"choose one of {', '.join(KINDS)}"
            raise UsageError(f"schema: column {name!r} is of kind {kind!r}: {hint}")
        if name in wishes.wanted:
            raise UsageError(f"schema: column {name!r} stands there twice")
        wishes.wanted[name] = Wanted(kind, {} if _is_of_another(kind, own) else own)
    for row in _rows(given, "dropped"):
        name = _name(row, frame, targets)
        _check_keys(row, _DROPPED, f"column {name!r}")
        reason = row.get("reason", "left out by the schema that was given")
        if name in wishes.wanted:
            raise UsageError(f"schema: column {name!r} stands there twice")
        is_asked = row.get("is_asked") is not False
        wishes.dropped[name] = Dropped(name, str(reason), is_asked=is_asked)
    return wishes


_BESIDE = {"has_missing", "vector", "year_mean", "year_deviation"}
"""What may be known of a column besides the statistics of its kind."""


def _is_of_another(kind: str, known: Mapping[str, Any]) -> bool:
    """Was what is known measured of a column of another kind, before the kind was changed?"""
    names = known.keys() - _BESIDE
    others = (set(row.statistics) for row in KINDS.values() if row.name != kind)
    return not names <= set(KINDS[kind].statistics) or any(names == other for other in others)


def _rows(given: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = given.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"schema: {key} must be tables, [[{key}]], one for each column")
    return rows


def _name(row: Mapping[str, Any], frame: pl.DataFrame, targets: tuple[str, ...]) -> str:
    name = row.get("name")
    if not isinstance(name, str):
        raise UsageError(f"schema: a column without a name: {dict(row)!r}")
    if name not in frame.columns:
        near = nearest(name, frame.columns)
        hint = f"did you mean {near!r}?" if near else "leave it out there"
        raise UsageError(f"schema: the data has no column {name!r}: {hint}")
    if name in targets:
        raise UsageError(f"schema: column {name!r} is the target: leave it out there")
    return name


def _check_keys(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"schema: {where} has a key {key!r}, which is unknown: {hint}")


def _check_value(name: str, key: str, value: Any) -> None:
    """Raise UsageError for a value that is not of the kind that its key has."""
    if key in _LISTS:
        is_right = isinstance(value, list) and all(isinstance(text, str) for text in value)
        is_right = is_right and len(set(value)) == len(value)
        wanted = "texts, each once"
    else:
        kind = _COLUMN[key].partition(" ")[0]
        is_right = isinstance(value, _ALLOWED[kind]) and isinstance(value, bool) == (kind == "bool")
        wanted = {"str": "a text", "float": "a number", "int": "a whole number"}.get(
            kind, "true or false"
        )
    if is_right and key.endswith("deviation"):
        is_right, wanted = isinstance(value, float | int) and value > 0, "a number larger than 0"
    if not is_right:
        raise UsageError(f"schema: column {name!r}: {key} is {value!r}: it must be {wanted}")
