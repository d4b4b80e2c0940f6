"""Targets of several outputs: their losses, metrics and baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, r2_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from torch import Tensor

from thalweg.tasks.baselines import MOST_VALUES, TREE_DEPTH, Scores
from thalweg.tasks.metrics import Metric, metrics_of
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.target import Target

LOSSES = {"classification": "cross_entropy", "regression": "mse", "multilabel": "bce"}
"""The loss of each task of a table."""


def metrics_for(target: Target) -> tuple[Metric, ...]:
    """The metrics of a target; of several outputs those of all together, then of each."""
    if target.task == "multilabel":
        return _LABELS
    if not target.scales:
        return metrics_of(target.task, target.deviation)
    return (_RMSE, _R2, *(row for i in range(target.num_outputs) for row in _of_one(target, i)))


def scores(
    inputs: np.ndarray, labels: np.ndarray, parts: Split, target: Target, seed: int
) -> dict[str, Scores]:
    """The baselines of several outputs on the test rows; labels as the model sees them."""
    is_labels = target.task == "multilabel"
    train, test = labels[parts.train], labels[parts.test]
    guess = _commonest(train) if is_labels else train.mean(axis=0, dtype=np.float64)
    label = f"always {_named(guess, target)}" if is_labels else "always the means"
    guesses = np.broadcast_to(guess, test.shape)
    found = {"constant": {"label": label, **_scored(guesses, test, target)}}
    if inputs[parts.train].size <= MOST_VALUES:
        most = np.finfo(np.float32).max
        kind = DecisionTreeClassifier if is_labels else DecisionTreeRegressor
        tree = kind(max_depth=TREE_DEPTH, random_state=seed)
        tree.fit(inputs[parts.train].clip(-most, most), train)
        predicted = np.asarray(tree.predict(inputs[parts.test].clip(-most, most)))
        words = {"label": f"decision tree, depth {TREE_DEPTH}"}
        found["tree"] = {**words, **_scored(predicted, test, target)}
    return found


def _scored(predicted: np.ndarray, actual: np.ndarray, target: Target) -> dict[str, float]:
    """The metrics of a baseline; labels as 0 and 1, numbers standardised."""
    rows = _LABEL_SCORES if target.task == "multilabel" else _NUMBER_SCORES
    return {name: measure(predicted, actual) for name, measure in rows.items()}


def _commonest(labels: np.ndarray) -> np.ndarray:
    """The set of labels that most rows have."""
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    return sets[counts.argmax()]


def _named(labels: np.ndarray, target: Target) -> str:
    names = [name for name, is_set in zip(target.classes, labels, strict=True) if is_set]
    return target.separator.join(names) or "no label"


def _whole_sets(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float((predicted == actual).all(axis=1).mean())


def _f1(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float(
        f1_score(actual, predicted, average="macro", zero_division=0)  # pyright: ignore[reportArgumentType]
    )


def _rmse(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float(np.sqrt(np.square(predicted.astype(np.float64) - actual).mean()))


def _r2(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float(r2_score(actual, predicted)) if len(actual) > 1 else float("nan")


_LABEL_SCORES = {"accuracy": _whole_sets, "f1": _f1}
_NUMBER_SCORES = {"rmse": _rmse, "r2": _r2}


def _of_sets(measure: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Any, Any], float]:
    """A metric of logits and labels: a label is predicted from a probability of one half on."""
    return lambda outputs, targets: measure((outputs >= 0).numpy() * 1.0, targets.numpy())


def _of_numbers(measure: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Any, Any], float]:
    return lambda outputs, targets: measure(outputs.double().numpy(), targets.double().numpy())


_LABELS = (
    Metric("accuracy", True, _of_sets(_whole_sets), "share of the rows whose labels are all right"),
    Metric("f1", True, _of_sets(_f1), "F1 of a label, its mean over all labels"),
)
_RMSE = Metric(
    "rmse", False, _of_numbers(_rmse), "typical size of an error, in deviations of each target"
)
_R2 = Metric("r2", True, _of_numbers(_r2), "share of variation explained, mean over the targets")


def _of_one(target: Target, place: int) -> tuple[Metric, ...]:
    """The metrics of one numeric target among several, in its own unit."""
    name = target.names[place]

    def alone(measure: Callable[[Any, Any], float]) -> Callable[[Tensor, Tensor], float]:
        return lambda outputs, targets: measure(outputs[:, place], targets[:, place])

    rows = metrics_of("regression", float(target.deviations[place]))
    return tuple(
        Metric(f"{row.name}_{name}", row.rises, alone(row.measure), row.words) for row in rows
    )
