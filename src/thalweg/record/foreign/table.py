"""Logs that are tables: CSV and its kin with a header, JSON lines, lists and histories."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from thalweg.record.foreign.cells import Cells, add_column, cells_of, number_of

MOST_COLUMNS = 2_000
_DELIMITERS = (",", "\t", ";", "|")


def read_delimited(text: str) -> Cells | None:
    """None for what is no table with a header and numbers below it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return None
    delimiter = max(_DELIMITERS, key=lines[0].count)
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return None
    header = [name.strip().strip("\"'") for name in rows.pop(0)]
    is_header = len(header) <= MOST_COLUMNS and any(number_of(cell) is None for cell in header)
    if not is_header or not _is_table(header, rows):
        return None
    first = header[0]
    rows = [row for row in rows if row[0].strip() != first or [c.strip() for c in row] != header]
    cells = Cells(len(rows))
    for name, column in zip(unique(header), zip_longest(*rows), strict=False):
        commas = delimiter == ";"
        add_column(cells, name, [_point_for_comma(c) for c in column] if commas else column)
    return cells


def header_of(text: str) -> list[str]:
    """The names in a text's first line, were it a table."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return line.split(max(_DELIMITERS, key=line.count))


def _is_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Are most rows as wide as the header? (A line of prose with a comma is none.)"""
    if len(header) == 1:
        return all(len(row) == 1 and number_of(row[0]) is not None for row in rows)
    return sum(abs(len(row) - len(header)) <= 1 for row in rows) >= 0.8 * len(rows)


def _point_for_comma(cell: str | None) -> str | None:
    """0,25 as half the world writes it, in tables with semicolons."""
    return cell.replace(",", ".") if cell and cell.count(",") == 1 else cell


def unique(names: Sequence[str]) -> list[str]:
    """Names that stand twice are told apart by a number.

    >>> unique(["loss", "", "loss"])
    ['loss', 'column_2', 'loss.1']
    """
    found: dict[str, None] = {}
    for i, name in enumerate(names, start=1):
        fresh, count = name or f"column_{i}", 1
        while fresh in found:
            fresh, count = f"{name}.{count}", count + 1
        found[fresh] = None
    return list(found)


def read_json(text: str) -> Cells | None:
    """Objects, one a line or in a list, nested ones by names with a point between; or one object
    with a list for each column, as Keras's history has it. None for what is none of these.
    """
    if text.lstrip()[:1] not in ("{", "["):
        first = next((line for line in text.splitlines() if line.startswith("{")), None)
        if first is None or not isinstance(_loaded(first), dict):
            return None
    whole = _loaded(text)
    if isinstance(whole, list):
        objects = [row for row in whole if isinstance(row, dict)]
    elif isinstance(whole, dict):
        return _history(whole)
    else:
        rows = (_loaded(line) for line in text.splitlines() if line.strip())
        objects = [row for row in rows if isinstance(row, dict)]
    return cells_of(dict(_flat(row)) for row in objects) if objects else None


def _history(columns: Mapping[str, Any]) -> Cells | None:
    """From {"loss": [...], "val_loss": [...]}, which may lie under a name of its own."""
    lists = {name: column for name, column in columns.items() if isinstance(column, list)}
    if not lists:
        inner = [value for value in columns.values() if isinstance(value, dict)]
        return _history(inner[0]) if len(inner) == 1 else None
    longest = max(len(column) for column in lists.values())
    cells = Cells(longest)
    for name, column in lists.items():
        if all(not isinstance(cell, list | dict) for cell in column):
            add_column(cells, name, [*column, *[None] * (longest - len(column))])
    return cells if cells.values else None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif not isinstance(value, list):
            yield f"{before}{name}", value
