"""Logs that are lines of text, as Megatron, nanoGPT, progress bars and home-made loops print them.

Each line is taken apart into names with a number behind them: "iter 100: loss 2.34, time 12.1ms",
"step 250: train loss 1.91, val loss 2.02", "iteration 10/ 500 | lm loss: 2.3E+00 | grad norm: 1.2".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from thalweg.record.foreign.cells import Cells, cells_of, number_of
from thalweg.record.foreign.names import HELD, LOSSES, METRICS, SMOOTHED, TEST, TIMES, TRAIN, named
from thalweg.record.foreign.places import Place, place_of

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_WRAPPED = re.compile(r"\b(?:tensor|(?:np|numpy|jnp)\.\w+|[Aa]rray)\(")
_BACK = re.compile(r"\x08+")
_NUMBER = re.compile(
    r"(?<![\w.@])(?P<number>[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
    r"|nan|inf(?:inity)?))(?P<unit>[a-z%]+(?:/[a-z]+)?)?(?:\s*/\s*(?P<whole>\d+)(?![\w.]))?(?![\w:/]*\w)",
    re.IGNORECASE,
)
_SPEED = re.compile(r"(\d+\.?\d*)\s*(it/s|s/it|ms/step|s/step|us/step)")
_SPEEDS = {"it/s": None, "s/it": 1.0, "s/step": 1.0, "ms/step": 1e-3, "us/step": 1e-6}
_CUT = re.compile(r"[|,;{}\[\]\t]|\s-\s|\s{2,}|:|=")
_WORD = re.compile(r"[A-Za-z_][\w@./\-]*")
_UNITS = {"ms": " ms", "s": " s", "sec": " s", "secs": " s", "seconds": " s", "%": "", "": ""}

_SETS = {*TRAIN, *HELD, *TEST} - {"fit", "dev"}
_NOUNS = {*LOSSES, *METRICS, *TIMES, "lr", "rate", "norm", "gnorm", "step", "iter", "iteration"}
_NOUNS |= {"epoch", "update", "scale", "skipped", "iterations", "mfu", "batch"}
_BEFORE = {
    *_SETS,
    *SMOOTHED,
    "learning",
    "grad",
    "gradient",
    "lm",
    "total",
    "cross",
    "per",
    "global",
}
_BEFORE |= {"entropy", "validation", "loss", "step", "iter", "iteration", "epoch", "balanced"}


@dataclass(slots=True)
class _Reading:
    """What was read so far; is_part: of each row, whether it stands amid an epoch's bar

    pending: counters of a line without values, for those after it; shown: values of the last bar
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    is_part: list[bool] = field(default_factory=list)
    pending: dict[str, float] = field(default_factory=dict)
    longest_bar: float = 0.0
    shown: dict[str, float] = field(default_factory=dict)


def read_lines(text: str) -> Cells | None:
    """None where no line tells a loss or a metric."""
    reading = _Reading()
    for line in _BACK.sub("\n", _CONTROL.sub("", text)).splitlines():
        if line.strip():
            _read(reading, place_of(line))
    keep = [not part for part in reading.is_part]
    if not any(keep) or not any(named(n).is_loss for row in reading.rows for n in row):
        keep = [True] * len(reading.rows)
    rows = [row for row, is_kept in zip(reading.rows, keep, strict=True) if is_kept]
    if not rows:
        return None
    cells = cells_of(rows)
    stamps = np.array([s for s, is_kept in zip(reading.stamps, keep, strict=True) if is_kept])
    cells.stamps = stamps if np.isfinite(stamps).any() else None
    return cells


