"""A column in the order in which it was written, and how it is put in the order of its steps.

A run that is resumed goes back to its last checkpoint and writes those steps again: what the later
attempt wrote counts, and of the earlier one what it does not write again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.record.foreign.log import Series

MOST_RESTARTS = 0.02
"""Share of rows that may step back in a run that was resumed; beyond, its rows are in no order."""


@dataclass(frozen=True, slots=True)
class Points:
    """One column as it was written: steps (n,), values (n,), float64.

    clock: seconds (n,) on some clock at which each was written; None: not known
    """

    steps: np.ndarray
    values: np.ndarray
    clock: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def series(self, name: str) -> Series:
        """In the order of the steps; of a step that was written again, the last value."""
        keep = kept(self.steps)
        return Series(name, self.steps[keep], self.values[keep])


def kept(steps: np.ndarray) -> np.ndarray:
    """Indices of the rows that count, in the order of their steps; rows without a step do not.

    >>> kept(np.array([1.0, 2.0, 3.0, 2.0, 3.0])).tolist()
    [0, 3, 4]
    """
    known = np.flatnonzero(np.isfinite(steps))
    if is_orderly(steps[known]):
        after = np.minimum.accumulate(steps[known][::-1])[::-1]
        last = np.append(steps[known][:-1] < after[1:], True) if len(known) else known
        return known[last.astype(bool)]
    order = known[np.argsort(steps[known], kind="stable")]
    return order[np.append(np.diff(steps[order]) != 0, True)]


def is_orderly(steps: np.ndarray) -> bool:
    """Do the steps rise, but for restarts?"""
    return num_restarts(steps) <= max(3, MOST_RESTARTS * len(steps))


def num_restarts(steps: np.ndarray) -> int:
    """How often the steps go back."""
    return int(np.sum(np.diff(steps) < 0))


def said_of(points: Points, unit: str) -> list[str]:
    """What there is to say about the order of a column's rows."""
    steps = points.steps[np.isfinite(points.steps)]
    falls = np.flatnonzero(np.diff(steps) < 0)
    if not len(falls):
        return []
    if not is_orderly(steps):
        return [
            f"the {unit}s are in no order ({len(falls):,} of {len(steps):,} rows go back): sorted, "
            "and of each the last value is read; are several runs in this log?"
        ]
    at = falls[-1]
    times = "" if len(falls) == 1 else f", {len(falls)} times in all"
    return [
        f"the {unit}s go back from {steps[at]:,g} to {steps[at + 1]:,g}{times}: read as a run that "
        "was resumed, with what was written last"
    ]
