"""Seconds per step, from what a log tells of time: durations, speeds, or readings of a clock."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from thalweg.record.foreign.log import Series
from thalweg.record.foreign.names import EPOCHS, HELD, STEPS, TEST, Named, named
from thalweg.record.foreign.points import Points, is_orderly, kept

_OF_PART = {"data", "load", "loading", "forward", "backward", "eta", "remaining", "left", "logging"}
_OF_PART |= {
    "tok",
    "tokens",
    "samples",
    "examples",
    "sample",
    "words",
    "gen",
    "generation",
    "total",
}
_OF_PART |= (
    {"preprocess", "communication", "comm", "submission", "score", "lr", "flops"} | HELD | TEST
)
_COUNTS = {"iterations", "steps", "timesteps", "epochs"}
"""A last word that says that steps are counted, as in "time/iterations"."""

_CLOCKS = {"timestamp", "wall", "walltime", "clock", "elapsed", "duration", "runtime", "total"}


def seconds_of(columns: Mapping[str, Points], loss: str | None) -> Series | None:
    """Seconds per step; None where the log tells no time. loss: the column whose clock counts."""
    rows = [named(name) for name in columns]
    fit = [row for row in rows if row.is_time and (not row.has(_OF_PART) or row.has(_CLOCKS))]
    fit = [row for row in fit if not row.has(HELD | TEST | {"eta", "tok", "accumulated"})]
    fit = [row for row in fit if row.words[-1] not in _COUNTS or row.has({"per"})]
    if loss is not None and loss in columns and not is_orderly(columns[loss].steps):
        return None  # lines of several runs, perhaps of several machines
    for row in sorted(fit, key=lambda row: (*_order(row), -len(columns[row.name]))):
        found = _told(row, columns[row.name])
        if found is not None:
            return found
    points = columns.get(loss or "")
    if points is None or points.clock is None:
        return None
    return _from_clock("clock", Points(points.steps, points.clock))


def _order(row: Named) -> tuple[bool, bool]:
    """What tells a step's time first, then what tells less of it."""
    is_step = row.has(STEPS | {"dt"}) and not row.has(EPOCHS)
    return (not is_step, row.has(_CLOCKS | {"train"}))


def _told(row: Named, points: Points) -> Series | None:
    words = set(row.words)
    if ("second" in words and "per" in words) or row.words[-1] in {"ups"}:
        if not row.has(STEPS | {"ups"}):
            return None
        rising = points.values > 0
        values = np.divide(1.0, points.values, where=rising, out=np.full(len(points), np.nan))
        return _series(row.name, Points(points.steps, values))
    factor = 1e-3 if row.has({"ms", "millis", "milliseconds", "msec"}) else 1.0
    scaled = Points(points.steps, points.values * factor)
    if row.words[-2:] == ("avg", "ms") or not _is_clock(row, scaled.values):
        return _series(row.name, scaled)
    return _from_clock(row.name, scaled)


def _is_clock(row: Named, values: np.ndarray) -> bool:
    """Does it rise from line to line, as a clock does and durations do not?"""
    if len(values) < 2 or row.has(STEPS | {"dt", "avg"}):
        return False
    rises = np.diff(values[np.isfinite(values)])
    if row.has({"timestamp", "wall", "walltime", "clock"}):
        return True
    least = 3 if row.has(_CLOCKS) else 4
    rising = len(values) >= least and bool(np.mean(rises > 0) > 0.95)
    return rising and values[-1] > values[0] * 2


def _from_clock(name: str, points: Points) -> Series | None:
    """From readings: what passed since the reading before, by the steps in between."""
    keep = kept(points.steps)
    steps, clock = points.steps[keep], points.values[keep]
    if np.nanmax(clock, initial=0.0) > 1e11:
        clock = clock / 1e3  # milliseconds since 1970
    passed, taken = np.diff(clock), np.diff(steps)
    is_known = (passed >= 0) & (taken > 0)
    usual = np.median(taken[taken > 0]) if is_known.any() else 0.0
    is_known &= taken >= usual / 2  # of few steps the clock tells what an evaluation took
    if not is_known.any() or not (passed[is_known] > 0).any():
        return None
    return Series(name, steps[1:][is_known], passed[is_known] / taken[is_known])


def _series(name: str, points: Points) -> Series | None:
    found = points.series(name)
    is_time = np.isfinite(found.values) & (found.values >= 0)
    if not found.values[is_time].any():
        return None
    return Series(name, found.steps[is_time], found.values[is_time])
