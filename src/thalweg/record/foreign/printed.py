"""Tables that stand amid other lines of a text, and boxes with a name and a number to a line.

A table is a line of names, of which one tells a loss, with lines of as many numbers below it: as
fastai prints them, or loops that write "Epoch | Train Loss | Val Loss". A box is what OpenAI's
baselines print after each iteration: "| loss | 0.25 |", between lines of dashes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thalweg.record.foreign.cells import Cells, cells_of, number_of
from thalweg.record.foreign.names import is_told, named
from thalweg.record.foreign.table import unique

LEAST_ROWS = 2
LEAST_VALUES = 12
"""Numbers without a name, from which on a file named after a loss holds that."""

MOST_LETTERS = 1_000
"""Of a line of a table."""

_APART = (re.compile(r"\s*[|│┃]\s*"), re.compile(r"\t+"), re.compile(r"\s{2,}"), re.compile(r"\s+"))
_RULE = re.compile(r"^[\s\-=+|─┼━╋:]+$")
_BOX = re.compile(r"^\s*[|│]\s*(?P<name>\S[^|│]*?)\s*[|│]\s*(?P<value>[^|│]*?)\s*[|│]\s*$")
_UNITS = re.compile(r"(?<=\d)(?:s|m|h|ms|%)$|\s*\*$")


def read_printed(text: str) -> Cells | None:
    """The rows of a text's tables under one header, or else of its boxes; None: it has neither."""
    lines = [line for line in text.splitlines() if len(line) <= MOST_LETTERS]
    return _tables(lines) or _boxes(lines)


def _tables(lines: Sequence[str]) -> Cells | None:
    """A header that is printed again goes on with the same table; another one ends the reading."""
    header: list[str] = []
    apart = _APART[0]
    rows: list[dict[str, float | None]] = []
    for line in lines:
        if not line.strip() or _RULE.match(line):
            continue
        if not header:
            header, apart = _header_of(line) or ([], apart)
            continue
        numbers = _numbers(line, apart)
        if _is_row(numbers, len(header)):
            rows.append(dict(zip(header, numbers, strict=False)))
        elif not rows and _header_of(line):
            header, apart = _header_of(line) or (header, apart)
    return cells_of(rows) if len(rows) >= LEAST_ROWS else None


def _is_row(numbers: Sequence[float | None], width: int) -> bool:
    """As many numbers as names; more may stand behind, such as the time that is left."""
    return width <= len(numbers) <= width + 3 and None not in numbers[:width]


def _header_of(line: str) -> tuple[list[str], re.Pattern[str]] | None:
    """A line of names, of which one tells a loss, and what stands between them."""
    for apart in _APART:
        names = [name for name in apart.split(line.strip().strip("|│┃")) if name.strip()]
        is_names = len(names) >= 2 and all(_is_name(name) for name in names)
        if is_names and any(named(name).is_loss for name in names):
            return unique([name.strip() for name in names]), apart
    return None


def _is_name(text: str) -> bool:
    return number_of(text) is None and len(text) <= 40 and not re.search(r"[:=]|\d\.\d", text)


def _numbers(line: str, apart: re.Pattern[str]) -> list[float | None]:
    """What stands between the marks of a line, as numbers; empty where a loop prints words."""
    cells = [_UNITS.sub("", cell.strip()) for cell in apart.split(line.strip().strip("|│┃"))]
    numbers = [number_of(cell) for cell in cells if cell]
    return numbers if sum(n is not None for n in numbers) >= 0.7 * len(numbers) > 0 else []


def _boxes(lines: Sequence[str]) -> Cells | None:
    """A row for each box: "| train/ | |" is the start of the names below it."""
    rows: list[dict[str, float]] = []
    row: dict[str, float] = {}
    before = ""
    for line in lines:
        match = _BOX.match(line)
        if not match:
            rows += [row] if row else []
            row, before = {}, ""
            continue
        if not match["value"]:
            before = match["name"] if match["name"].endswith("/") else ""
            continue
        value = number_of(_UNITS.sub("", match["value"]))
        if value is not None:
            row[before + match["name"]] = value
    rows += [row] if row else []
    is_told_one = any(is_told(name) for name in (rows[-1] if rows else ()))
    return cells_of(rows) if len(rows) >= LEAST_ROWS and is_told_one else None


def read_bare(text: str, path: Path | None) -> Cells | None:
    """Numbers alone, one to a line or in one list, of a file whose name tells a loss."""
    if path is None or not named(path.stem).is_loss:
        return None
    bare = text.strip()
    cells = (
        bare.strip("[]").split(",") if bare[:1] == "[" and bare[-1:] == "]" else bare.split("\n")
    )
    numbers = [number_of(cell.strip()) for cell in cells]
    if len(numbers) < LEAST_VALUES or None in numbers:
        return None
    found = Cells(len(numbers))
    found.add(path.stem, np.array(numbers, dtype=np.float64), np.ones(len(numbers), dtype=bool))
    return found
