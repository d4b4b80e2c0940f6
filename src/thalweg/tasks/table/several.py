"""Targets of several outputs: their losses, metrics and baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from thalweg.tasks import scikit
from thalweg.tasks.baselines import MOST_VALUES, TREE_DEPTH, Scores
from thalweg.tasks.metrics import Metric, metrics_of
from thalweg.tasks.scores import Answers
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.target import Target

LOSSES = {"classification": "cross_entropy", "regression": "mse", "multilabel": "bce"}
"""The loss of each task of a table."""

_WORDS = {
    "rmse": "typical size of an error, in deviations of each target",
    "r2": "share of variation explained, mean over the targets",
}


def metrics_for(target: Target) -> tuple[Metric, ...]:
    """The metrics of a target; of several outputs those of all together, then of each."""
    if not target.scales:
        return metrics_of(target.task, target.deviation)
    rows = [replace(row, words=_WORDS[row.name]) for row in metrics_of("regression")]
    return (*rows, *(row for i in range(target.num_outputs) for row in _of_one(target, i)))


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
        tree = scikit.tree(of_classes=is_labels, max_depth=TREE_DEPTH, random_state=seed)
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
    return float(scikit.metrics().f1_score(actual, predicted, average="macro", zero_division=0))


def _rmse(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float(np.sqrt(np.square(predicted.astype(np.float64) - actual).mean()))


def _r2(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float(scikit.metrics().r2_score(actual, predicted)) if len(actual) > 1 else float("nan")


_LABEL_SCORES = {"accuracy": _whole_sets, "f1": _f1}
_NUMBER_SCORES = {"rmse": _rmse, "r2": _r2}


def _of_one(target: Target, place: int) -> tuple[Metric, ...]:
    """The metrics of one numeric target among several, in its own unit."""
    name, deviation = target.names[place], float(target.deviations[place])

    def alone(score: Callable[[Answers], float]) -> Callable[[Answers], float]:
        return lambda answers: score(
            replace(
                answers,
                outputs=answers.outputs[:, place],
                targets=answers.targets[:, place],
                deviation=deviation,
            )
        )

    return tuple(
        replace(row, name=f"{row.name}_{name}", score=alone(row.score))
        for row in metrics_of("regression")
        if row.score is not None
    )
