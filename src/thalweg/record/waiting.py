"""What was given and not yet written: few rows as a rule, and never more than memory bears."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from thalweg.types import Step

LIMIT = 100_000
"""Steps and values of scalars that may wait (some 80 MB) before further ones are thinned."""
STRETCH, TIER = 8, 10_000
"""Beyond LIMIT, two of so many stay; of twice as many for every TIER that waits in addition."""
MOST_DOUBLINGS = 20

Item = tuple[str, str, Sequence[Any]]
"""A table, a phase, and rows for it; steps are rows as they are."""


class Waiting:
    """The training thread puts, the writer takes; neither ever waits for the other.

    While more than LIMIT steps and scalars wait, further ones are thinned: of each stretch the
    smallest and the largest loss (value) stay, and everything that is not finite; what was left
    out is counted. As stretches grow with what waits, a billion steps leave some 250,000.

    Each number is written by one thread only, and a deque's ends are safe: a lock would cost more
    than all the rest.
    """

    def __init__(self) -> None:
        self._queue: deque[Item] = deque()
        self._held: dict[tuple[str, str, str], list[Any]] = {}
        self._num_put = 0
        self._num_written = 0

    def __len__(self) -> int:
        """Rows that nobody took; for when nobody puts."""
        return sum(len(rows) for _, _, rows in self._queue)

    def put(self, table: str, phase: str, rows: Sequence[Any], *, series: str = "") -> None:
        """series: the scalar's name, whose values are thinned by themselves."""
        if table not in _POINT:
            self._queue.append((table, phase, rows))
        elif not self._held and self._num_put - self._num_written < LIMIT:
            self._num_put += len(rows)
            self._queue.append((table, phase, rows))
        else:
            self._put_thinned(table, phase, rows, series)

    def _put_thinned(self, table: str, phase: str, rows: Sequence[Any], series: str) -> None:
        num_over = self._num_put - self._num_written - LIMIT
        if num_over < 0:
            self.release()
            self.put(table, phase, rows)
            return
        held = self._held.setdefault((table, phase, series), [])
        held += rows
        if len(held) >= STRETCH << min(num_over // TIER, MOST_DOUBLINGS):
            points = [_POINT[table](row) for row in held]
            kept = [held[i] for i in _extremes([value for _, value in points])]
            del self._held[table, phase, series]
            self._num_put += len(kept)
            self._queue.append((table, phase, kept))
            if len(kept) < len(held):
                last, _ = points[-1]
                self._queue.append(("thinned", phase, [(last, len(held) - len(kept))]))

    def release(self) -> None:
        """Pass on what was held for thinning; for the thread that puts."""
        held, self._held = self._held, {}
        for (table, phase, _), points in held.items():
            self._num_put += len(points)
            self._queue.append((table, phase, points))

    def take(self) -> Iterator[Item]:
        """All that was put so far, for the writer."""
        for _ in range(len(self._queue)):
            yield self._queue.popleft()

    def wrote(self, num_points: int) -> None:
        """So many steps and scalars are on disk."""
        self._num_written += num_points


def _extremes(values: list[float]) -> list[int]:
    """Where the smallest and the largest stand, and all that are not finite; ascending."""
    odd = {i for i, value in enumerate(values) if not math.isfinite(value)}
    finite = [i for i in range(len(values)) if i not in odd]
    if finite:
        odd |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    return sorted(odd)


def _point_of_step(step: Step) -> tuple[int, float]:
    """Its number and its loss: NaN where anything in it was not finite."""
    measured = step.measured()
    is_finite = all(math.isfinite(value) for value in measured.values() if value is not None)
    if not is_finite or measured.get("num_nonfinite"):
        return step.number, math.nan
    return step.number, measured.get("loss", 0.0)


_POINT: dict[str, Callable[[Any], tuple[int, float]]] = {
    "steps": _point_of_step,
    "scalars": lambda row: (row[0], row[2]),
}
"""Number and value of what may be thinned. Evaluations, events and facts are few, and stay."""
