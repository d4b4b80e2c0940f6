"""Logs that are lines of text, as Megatron, nanoGPT, progress bars and home-made loops print them.

A line with values is a row. A line that only counts ("Epoch 3/10", or a bar) tells where the lines
after it stand, and one that only names a set ("Test:") whose values those are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from thalweg.record.foreign.cells import Cells, cells_of
from thalweg.record.foreign.names import METRICS, named
from thalweg.record.foreign.pairs import SETS, pairs
from thalweg.record.foreign.places import Place, place_of

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BACK = re.compile(r"\x08+")
_LEVEL = re.compile(r"^(?:DEBUG|INFO|WARNING):[\w.]+:", re.MULTILINE)
"""What Python's logging puts before each line where nobody set it up."""

MOST_LETTERS = 4_000
"""Of a line; a longer one is no line of a loop."""

_TITLE = re.compile(r"^\W*([A-Za-z]+)(?:\s\w+)?:\s*$")


_CODE = re.compile(r"^\s*(def \w+\(|class \w+.*:$|import \w|from [\w.]+ import |with .*:$)")
_LEAST_CODE = 8
"""Lines of Python by which a log is known to begin with the program that wrote it."""

_OF_WHOLE = re.compile(
    r"\b(?:iteration|iter|step|update)s?\W{0,12}(\d+)\s*/\s*(\d+)\b", re.IGNORECASE
)
"""A step of all that are planned: "iteration 1990/ 20000"."""


_STOPPED = re.compile(r"early[ _-]?stop(?!\w*[ :=]+(?:false|none|0))|stopped early", re.IGNORECASE)
LAST = 20
"""Lines at the end of a text in which a loop says why it ends."""


@dataclass(slots=True)
class _Reading:
    """What was read so far. is_part: of each row, whether it stands amid an epoch's bar

    pending: counters of a line without values, for those after it; shown: values of the last bar;
    part: the set that the line before named
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    is_part: list[bool] = field(default_factory=list)
    pending: dict[str, float] = field(default_factory=dict)
    longest_bar: float = 0.0
    shown: dict[str, float] = field(default_factory=dict)
    part: str = ""


def read_lines(text: str) -> Cells | None:
    """None where no line tells a loss, a metric, a learning rate or a norm."""
    reading = _Reading()
    for line in _after_program(_plain(text).splitlines()):
        if line.strip() and len(line) <= MOST_LETTERS:
            _read(reading, place_of(line))
    keep = ~np.array(reading.is_part, dtype=bool)
    if not any(not part and _has_loss(row) for row, part in zip(reading.rows, ~keep, strict=True)):
        keep[:] = True
    rows = [row for row, is_kept in zip(reading.rows, keep, strict=True) if is_kept]
    if not rows:
        return None
    cells = cells_of(rows)
    stamps = np.array(reading.stamps)[keep]
    cells.stamps = stamps if np.isfinite(stamps).any() else None
    return cells


def _plain(text: str) -> str:
    """Without colours, what was struck out, and levels of messages."""
    return _LEVEL.sub("", _BACK.sub("\n", _CONTROL.sub("", text)))


def _after_program(lines: list[str]) -> list[str]:
    """What a log says after the program that some print at its head, in which losses are set to 0;
    up to the rule that ends it, or else to its last line that is clearly Python.
    """
    code = [i for i, line in enumerate(lines) if _CODE.match(line)]
    if len(code) < _LEAST_CODE:
        return lines
    rule = next((i for i in range(code[-1], len(lines)) if re.match(r"^[=\-]{20,}$", lines[i])), 0)
    return lines[max(rule, code[-1]) + 1 :]


def _read(reading: _Reading, place: Place) -> None:
    counters = _counters(reading, place)
    values = pairs(place.rest, reading.part)
    if place.only_losses:
        values = {name: value for name, value in values.items() if "/" not in name}
        values = {n if named(n).is_loss else f"{n} loss": value for n, value in values.items()}
    title = _TITLE.match(place.rest)
    reading.part = title[1].lower() if title and title[1].lower() in SETS else ""
    if place.is_bar:
        is_old = 0.0 in (place.counters.get("batch"), place.counters.get("bar"))
        fresh = {} if is_old else {n: v for n, v in values.items() if reading.shown.get(n) != v}
        reading.shown |= values
        values = fresh
    if not any(_says(name) for name in values):
        reading.pending |= counters | {name: v for name, v in values.items() if _counts(name)}
        return
    share = counters.pop("share", 0.0)
    row = counters | values
    kinds = {named(name).is_epoch for name in row if _counts(name)}
    reading.pending = {n: v for n, v in reading.pending.items() if named(n).is_epoch not in kinds}
    row |= reading.pending
    epoch = next((name for name in row if named(name).is_epoch), None)
    if share and epoch is not None:
        row[epoch] += share
        reading.pending[epoch] = row[epoch]
    reading.rows.append(row)
    reading.stamps.append(np.nan if place.stamp is None else place.stamp)
    reading.is_part.append(place.is_part)


def _counters(reading: _Reading, place: Place) -> dict[str, float]:
    """A line's counters; a bar counts steps where none had a longer way to go."""
    counters = dict(place.counters)
    if "bar_of" in counters:
        whole, step = counters.pop("bar_of"), counters.pop("bar")
        reading.longest_bar = max(reading.longest_bar, whole)
        counters |= {"step": step} if whole >= reading.longest_bar else {}
    return counters


@lru_cache(maxsize=4096)
def _counts(name: str) -> bool:
    return named(name).is_counter or named(name).is_epoch


@lru_cache(maxsize=4096)
def _says(name: str) -> bool:
    row = named(name)
    is_other = row.has({"lr", "gnorm", "skipped"}) or {"grad", "norm"} <= {*row.words}
    return row.is_loss or is_other or row.has(set(METRICS))


def _has_loss(row: dict[str, float]) -> bool:
    return any(named(name).is_loss for name in row)


def tells_loss(line: str) -> bool:
    """Is one of a line's numbers a loss?"""
    return _has_loss(pairs(place_of(line).rest))


def stopped_early(lines: Sequence[str]) -> bool:
    """Do its last lines tell that it was stopped because nothing got better?"""
    return any(_STOPPED.search(line) for line in lines[-LAST:])


def planned_steps(lines: Iterable[str], cells: Cells) -> int | None:
    """How many steps are planned, where each line tells the same; None where epochs are counted as
    well, for then they may be those of an epoch.
    """
    if any(named(name).is_epoch for name in cells.names):
        return None
    found = [match for line in lines if (match := _OF_WHOLE.search(line))]
    wholes = {int(match[2]) for match in found}
    steps = [int(match[1]) for match in found]
    is_one = len(wholes) == 1 and len(steps) > 1 and steps[-1] == max(steps) <= max(wholes)
    return wholes.pop() if is_one else None
