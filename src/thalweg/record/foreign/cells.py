"""What a log's lines hold before anybody knows what each means: numbers by line and name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

NOT_NUMBERS = {"nan", "-nan", "+nan", "none", "null", "n/a", "#n/a", "na"}
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)")


@dataclass(slots=True)
class Cells:
    """values: by name, a number (n,) for each line, float64; has: by name, whether there is one

    (NaN may stand in the log, so `has` tells it from a cell that is blank.)
    texts: of columns that hold words, all of them by line, "" for none
    stamps: seconds (n,) on the clock at which each line was written, or None
    """

    num_rows: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    has: dict[str, np.ndarray] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    stamps: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        return list(self.values)

    def add(self, name: str, values: np.ndarray, has: np.ndarray) -> None:
        """One more column, where it holds any number."""
        if has.any():
            self.values[name], self.has[name] = values, has

    def count(self, name: str) -> int:
        """Lines in which a column has a number."""
        return int(self.has[name].sum())


def cells_of(rows: Iterable[Mapping[str, Any]]) -> Cells:
    """From a mapping for each line; what is no number counts as blank, or is a text."""
    rows = list(rows)
    cells = Cells(len(rows))
    for name in dict.fromkeys(name for row in rows for name in row):
        column = [row.get(name) for row in rows]
        add_column(cells, name, column)
    return cells


def add_column(cells: Cells, name: str, column: Sequence[Any]) -> None:
    """One column of any objects: numbers, texts that are numbers, times, or words."""
    if {type(None), bool}.isdisjoint(map(type, column)):
        with suppress(TypeError, ValueError):
            values = np.array(column, dtype=np.float64)
            cells.add(name, values, np.ones(len(values), dtype=bool))
            return
    numbers = [number_of(cell) for cell in column]
    has = np.array([number is not None for number in numbers], dtype=bool)
    cells.add(name, np.array([math.nan if n is None else n for n in numbers]), has)
    both = zip(column, numbers, strict=True)
    words = ["" if n is not None or c is None else str(c).strip() for c, n in both]
    if any(words):
        cells.texts[name] = words


def number_of(cell: Any) -> float | None:
    """A cell as a number, NaN and infinities as such; a time as seconds; None of what is none.

    >>> number_of("tensor(0.25, device='cuda:0')"), number_of("01:30"), number_of("cat")
    (0.25, 90.0, None)
    """
    if isinstance(cell, bool) or cell is None:
        return None
    if isinstance(cell, int | float):
        return float(cell)
    bare = str(cell).strip().strip("\"'")
    if not bare:
        return None
    if bare.lower() in NOT_NUMBERS:
        return math.nan
    if bare.startswith("tensor("):
        bare = bare[7:].split(",")[0].rstrip(")")
    try:
        return float(bare)
    except ValueError:
        return _seconds(bare)


def _seconds(text: str) -> float | None:
    """01:30 and 0:01:30 as a duration; a date with a time as seconds since 1970."""
    match = _CLOCK.fullmatch(text)
    if match:
        return 3600 * float(match[1] or 0) + 60 * float(match[2]) + float(match[3])
    if len(text) < 16 or not text[:4].isdigit():
        return None
    try:
        return datetime.fromisoformat(text.replace(",", ".")).timestamp()
    except ValueError:
        return None
