"""At which step each line of a log was written: from the columns that count, or from the lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.record.foreign.cells import Cells
from thalweg.record.foreign.names import Named, named
from thalweg.record.foreign.points import is_orderly

BATCHES = "batches"
"""A column with the number of batches in an epoch, as readers of texts call it."""

_REPEATED = 0.3
"""Share of lines at the epoch of the line before, from which on an epoch has several."""

_NOT_SHORT = 0.5
"""Share of the longest run's lines from which on a run is not a short try."""


@dataclass(frozen=True, slots=True)
class Counted:
    """steps: of each line (n,), float64; unit: step, epoch or row; names: of columns that count"""

    steps: np.ndarray
    unit: str
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def counted(cells: Cells, given: str | None = None) -> Counted:
    """Steps where the log counts them, else epochs, else lines. given: the user's column."""
    rows = [named(name) for name in cells.names]
    epochs = [row.name for row in rows if row.is_epoch]
    epochs = [name for name in epochs if "epochs" not in named(name).words] or epochs
    if given is not None:
        return Counted(_filled(cells, (given,)), "step", (given,))
    counters = sorted((row for row in rows if row.is_counter), key=_order)
    names = _apart(cells, [row.name for row in counters if row.name != BATCHES])
    aside = (*names, *epochs, *(row.name for row in counters))
    if names:
        steps = _filled(cells, names)
        if epochs:
            steps = _over_epochs(cells, steps, _filled(cells, tuple(epochs)))
        if _counts(steps):
            return Counted(steps, "step", aside)
    if epochs:
        steps = _filled(cells, tuple(epochs[:1]))
        if _counts(steps):
            return Counted(steps, "epoch", aside)
    return Counted(np.arange(cells.num_rows, dtype=np.float64), "row", aside)


def by_rows(cells: Cells, now: Counted, name: str) -> Counted:
    """As it is; by lines where a column has several values to an epoch."""
    at = now.steps[cells.has[name]] if name in cells.has else now.steps[:0]
    num_epochs = len(np.unique(at))
    if now.unit != "epoch" or len(at) < 4 or num_epochs > 0.7 * len(at) or not is_orderly(at):
        return now
    if np.mean(np.diff(at) == 0) < _REPEATED:  # one value to an epoch, of several runs
        return now
    note = (
        f"{len(at):,} values of {name!r} in {num_epochs:,} epochs, and no column counts the steps: "
        "the lines are counted"
    )
    return Counted(np.arange(cells.num_rows, dtype=np.float64), "row", now.names, (note,))


def one_run(cells: Cells, now: Counted, name: str) -> Counted:
    """As it is; where a column begins anew, the lines of one run alone, the last that is not much
    shorter than the longest: the others are at no step.
    """
    lines = np.flatnonzero(cells.has[name]) if name in cells.has else np.zeros(0, dtype=int)
    steps = now.steps[lines]
    falls = np.flatnonzero(np.diff(steps) < 0) + 1
    if now.unit == "row" or not len(falls):
        return now
    rises = np.diff(steps)[np.diff(steps) > 0]
    usual = float(np.median(rises)) if len(rises) else 1.0
    is_few = now.unit == "epoch" or is_orderly(steps)
    if not (is_few and bool(np.all(steps[falls] <= steps[0] + usual))):
        return now
    sizes = np.diff(np.concatenate([[0], falls, [len(steps)]]))
    which = int(np.flatnonzero(sizes >= _NOT_SHORT * sizes.max())[-1])
    begins = np.append(0, lines[falls])
    ends = np.append(lines[falls], cells.num_rows)
    line = np.arange(cells.num_rows)
    is_in = (line >= begins[which]) & (line < ends[which])
    times = "anew" if len(falls) == 1 else f"anew {len(falls):,} times"
    note = (
        f"the {now.unit}s begin {times}: {len(sizes):,} runs, of which number {which + 1:,} is "
        "read, the last of the long ones"
    )
    found = np.where(is_in, now.steps, np.nan)
    return Counted(found, now.unit, now.names, (*now.notes, note))


def _order(row: Named) -> tuple[int, ...]:
    """Of columns that count, the best first."""
    return (-2 * row.has({"global", "updates"}) - row.has({"step", "steps"}), len(row.words))


def _apart(cells: Cells, names: list[str]) -> tuple[str, ...]:
    """The first, and those that count where it does not: "step 250: ..." beside "iter 250: ..."."""
    found = names[:1]
    for name in names[1:]:
        if not any((cells.has[name] & cells.has[other]).any() for other in found):
            found.append(name)
    return tuple(found)


def _filled(cells: Cells, names: tuple[str, ...]) -> np.ndarray:
    """The columns as one; a line without a number is at the last one's step."""
    steps = np.full(cells.num_rows, np.nan)
    for name in names:
        steps = np.where(np.isnan(steps), cells.values[name], steps)
    last = np.maximum.accumulate(np.where(np.isnan(steps), -1, np.arange(len(steps))))
    known = steps[np.maximum(last, 0)] if len(steps) else steps
    return np.where(last >= 0, known, _before(steps))


def _before(steps: np.ndarray) -> np.ndarray:
    """For lines before the first that counts: as many steps earlier as lie between two counts."""
    at = np.flatnonzero(~np.isnan(steps))
    if not len(at):
        return steps
    rises = np.diff(steps[at])
    between = np.min(rises[rises > 0], initial=np.inf)
    lines = at[0] - np.arange(len(steps))
    return np.maximum(steps[at[0]] - lines * (between if np.isfinite(between) else 0.0), 0.0)


def _over_epochs(cells: Cells, steps: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """Steps over the whole run where they begin anew in each epoch."""
    falls = np.flatnonzero(np.diff(steps) < 0)
    if not len(falls) or not np.all(np.diff(epochs[np.append(0, falls + 1)]) > 0):
        return steps
    if np.sum(np.diff(epochs) > 0) > 2 * len(falls) + 1:
        return steps
    rises = np.diff(steps)
    told = np.nanmax(cells.values[BATCHES]) if BATCHES in cells.values else 0.0
    seen = steps.max() - steps.min() + np.min(rises[rises > 0], initial=steps.max())
    return (epochs - epochs.min()) * (told if told > steps.max() else seen) + steps


def _counts(steps: np.ndarray) -> bool:
    """Does it rise, in lines that follow each other, and say where most lines are? Or does it fall
    all the way, as where the newest line stands first?
    """
    rises = np.sum(np.diff(steps) > 0)
    is_reversed = len(steps) > 2 and bool(np.all(np.diff(steps) < 0))
    return len(steps) == 1 or bool((rises or is_reversed) and np.isfinite(steps).all())
