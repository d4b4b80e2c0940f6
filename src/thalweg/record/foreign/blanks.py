"""Values that are no numbers, where a tool leaves their cells blank.

A column that was filled in whenever its companions were, and from some line on is not while they
go on, was NaN from there on. (Where its companions have values at other lines too, as those of an
evaluation beside those of a step, blanks say nothing.)
"""

from __future__ import annotations

import numpy as np

from thalweg.record.foreign.cells import Cells
from thalweg.record.foreign.names import named

_TOGETHER = 0.9
"""Share of the lines with a value in which companions both have one."""


def lost_rows(cells: Cells, name: str) -> np.ndarray:
    """Lines below the column's last value in which at least half of its companions have values.

    What counts the lines is a companion only where there is no other.
    """
    has = cells.has[name]
    present = np.flatnonzero(has)
    if not len(present) or present[-1] == cells.num_rows - 1:
        return present[:0]
    last = int(present[-1])
    beside = [other for other in cells.names if other != name and _go_together(cells, name, other)]
    told = [other for other in beside if not (named(other).is_counter or named(other).is_epoch)]
    if not beside:
        return present[:0]
    count = np.sum([cells.has[other][last + 1 :] for other in told or beside], axis=0)
    is_lost = 2 * count >= len(told or beside)
    if not told:  # lines of an evaluation, at the end of the run, are counted too
        others = [each for each in cells.names if each not in (name, *beside)]
        for other in others:
            is_lost &= ~cells.has[other][last + 1 :]
    return np.flatnonzero(is_lost) + last + 1


def _go_together(cells: Cells, name: str, other: str) -> bool:
    """Up to the last value of a column: does another one stand in the same lines?"""
    last = int(np.flatnonzero(cells.has[name])[-1])
    ours, theirs = cells.has[name][: last + 1], cells.has[other][: last + 1]
    return bool(np.sum(ours & theirs) >= _TOGETHER * max(np.sum(ours), np.sum(theirs)))