def _read(reading: _Reading, place: Place) -> None:
    """One line: a row where it has values; a mere counter stands for the lines after it."""
    counters = dict(place.counters)
    if "bar_of" in counters:
        reading.longest_bar = max(reading.longest_bar, counters["bar_of"])
        is_steps = counters.pop("bar_of") >= reading.longest_bar
        step = counters.pop("bar")
        counters |= {"step": step} if is_steps else {}
    values = dict(pairs(place.rest))
    if place.is_bar:
        is_old = 0.0 in (place.counters.get("batch"), place.counters.get("bar"))
        fresh = {} if is_old else {n: v for n, v in values.items() if reading.shown.get(n) != v}
        reading.shown |= values
        values = fresh
    if not any(_says(name) for name in values):
        reading.pending |= counters | {name: v for name, v in values.items() if _counts(name)}
        return
    row = counters | values
    kinds = {named(name).is_epoch for name in row if _counts(name)}
    row |= {n: v for n, v in reading.pending.items() if named(n).is_epoch not in kinds}
    reading.rows.append(row)
    reading.stamps.append(np.nan if place.stamp is None else place.stamp)
    reading.is_part.append(place.is_part)


def _counts(name: str) -> bool:
    return named(name).is_counter or named(name).is_epoch


def _says(name: str) -> bool:
    row = named(name)
    is_metric = row.has(set(METRICS))
    return row.is_loss or is_metric or row.has({"lr", "gnorm"}) or {"grad", "norm"} <= {*row.words}


def pairs(line: str) -> Iterator[tuple[str, float]]:
    """Names and numbers of a line; of a name that stands twice, the first.

    >>> dict(pairs("iter 100: loss 2.25, time 12.3ms, mfu 3.1%"))
    {'iter': 100.0, 'loss': 2.25, 'time ms': 12.3, 'mfu': 3.1}
    """
    seen: set[str] = set()
    for name, value in _pairs(line):
        if name not in seen:
            seen.add(name)
            yield name, value


def _pairs(line: str) -> Iterator[tuple[str, float]]:
    for speed in _SPEED.finditer(line):
        factor, number = _SPEEDS[speed[2]], float(speed[1])
        if factor or number:
            yield "seconds per it", factor * number if factor else 1.0 / number
    part, end, line = "", 0, _WRAPPED.sub("", line)
    for match in _NUMBER.finditer(line):
        chunk = line[end : match.start()]
        name = _name(chunk)
        if not name and not match["number"][-1].isdigit() and match["number"][-1] != ".":
            continue  # "number of nan iterations"
        end = match.end()
        words = [word for word in named(chunk).words if word in _SETS]
        part = words[-1] if words and (not name or "_" not in name) else part
        unit = _UNITS.get((match["unit"] or "").lower())
        value = number_of(match["number"].replace(",", ""))
        if name and unit is not None and value is not None:
            is_share = match["whole"] and named(name).has(set(METRICS))
            value = value / max(float(match["whole"]), 1.0) if is_share else value
            yield _in_set(name, part) + unit, value


def _name(chunk: str) -> str:
    """What the text before a number calls it; empty where it is no name.

    Before a colon, an equals sign or a bar's next part all words count; before mere space, those
    that people put before numbers.
    """
    bare = chunk.rstrip().rstrip("\"'")
    is_told = bare.endswith((":", "="))
    bare = bare.rstrip(":= ").rstrip("\"'")
    start = max((cut.end() for cut in _CUT.finditer(bare)), default=0)
    name = bare[start:].strip(" \"'*>#-:").replace("(", " ").replace(")", " ")
    words = name.split()
    if not words or words[-1].endswith(".py") or not _WORD.fullmatch(words[-1]):
        return ""
    if len(words) > 1 and (not is_told or "|" not in chunk):
        first = len(words) - 1
        while first and _is_before(words[first - 1]):
            first -= 1
        words = words[first:]
    last = named(words[-1])
    return " ".join(words).lower() if is_told or last.has(_NOUNS) or last.is_loss else ""


def _is_before(word: str) -> bool:
    return bool(set(named(word).words) & _BEFORE) and len(named(word).words) <= 2


def _in_set(name: str, part: str) -> str:
    """A metric or loss with the set that the words before it told."""
    row = named(name)
    is_own = row.has(_SETS) or not (row.is_loss or row.has(set(METRICS)))
    return name if is_own or not part else f"{part} {name}"


def tells_loss(line: str) -> bool:
    """Is one of a line's numbers a loss?"""
    return any(named(name).is_loss for name, _ in pairs(place_of(line).rest))
