"""A series as detectors look at it: at most some 200 points, each with its own error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.record.foreign.log import Series

POINTS = 150
"""About as many points does a curve have, medians of so many neighbours as that takes."""

MAD = 1.4826
"""A normal distribution's standard deviation by its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The finite part of a series.

    t, v: steps (m,) and values (m,), medians of neighbours; error: the standard error of one v
    raw_t, raw_v: all finite points (n,); noise: the standard deviation of one of them around v
    bad: steps at which the value was not finite
    """

    t: np.ndarray
    v: np.ndarray
    error: float
    raw_t: np.ndarray
    raw_v: np.ndarray
    noise: float
    bad: np.ndarray

    @classmethod
    def of(cls, series: Series | None) -> Curve | None:
        """None where the series is not there or never finite."""
        if series is None:
            return None
        is_finite = np.isfinite(series.values)
        t, v = series.steps[is_finite], series.values[is_finite]
        bad = series.steps[~is_finite]
        if len(v) == 0:
            return None
        size = max(1, len(v) // POINTS)
        if size < 5:
            noise = noise_of(v)
            return cls(t, v, noise, t, v, noise, bad)
        count = len(v) // size * size
        parts = v[:count].reshape(-1, size)
        mids = np.median(parts, axis=1)
        noise = float(MAD * np.median(np.abs(parts - mids[:, None])))
        times = t[:count].reshape(-1, size).mean(axis=1)
        return cls(times, mids, 1.25 * noise / size**0.5, t, v, noise, bad)

    def __len__(self) -> int:
        return len(self.v)

    @property
    def calm(self) -> np.ndarray:
        """v with each point replaced by the median of three: one outlier does not show."""
        if len(self.v) < 3:
            return self.v
        three = np.stack([self.v[:-2], self.v[1:-1], self.v[2:]])
        return np.concatenate([self.v[:1], np.median(three, axis=0), self.v[-1:]])

    @property
    def first(self) -> float:
        """Where it began."""
        return float(self.v[0])

    @property
    def last(self) -> float:
        """Where it ended: the median of the last twentieth."""
        return float(np.median(self.v[-max(1, len(self.v) // 20) :]))

    @property
    def best_at(self) -> int:
        """The index of the lowest point."""
        calm = self.calm
        inner = calm[:-1] if len(calm) > 3 else calm  # the last point has nothing to calm it
        return int(np.argmin(inner)) if self.last > inner.min() else len(calm) - 1

    @property
    def best(self) -> float:
        """The lowest value, one outlier aside."""
        return float(min(self.calm[self.best_at], self.last))

    @property
    def progress(self) -> float:
        """How far it fell, >= 0."""
        return max(0.0, self.first - self.best)

    def part(self, begin: float, end: float) -> np.ndarray:
        """Values between two shares of the run, 0 to 1; at least one."""
        low = min(len(self.v) - 1, int(begin * len(self.v)))
        return self.v[low : max(low + 1, int(np.ceil(end * len(self.v))))]

    @property
    def fall(self) -> tuple[float, float]:
        """How much lower the last third is than the first tenth, and the error of that."""
        start, end = self.part(0.0, 0.1), self.part(2 / 3, 1.0)
        error = self.error * float(np.sqrt(1 / len(start) + 1 / len(end)))
        return float(np.mean(start) - np.mean(end)), error

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Its value at other steps, straight lines between."""
        return np.interp(steps, self.t, self.v)


def noise_of(values: np.ndarray) -> float:
    """The standard deviation of independent noise on a smooth curve, from how each point differs
    from the mean of its two neighbours; 0 for fewer than three points.
    """
    if len(values) < 3:
        return 0.0
    apart = values[1:-1] - (values[:-2] + values[2:]) / 2
    return float(MAD * np.median(np.abs(apart)) / 1.5**0.5)
