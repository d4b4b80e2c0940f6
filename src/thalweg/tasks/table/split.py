"""Which rows train, which choose the weights, and which are only scored at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.errors import DataError

LEAST_ROWS = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Row indices (int64, ascending) of the three parts; together every row, once."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(num_rows: int, *, seed: int, strata: np.ndarray | None = None, share: float) -> Split:
    """Random parts: `share` (0 .. 0.5) of the rows to validate, as much to test.

    strata: class ids of shape (num_rows,); each class is then shared out alike, and every class is
    trained on (at a share of up to 0.1)
    Raises DataError for fewer than LEAST_ROWS rows, or of classes that have more than one.
    """
    if num_rows < LEAST_ROWS:
        raise DataError(
            f"{num_rows} rows are too few: train, validation and test need at least {LEAST_ROWS}"
        )
    order = np.random.default_rng(seed).permutation(num_rows)
    if strata is not None:
        order = _by_class(order, strata)
    if len(order) < LEAST_ROWS:
        raise DataError(
            "nearly every class has only one row: classes need several rows each to be learnt"
        )
    held = max(1, round(len(order) * share))
    places = np.linspace(0, len(order) - 1, 2 * held + 2)[1:-1].round().astype(np.int64)
    validation, test = np.sort(order[places[0::2]]), np.sort(order[places[1::2]])
    train = np.setdiff1d(np.arange(num_rows), np.concatenate([validation, test]))
    return Split(train, validation, test)


def _by_class(order: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The rows class by class, so that evenly spaced ones share every class out alike.

    A class with a single row is left out: its row trains.
    """
    _, ids, counts = np.unique(strata, return_inverse=True, return_counts=True)
    order = order[counts[ids[order]] > 1]
    return order[np.argsort(strata[order], kind="stable")]
