"""What was given and not yet written: few rows as a rule, and never more than memory bears."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from thalweg.types import Step

LIMIT = 100_000
"""Steps and scalars that may wait (some 50 MB) before they are thinned."""
STRETCH = 8

Waits = defaultdict[tuple[str, str], list[Any]]
"""By table and phase what waits: steps as they are, of other tables rows."""


class Waiting:
    """Takes from any thread, gives to the writer; its lock is held for microseconds.

    Beyond LIMIT, steps and scalars are thinned: of each STRETCH of them the smallest and the
    largest loss (value) stay, and everything that is not finite. As that may be all of them, there
    must be twice as many as stayed before it is tried again: 2 microseconds a step at most, all in
    all. What was left out is counted.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may record as well
        self._waits: Waits = defaultdict(list)
        self._num_points = 0
        self._limit = LIMIT

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._waits.values()))

    def put(self, table: str, phase: str, rows: Sequence[Any]) -> None:
        with self._lock:
            self._waits[table, phase].extend(rows)
            if table in _THIN:
                self._num_points += len(rows)
                if self._num_points > self._limit:
                    self._thin()

    def take(self) -> Waits:
        """All of it."""
        with self._lock:
            taken, self._waits = self._waits, defaultdict(list)
            self._num_points = 0
            self._limit = LIMIT
        return taken

    def put_back(self, taken: Waits) -> None:
        """What could not be written, before all that came since."""
        with self._lock:
            for key, rows in self._waits.items():
                taken[key].extend(rows)
            self._waits = taken
            self._count()
            if self._num_points > self._limit:
                self._thin()

    def _count(self) -> None:
        counts = (len(rows) for (table, _), rows in self._waits.items() if table in _THIN)
        self._num_points = sum(counts)

    def _thin(self) -> None:
        for (table, phase), rows in list(self._waits.items()):
            if table in _THIN:
                kept, last = _THIN[table](rows)
                if len(kept) < len(rows):
                    self._waits[table, phase] = kept
                    self._waits["thinned", phase].append((last, len(rows) - len(kept)))
        self._count()
        self._limit = max(LIMIT, 2 * self._num_points)


def _thin_steps(steps: list[Step]) -> tuple[list[Step], int]:
    """Those that stay, and the last number."""
    return _kept(steps, _loss), steps[-1].number


def _thin_scalars(rows: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], int]:
    """Each name by itself."""
    by_name: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        by_name[row[1]].append(row)
    return [row for own in by_name.values() for row in _kept(own, lambda r: r[2])], rows[-1][0]


_THIN: dict[str, Callable[[list[Any]], tuple[list[Any], int]]] = {
    "steps": _thin_steps,
    "scalars": _thin_scalars,
}
"""Evaluations, events and facts are never thinned: they are few."""


def _loss(step: Step) -> float:
    """Its loss; NaN where anything in it was not finite."""
    measured = step.measured()
    is_finite = all(math.isfinite(value) for value in measured.values() if value is not None)
    if not is_finite or measured.get("num_nonfinite", 0):
        return math.nan
    return measured.get("loss", 0.0)


def _kept(points: list[Any], value_of: Callable[[Any], float]) -> list[Any]:
    """Of each stretch the smallest and the largest value, and all that are not finite."""
    stay = []
    for start in range(0, len(points), STRETCH):
        stretch = points[start : start + STRETCH]
        values = [value_of(point) for point in stretch]
        finite = [value for value in values if math.isfinite(value)]
        ends = {values.index(min(finite)), values.index(max(finite))} if finite else set()
        stay += [
            point
            for i, (point, value) in enumerate(zip(stretch, values, strict=True))
            if i in ends or not math.isfinite(value)
        ]
    return stay
