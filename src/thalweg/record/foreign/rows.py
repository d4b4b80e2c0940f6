"""Values as they come from a log, before anybody knows what each means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg.record.foreign.log import Series


@dataclass(slots=True)
class Rows:
    """points: by the column's name (step, value), as they were written; count: rows of the log"""

    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    count: int = 0

    def add(self, step: float, name: str, value: float) -> None:
        """One value of one column."""
        self.points.setdefault(name, []).append((step, value))
        self.count += 1

    @property
    def names(self) -> Sequence[str]:
        return list(self.points)

    def series(self, name: str) -> Series:
        """A column in the order of its steps; of a step that was written again, the last value."""
        points = np.array(self.points[name], dtype=np.float64).reshape(-1, 2)
        order = np.argsort(points[:, 0], kind="stable")
        steps, values = points[order, 0], points[order, 1]
        is_last = np.append(steps[1:] != steps[:-1], True)
        return Series(name, steps[is_last], values[is_last])
