"""Two logs of what should be the same run: where they part, and what differed before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.health.curve import Curve
from thalweg.health.view import number
from thalweg.record.foreign.log import LOSS, LR, NORM, VALIDATION, Log

APART = 4.0
"""Standard errors between two curves that go their own ways."""

IN_A_ROW = 5
"""Points in a row that it takes."""

WORDS = {
    LR: "learning rate",
    NORM: "gradient's norm",
    LOSS: "training loss",
    VALIDATION: "validation loss",
}
"""In the order in which a cause comes before its effect."""


@dataclass(frozen=True, slots=True)
class Parting:
    """A column in which two logs part. step: from which on, to the end or for long; mine, theirs:
    the values there
    """

    role: str
    step: float
    mine: float
    theirs: float

    def __str__(self) -> str:
        return (
            f"{WORDS.get(self.role, self.role)} from step {self.step:,.10g} on: "
            f"{number(self.mine)}, there {number(self.theirs)}"
        )


def partings(log: Log, good: Log) -> list[Parting]:
    """Every column that both have and in which they part, the earliest first."""
    found = [part for role in WORDS if (part := _parting(role, log, good)) is not None]
    order = list(WORDS)
    return sorted(found, key=lambda part: (part.step, order.index(part.role)))


def _parting(role: str, log: Log, good: Log) -> Parting | None:
    mine, theirs = Curve.of(log.get(role)), Curve.of(good.get(role))
    if mine is None or theirs is None:
        return None
    inside = (mine.t >= theirs.t[0]) & (mine.t <= theirs.t[-1])
    steps = mine.t[inside]
    if len(steps) == 0:
        return None
    ours, other = mine.v[inside], theirs.at(steps)
    exact = role == LR
    error = np.hypot(mine.error, theirs.error) + (0 if exact else 0.01 * np.abs(other))
    apart = np.abs(ours - other) > (1e-3 * np.abs(other) if exact else APART * error)
    bad = mine.bad[(mine.bad >= theirs.t[0]) & (mine.bad <= theirs.t[-1])]
    at = _first_run(apart)
    if at is not None and (not len(bad) or steps[at] <= bad[0]):
        return Parting(role, float(steps[at]), float(ours[at]), float(other[at]))
    if len(bad):
        there = theirs.at(bad[:1])
        return Parting(role, float(bad[0]), float("nan"), float(there[0]))
    return None


def _first_run(apart: np.ndarray) -> int | None:
    """Where the first long row of points that lie apart begins."""
    needed = min(IN_A_ROW, max(1, len(apart) // 4))
    length = 0
    for i, is_apart in enumerate(apart):
        length = length + 1 if is_apart else 0
        if length == needed:
            return i - needed + 1
    return None


def differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that both name and that are not alike."""
    return {
        name: (value, theirs[name])
        for name, value in mine.items()
        if name in theirs and theirs[name] != value
    }


def sentence(parts: list[Parting], good: Log) -> str:
    """Where the two part, in one sentence."""
    if not parts:
        return f"nowhere beyond their noise do they part from {good.source}"
    return f"they part from {good.source} in the " + "; then in the ".join(map(str, parts))
