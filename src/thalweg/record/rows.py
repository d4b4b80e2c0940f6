"""The tables of a record: their rows as every store keeps them, and the history that they tell."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from thalweg.errors import RunError
from thalweg.record.history import COLUMNS, Attempt, History, Row, columns_of, row_of
from thalweg.types import Evaluation, Event, Step

SCHEMA = 2
"""Version of what stands on disk; 1 had neither attempts nor `loss_scale`."""

TABLES: dict[str, tuple[str, ...]] = {
    "attempts": ("attempt", "from_step", "started"),
    "facts": ("attempt", "name", "value_json"),
    "steps": ("attempt", "phase", *COLUMNS, "nans"),
    "evaluations": (
        "attempt",
        "phase",
        "number",
        "split",
        "values_json",
        "noise",
        "seconds",
        "nans",
    ),
    "events": ("attempt", "phase", "number", "kind", "text", "data_json"),
    "scalars": ("attempt", "phase", "number", "name", "value", "nans"),
    "thinned": ("attempt", "phase", "number", "count"),
}
"""Each table's columns, in the order of a row's values."""

Tables = Mapping[str, Iterable[tuple[Any, ...]]]
"""Rows by table, in the order in which they were written."""


def check_version(version: int, path: Path) -> None:
    """Raises RunError where this thalweg cannot read it."""
    if version > SCHEMA:
        raise RunError(
            f"{path} is a record of version {version}, and this thalweg reads up to version "
            f"{SCHEMA}: update thalweg"
        )
    if version < 1:
        raise RunError(f"{path} is not a record that thalweg wrote: it names no version")


class Store(Protocol):
    """A file that takes rows; used by one thread."""

    attempt: int

    def write(self, tables: Tables) -> None:
        """Write all of it or nothing. Raises OSError or sqlite3.Error."""
        ...

    def sync(self) -> None:
        """Wait until what was written survives a power cut."""
        ...

    def close(self) -> None:
        """Leave one ordinary file."""
        ...


def step_row(step: Step) -> tuple[Any, ...]:
    """A step as the values of its table, after attempt and phase; so below."""
    return _spell_nans(row_of(step))


def evaluation_row(evaluation: Evaluation) -> tuple[Any, ...]:
    """Raises TypeError where JSON cannot hold a value."""
    values = json.dumps(dict(evaluation.values))
    spelt = _spell_nans((evaluation.noise, evaluation.seconds))
    return (evaluation.number, evaluation.split, values, *spelt)


def event_row(event: Event) -> tuple[Any, ...]:
    """Raises TypeError where JSON cannot hold its data."""
    return (event.number, event.kind, event.text, json.dumps(dict(event.data)))


def scalar_row(number: int, name: str, value: float) -> tuple[Any, ...]:
    """A number of the user's own."""
    return (number, name, *_spell_nans((float(value),)))


def _spell_nans(row: Row) -> tuple[Any, ...]:
    """The row and a bit mask of its NaNs: SQLite would store each as NULL, "not measured".

    Of numbers and None only NaN differs from itself; this runs once a step.
    """
    nans = sum([1 << i for i, value in enumerate(row) if value != value])  # noqa: PLR0124
    return (*row, nans)


def _restore_nans(row: tuple[Any, ...]) -> Row:
    *values, nans = row
    if not nans:
        return tuple(values)
    return tuple(math.nan if nans >> i & 1 else value for i, value in enumerate(values))


def history_of(tables: Tables, phase: str) -> History:
    """What the rows of one phase tell: each thing as the newest attempt that has it says it.

    Rows of an attempt beyond the step from which a later one began are superseded.
    """
    attempts = [Attempt(*row) for row in tables["attempts"]]
    ends = _ends(attempts)

    def shown(table: str, key: Callable[[tuple[Any, ...]], Hashable]) -> list[tuple[Any, ...]]:
        valid = [row for row in tables[table] if row[1] == phase and row[2] <= ends[row[0]]]
        return [row[2:] for row in _newest(valid, key)] if len(ends) > 1 else [r[2:] for r in valid]

    steps = sorted(shown("steps", lambda row: row[2]), key=lambda row: row[0])
    history = History(columns_of(map(_restore_nans, steps)), attempts=attempts)
    for number, split, values, *spelt in shown("evaluations", lambda row: row[2:4]):
        noise, seconds = _restore_nans(tuple(spelt))
        evaluation = Evaluation(number, split, json.loads(values), noise, seconds or 0.0)
        history.evaluations.append(evaluation)
    for number, kind, text, data in shown("events", lambda row: row[2:5]):
        history.events.append(Event(number, kind, text, json.loads(data)))
    for number, name, *spelt in shown("scalars", lambda row: row[2:4]):
        (value,) = _restore_nans(tuple(spelt))
        history.scalars.setdefault(name, []).append((number, float(value or 0.0)))
    history.num_thinned = sum(row[1] for row in shown("thinned", lambda row: row[2]))
    for _, name, value in tables["facts"]:
        setattr(history, name, json.loads(value))
    return history


def _ends(attempts: list[Attempt]) -> dict[int, float]:
    """By attempt the last step that no later attempt took again."""
    ends: dict[int, float] = {}
    end = math.inf
    for attempt in reversed(attempts):
        ends[attempt.number] = end
        end = min(end, attempt.from_step)
    return ends


def _newest(
    rows: list[tuple[Any, ...]], key: Callable[[tuple[Any, ...]], Hashable]
) -> Iterable[tuple[Any, ...]]:
    """Of the rows with one key, those of the newest attempt."""
    newest: dict[Hashable, int] = {}
    for row in rows:
        newest[key(row)] = max(newest.get(key(row), 0), row[0])
    return (row for row in rows if row[0] == newest[key(row)])
