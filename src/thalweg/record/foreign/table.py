"""Logs that are tables: CSV and TSV with a header, JSON lines; blank cells are no values.

A log that died of NaN may have blank cells from there on, where its tool wrote nothing for what is
no number: which is told apart from columns that are filled in now and then.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NAN = {"nan", "-nan", "+nan", "none", "null", "n/a"}
_DELIMITERS = (",", "\t", ";", "|")


@dataclass(slots=True)
class Cells:
    """names: of the columns, as they stand, stripped; rows: a value for each name that has one

    blanks: rows in which a column's cell is empty, by name
    """

    names: list[str]
    rows: list[dict[str, float]] = field(default_factory=list)
    blanks: dict[str, list[int]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def number_of(text: Any) -> float | None:
    """A cell as a number; NaN and infinities as such; None of what is none."""
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, int | float):
        return float(text)
    bare = str(text).strip().strip('"')
    if bare.lower() in NAN:
        return math.nan
    if bare.startswith("tensor("):
        bare = bare[7:].split(",")[0].rstrip(")")
    try:
        return float(bare)
    except ValueError:
        return None


def read_delimited(text: str) -> Cells | None:
    """None for what is no table with a header and numbers below it."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 1:
        return None
    delimiter = max(_DELIMITERS, key=lambda mark: lines[0].count(mark))
    rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    header = [name.strip() for name in rows[0]]
    if len(rows) > 1 and all(number_of(cell) is not None for cell in header):
        return None
    cells = Cells(unique(header))
    for i, row in enumerate(rows[1:]):
        values = {}
        for name, cell in zip(cells.names, row, strict=False):
            if not cell.strip():
                cells.blanks.setdefault(name, []).append(i)
                continue
            value = number_of(cell)
            if value is None:
                cells.texts.setdefault(name, cell.strip())
            else:
                values[name] = value
        cells.rows.append(values)
    return cells


def unique(names: Sequence[str]) -> list[str]:
    """Names that stand twice are told apart by their number."""
    found: list[str] = []
    for name in names:
        fresh, count = name or f"column_{len(found) + 1}", 1
        while fresh in found:
            fresh, count = f"{name}.{count}", count + 1
        found.append(fresh)
    return found


def read_json_lines(text: str) -> Cells | None:
    """Objects, one a line, or in a list; nested ones by names with a point between."""
    objects = list(_objects(text))
    if not objects:
        return None
    cells = Cells([])
    for i, row in enumerate(objects):
        values = {}
        for name, value in _flat(row):
            if name not in cells.blanks and name not in cells.names:
                cells.names.append(name)
            found = number_of(value)
            if value is None:
                cells.blanks.setdefault(name, []).append(i)
            elif found is not None and not (isinstance(value, str) and not _is_number_text(value)):
                values[name] = found
            else:
                cells.texts.setdefault(name, str(value))
        cells.rows.append(values)
    return cells


def _is_number_text(value: str) -> bool:
    return number_of(value) is not None


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    stripped = text.lstrip()
    if stripped.startswith("["):
        try:
            found = json.loads(stripped)
        except ValueError:
            return
        yield from (row for row in found if isinstance(row, dict))
        return
    for line in text.splitlines():
        try:
            found = json.loads(line) if line.strip() else None
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif not isinstance(value, list):
            yield f"{before}{name}", value
