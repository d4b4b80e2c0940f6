"""Two models that ask for no descent, scored beside every result so that nobody is fooled."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from thalweg.tasks import scikit

TREE_DEPTH = 6

MOST_VALUES = 50_000_000
"""Input values of the training set above which no tree is grown."""

MOST_ROWS = 200_000
"""Training rows of a table that a tree is grown on, evenly spread: its 64 leaves need no more."""

SMALL = 1e-3
"""A column without a larger value is brought to 1."""

Scores = dict[str, Any]


def scores(
    train: tuple[np.ndarray | None, np.ndarray],
    test: tuple[np.ndarray | None, np.ndarray],
    names: tuple[str, ...] | None,
    seed: int,
) -> dict[str, Scores]:
    """Of both on the test set; (inputs, targets) of each set, no inputs where there are too many.

    names: the classes by id; None for regression
    """
    found = {"constant": constant(train[1], test[1], names)}
    if train[0] is not None and test[0] is not None and train[0].size <= MOST_VALUES:
        found["tree"] = tree(
            (train[0], train[1]), (test[0], test[1]), is_classification=names is not None, seed=seed
        )
    return found


def some_of(rows: np.ndarray) -> np.ndarray:
    """Those of the training rows that a tree is grown on."""
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(np.int64)]


def constant(train: np.ndarray, test: np.ndarray, names: tuple[str, ...] | None) -> Scores:
    """Scores of the commonest class (`names` by id) or, with names None, of the mean."""
    if names is not None:
        commonest = int(np.bincount(train).argmax())
        label = f"always {names[commonest]}"
        return {"label": label, "accuracy": float((test == commonest).mean())}
    mean = float(train.mean(dtype=np.float64))
    return {"label": f"always the mean, {mean:.4g}", **errors(np.full(len(test), mean), test)}


def tree(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    is_classification: bool,
    seed: int,
) -> Scores:
    """Test scores of a tree of depth TREE_DEPTH; inputs (n, columns), targets (n,)."""
    model = scikit.tree(of_classes=is_classification, max_depth=TREE_DEPTH, random_state=seed)
    scale = _scale(train[0])
    unit = 1.0 if is_classification else float(train[1].std()) or 1.0
    model.fit(_seen(train[0], scale), train[1] if is_classification else train[1] / unit)
    predicted = model.predict(_seen(test[0], scale))
    label = f"decision tree, depth {TREE_DEPTH}"
    label += f", of {MOST_ROWS:,} rows" if len(train[1]) == MOST_ROWS else ""
    if is_classification:
        return {"label": label, "accuracy": float((predicted == test[1]).mean())}
    return {"label": label, **errors(predicted * unit, test[1])}


def _scale(inputs: np.ndarray) -> np.ndarray | None:
    """What small columns are divided by: scikit-learn takes values 1e-7 apart for the same. None:
    there are no small ones.
    """
    if inputs.dtype.kind != "f":
        return None
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of columns of NaN
        largest = np.nanmax(np.abs(inputs), axis=0)
    is_small = (largest > 0) & (largest < SMALL)
    return np.where(is_small, largest, 1.0) if is_small.any() else None


def _seen(inputs: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Within the range of float32, beyond which scikit-learn refuses numbers; NaN stays NaN."""
    inputs = inputs if scale is None else inputs / scale
    if inputs.dtype.kind != "f" or (inputs.dtype == np.float32 and not np.isinf(inputs).any()):
        return inputs
    most = np.finfo(np.float32).max
    return inputs.clip(-most, most)


def errors(predicted: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """rmse and r2 of predictions, both of shape (n,)."""
    wrong = np.square(predicted.astype(np.float64) - actual)
    spread = np.square(actual - actual.mean(dtype=np.float64)).sum(dtype=np.float64)
    r2 = 1 - wrong.sum() / spread if spread > 0 else float("nan")
    return {"rmse": float(np.sqrt(wrong.mean())), "r2": float(r2)}
