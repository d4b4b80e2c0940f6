"""What other samples score besides their loss: accuracy, r2, average precision, word errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from thalweg.health.curve import Curve
from thalweg.health.view import View

RISING = ("accuracy", "r2", "map", "f1", "auc", "iou", "dice", "bleu", "rouge")
FALLING = ("wer", "cer", "error")
"""Scores of which more is better, and errors, between 0 and 1 or in per cent: the first tells."""

CLEAR = 0.05
"""A score that has gained so much has clearly gained."""


@dataclass(frozen=True, slots=True)
class Score:
    """One score. lost: how much worse it is at the end than at its best; rose: has it clearly
    become better? Both between 0 and 1.
    """

    name: str
    lost: float
    rose: bool


def scores(view: View) -> Iterator[Score]:
    """Those of validation that were measured five times at least, the most telling first."""
    for name in (*RISING, *FALLING):
        curve = Curve.of(view.log.get(f"validation_{name}"))
        if curve is None or len(curve) < 5:
            continue
        sign = 1.0 if name in RISING else -1.0
        whole = 100.0 if float(curve.calm.max()) > 1.5 else 1.0
        best = sign * float((sign * curve.calm).max())
        gained, lost = sign * (best - curve.first) / whole, sign * (best - curve.last) / whole
        yield Score(name, lost, gained > max(CLEAR, 4 * curve.error / whole))
