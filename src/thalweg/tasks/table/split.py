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


def split(
    num_rows: int,
    *,
    seed: int,
    strata: np.ndarray | None = None,
    share: float,
    test_share: float | None = None,
) -> Split:
    """Random parts: `share` of the rows to validate, `test_share` to test (None: as much); 0 is
    none.

    strata: class ids of shape (num_rows,); each class is then shared out alike, and every class is
    trained on (at a share of up to 0.1)
    Raises DataError for fewer than LEAST_ROWS rows, or of classes that have more than one.
    """
    check_count(num_rows)
    order = np.random.default_rng(seed).permutation(num_rows)
    if strata is not None:
        order = _by_class(order, strata)
    if len(order) < LEAST_ROWS:
        raise DataError(
            "nearly every class has only one row: classes need several rows each to be learnt"
        )
    shares = (share, share if test_share is None else test_share)
    validation, test = spread(order, *(num_of(len(order), share) for share in shares))
    return rest_trains(num_rows, validation, test)


def check_count(num_rows: int) -> None:
    """Raise DataError for too few rows to share out."""
    if num_rows < LEAST_ROWS:
        raise DataError(
            f"{num_rows} rows are too few: train, validation and test need at least {LEAST_ROWS}"
        )


def num_of(num_rows: int, share: float) -> int:
    """Rows that a share stands for: at least one, but none for none."""
    return max(1, round(num_rows * share)) if share else 0


def spread(order: np.ndarray, num_validation: int, num_test: int) -> tuple[np.ndarray, np.ndarray]:
    """So many rows each to validate and to test, evenly spaced in `order` and taking turns."""
    held = num_validation + num_test
    if held == 0:
        return order[:0], order[:0]
    places = np.linspace(0, len(order) - 1, held + 2)[1:-1].round().astype(np.int64)
    turns = -(-np.arange(held + 1) * num_validation // held)
    is_validation = np.diff(turns) > 0
    return np.sort(order[places[is_validation]]), np.sort(order[places[~is_validation]])


def rest_trains(num_rows: int, validation: np.ndarray, test: np.ndarray) -> Split:
    """The split whose other rows train. Raises DataError where none is left."""
    trains = np.ones(num_rows, dtype=bool)
    trains[validation] = trains[test] = False
    train = np.flatnonzero(trains)
    if len(train) == 0:
        raise DataError(
            f"of {num_rows:,} rows {len(validation):,} validate and {len(test):,} test: none is "
            "left to train on; ask for smaller shares"
        )
    return Split(train, validation, test)


def _by_class(order: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The rows class by class, so that evenly spaced ones share every class out alike.

    A class with a single row is left out: its row trains.
    """
    _, ids, counts = np.unique(strata, return_inverse=True, return_counts=True)
    order = order[counts[ids[order]] > 1]
    return order[np.argsort(strata[order], kind="stable")]
