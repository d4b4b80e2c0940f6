"""What was given and not yet written: few rows as a rule, and never more than memory bears."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from thalweg.types import Step

LIMIT = 100_000
"""Steps and values of scalars that may wait (some 80 MB) before further ones are thinned."""
STRETCH, TIER = 8, 10_000
"""Beyond LIMIT, two of so many stay; of twice as many for every TIER that waits in addition."""
MOST_DOUBLINGS = 20

Item = tuple[str, str, Sequence[Any]]
"""A table, a phase, and rows for it; steps are rows as they are."""


@dataclass(slots=True)
class _Stretch:
    """What stays of points that came one after the other, each with its value."""

    num_points: int = 0
    last: int = 0
    odd: list[tuple[float, int, Any]] = field(default_factory=list)
    ends: list[tuple[float, int, Any]] = field(default_factory=list)

    def add(self, number: int, value: float, row: Any) -> None:
        point = (value, self.num_points, row)
        self.num_points += 1
        self.last = number
        if not math.isfinite(value):
            self.odd.append(point)
        elif not self.ends:
            self.ends = [point, point]
        elif value < self.ends[0][0]:
            self.ends[0] = point
        elif value > self.ends[1][0]:
            self.ends[1] = point

    def rows(self) -> list[Any]:
        """Those of the smallest and the largest value, and all that were not finite."""
        kept = {place: row for _, place, row in (*self.odd, *self.ends)}
        return [kept[place] for place in sorted(kept)]


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
        self._held: dict[tuple[str, str, str], _Stretch] = {}
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
        key = (table, phase, series)
        stretch = self._held.setdefault(key, _Stretch())
        for row in rows:
            stretch.add(*_POINT[table](row), row)
        if stretch.num_points >= STRETCH << min(num_over // TIER, MOST_DOUBLINGS):
            self._pass_on(key)

    def _pass_on(self, key: tuple[str, str, str]) -> None:
        table, phase, _ = key
        stretch = self._held.pop(key)
        rows = stretch.rows()
        self._num_put += len(rows)
        self._queue.append((table, phase, rows))
        if stretch.num_points > len(rows):
            count = (stretch.last, stretch.num_points - len(rows))
            self._queue.append(("thinned", phase, [count]))

    def release(self) -> None:
        """End the stretches that are being thinned; for the thread that puts."""
        for key in list(self._held):
            self._pass_on(key)

    def take(self) -> Iterator[Item]:
        """All that was put so far, for the writer."""
        for _ in range(len(self._queue)):
            yield self._queue.popleft()

    def wrote(self, num_points: int) -> None:
        """So many steps and scalars are on disk."""
        self._num_written += num_points


def _point_of_step(step: Step) -> tuple[int, float]:
    """Its number and its loss: NaN where anything in it was not finite."""
    measured = step.measured()
    is_finite = all(math.isfinite(value) for value in measured.values() if value is not None)
    if not is_finite or measured.get("num_nonfinite"):
        return step.number, math.nan
    return step.number, measured.get("loss") or 0.0


_POINT: dict[str, Callable[[Any], tuple[int, float]]] = {
    "steps": _point_of_step,
    "scalars": lambda row: (row[0], row[2]),
}
"""Number and value of what may be thinned. Evaluations, events and facts are few, and stay."""
