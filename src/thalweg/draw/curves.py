"""The numbers of the report's curves: thinned so that nothing that matters is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.draw import scores, sentences
from thalweg.draw.markup import mapping

if TYPE_CHECKING:
    from thalweg.record.history import History
    from thalweg.types import Event

MAX_POINTS = 2_000
"""Points of one curve; a longer one keeps the lowest and highest step of each of its stretches."""
SMOOTH_POINTS = 400


def charts(history: History, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What page.js draws: by figure, its series, marks and stretches that were not finite."""
    steps, evaluations = history.steps, history.evaluations
    name = scores.main_metric(summary, evaluations)
    metric = _series(f"validation {name}", "checks", *sentences.validation(evaluations, name))
    lr = _series("learning rate", "train", *sentences.measured(steps, "lr"))
    return {
        "loss": _loss_chart(history),
        "metric": {"series": [metric], "format": "percent" if name == "accuracy" else "number"},
        "lr": {"series": [lr], "format": "rate"},
        "gradient": _norm_chart(*sentences.measured(steps, "gradient_norm")),
        "residuals": _scatter(mapping(history.results.get("residuals"))),
        "epoch": _steps_per_epoch(steps),
    }


def _loss_chart(history: History) -> dict[str, Any]:
    numbers, losses = sentences.measured(history.steps, "loss")
    at, checks = sentences.validation(history.evaluations, "loss")
    each = ("training loss", "training loss, smoothed")
    return {
        "series": [
            *_with_smooth(*each, numbers, losses),
            _series("validation loss", "checks", at, checks),
        ],
        "log": spans(losses, checks, decades=1.5),
        "marks": _marks(history.events),
        "broken": stretches(numbers, losses),
    }


def _norm_chart(numbers: np.ndarray, norms: np.ndarray) -> dict[str, Any]:
    return {
        "series": _with_smooth("measured", "smoothed", numbers, norms),
        "log": spans(norms, decades=0.5),
        "broken": stretches(numbers, norms),
    }


def _with_smooth(
    label: str, smooth_label: str, numbers: np.ndarray, values: np.ndarray
) -> list[dict[str, Any]]:
    """A curve drawn faintly with its smoothed line, or alone where it is too short to need one."""
    at, means = smooth(numbers, values)
    if not len(at):
        return [_series(label, "train", numbers, values)]
    faint = _series(label, "faint", numbers, values)
    return [faint, _series(smooth_label, "train", at, means)]


def _series(label: str, look: str, numbers: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """One curve, thinned; a value that is not finite becomes a gap."""
    kept = thin(values, MAX_POINTS)
    points = {"x": numbers[kept].tolist(), "y": _plottable(values[kept])}
    return {"label": label, "look": look, **points}


def _plottable(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.tolist()]


def thin(values: np.ndarray, limit: int) -> np.ndarray:
    """Indices to draw, at most `limit`, in order: the lowest and highest of each part of the run.

    The ends are kept, and the edges of stretches that are not finite, which make gaps in the line
    (of the first `limit` / 4 stretches; `stretches` keeps them all).
    """
    if len(values) <= limit:
        return np.arange(len(values))
    finite = np.flatnonzero(np.isfinite(values))
    bad = [edge for pair in _runs(~np.isfinite(values))[: limit // 4] for edge in pair]
    num_parts = max(1, (limit - len(bad)) // 2 - 1)
    parts = [part for part in np.array_split(finite, num_parts) if len(part)]
    lowest = [part[np.argmin(values[part])] for part in parts]
    highest = [part[np.argmax(values[part])] for part in parts]
    return np.unique(np.array([0, *lowest, *highest, *bad, len(values) - 1]))


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each unbroken stretch of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def stretches(numbers: np.ndarray, values: np.ndarray) -> list[tuple[int, int]]:
    """First and last step of each stretch whose values were not finite: none is ever left out."""
    return [(int(numbers[a]), int(numbers[b])) for a, b in _runs(~np.isfinite(values))]


def smooth(numbers: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the finite values around at most 400 steps, over a fortieth of the run each.

    Empty for runs too short to need it.
    """
    width = len(values) // 80
    if width < 1:
        return numbers[:0], values[:0]
    centres = np.unique(np.linspace(0, len(values) - 1, SMOOTH_POINTS).astype(int))
    around = [values[max(0, c - width) : c + width + 1] for c in centres]
    means = [_finite_mean(part) for part in around]
    return numbers[centres], np.array(means)


@np.errstate(over="ignore")
def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def spans(*columns: np.ndarray, decades: float) -> bool:
    """Whether all values are positive and their range spans more than so many powers of ten."""
    values = np.concatenate([column[np.isfinite(column)] for column in columns])
    if not len(values) or values.min() <= 0:
        return False
    return bool(np.log10(values.max()) - np.log10(values.min()) > decades)


MARKS = {
    "best": "best validation loss",
    "stop": "stopped",
    "lr": "learning rate set",
    "resume": "resumed",
    "nonfinite": "not finite",
    "skip": "skipped",
    "clip": "clipped",
    "rollback": "rolled back",
    "backoff": "learning rate lowered",
}
"""Events worth a line on the loss curve, in words."""

MOST_MARKS = 3
"""Of one kind; of the best and the stop only the last."""


def _marks(events: Sequence[Event]) -> list[dict[str, Any]]:
    """A line for the first few events of each kind, where the guard or the user did something."""
    found = []
    for kind, words in MARKS.items():
        some = [event for event in events if event.kind == kind and event.data.get("done", True)]
        some = some[-1:] if kind in ("best", "stop") else some[:MOST_MARKS]
        found += [(event.number, kind, f"{words}, step {event.number:,}") for event in some]
    return [{"x": number, "kind": kind, "label": label} for number, kind, label in found]


def _steps_per_epoch(steps: Mapping[str, Any]) -> float | None:
    numbers, epochs = sentences.measured(steps, "epoch")
    return float(numbers[-1] / epochs[-1]) if len(epochs) and epochs[-1] > 0 else None


def _scatter(residuals: Mapping[str, Any]) -> dict[str, Any]:
    actual, predicted = columns_of(residuals)
    keep = np.isfinite(actual) & np.isfinite(predicted)
    order = np.argsort(actual[keep], kind="stable")
    points = {"x": actual[keep][order].tolist(), "y": predicted[keep][order].tolist()}
    return {"series": [{"label": "a test row", "look": "points", **points}]}


def columns_of(residuals: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Actual and predicted values, float64 of one shape (n,)."""
    pair = (residuals.get(key) or () for key in ("actual", "predicted"))
    actual, predicted = (np.array(values, dtype=np.float64) for values in pair)
    return actual, predicted
