"""From which probability on the answer is the rarer of two classes: chosen on validation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from thalweg.tasks.measure import Seen
from thalweg.tasks.reading import Reading

HALF = 0.5

SURE = 2.0
"""Standard errors by which the accuracy must gain before a threshold other than a half is used."""

Counts = np.ndarray
"""Rows of the class that is looked for, or not, that lie above each threshold; or their weights."""


def _f1(hits: Counts, alarms: Counts, positive: float, negative: float) -> np.ndarray:
    return 2 * hits / np.maximum(hits + alarms + positive, 1e-300)


def _balanced(hits: Counts, alarms: Counts, positive: float, negative: float) -> np.ndarray:
    return (hits / positive + 1 - alarms / negative) / 2


def _accuracy(hits: Counts, alarms: Counts, positive: float, negative: float) -> np.ndarray:
    return (hits + negative - alarms) / (positive + negative)


CHOSEN_BY: dict[str, Callable[[Counts, Counts, float, float], np.ndarray]] = {
    "f1": _f1,
    "balanced_accuracy": _balanced,
    "accuracy": _accuracy,
}
"""Metrics that a threshold is chosen by: measure(hits, alarms, rows to find, other rows)."""


def chosen_threshold(reading: Reading, seen: Seen, metric: str, *, is_asked: bool) -> float | None:
    """The best threshold by the metric; None where a half is as good, or it cannot be told.

    seen: of the rows that validate. Between two probabilities that were seen it lies in the middle.
    Of equals the nearest to a half.
    is_asked: else it must gain SURE standard errors, so that chance moves nothing
    """
    measure = CHOSEN_BY.get(metric)
    if measure is None or seen.outputs is None or seen.targets is None:
        return None
    positive = reading.positive
    stated = reading.probabilities(seen.outputs)
    if stated.shape[1] != 2 or not np.isfinite(stated).all():
        return None
    truth = seen.targets.numpy().reshape(-1) == positive
    mass = np.ones(len(truth)) if seen.weights is None else seen.weights.double().numpy()
    found = _best(stated[:, positive], truth, mass, measure)
    if found is None or is_asked:
        return found
    return found if _gains(stated[:, positive], truth, found) else None


def _best(
    stated: np.ndarray,
    truth: np.ndarray,
    mass: np.ndarray,
    measure: Callable[[Counts, Counts, float, float], np.ndarray],
) -> float | None:
    total = float(mass[truth].sum()), float(mass[~truth].sum())
    if not min(total):
        return None
    order = np.argsort(-stated, kind="stable")
    ends = np.flatnonzero(np.diff(stated[order], append=-1.0))  # the last row of each probability
    hits = np.cumsum((mass * truth)[order])
    alarms = np.cumsum((mass * ~truth)[order])
    levels = stated[order][ends]
    below = np.append(levels[1:], 0.0)
    values = measure(hits[ends], alarms[ends], *total)
    middles = (levels + below) / 2
    best = np.flatnonzero(values >= values.max() - 1e-12)
    place = best[np.argmin(abs(middles[best] - HALF))]
    at_half = measure(
        np.array([(mass * truth)[stated > HALF].sum()]),
        np.array([(mass * ~truth)[stated > HALF].sum()]),
        *total,
    )
    return float(middles[place]) if values[place] > at_half[0] + 1e-12 else None


def _gains(stated: np.ndarray, truth: np.ndarray, threshold: float) -> bool:
    """Are more answers right than at a half, by more than chance? The answers that change count."""
    before, after = ((stated > level) == truth for level in (HALF, threshold))
    better, worse = int((after & ~before).sum()), int((before & ~after).sum())
    return better - worse > SURE * math.sqrt(better + worse)


def said_of(reading: Reading, metric: str, names: tuple[str, ...] | None) -> str | None:
    """In a line; None where the likelier class is the answer."""
    if reading.threshold is None:
        return None
    name = names[reading.positive] if names else str(reading.positive)
    return (
        f"the answer is {name!r} where its probability is above {reading.threshold:.3g}: the best "
        f"threshold on the validation rows by {metric}"
    )
