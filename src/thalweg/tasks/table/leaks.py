"""Columns that give the target away: one of them alone predicts it almost perfectly.

A small tree looks at one column at a time, on a few rows first; what looks too good is looked at
again on more rows, each predicted by a tree that has not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

FIRST_ROWS, SECOND_ROWS = 2_000, 20_000
"""Rows that are looked at, at most: of every column, and of those that look too good."""

WIDE = 500
"""With more columns than this, the first look takes a quarter of the rows."""

ALMOST = {"classification": 0.99, "regression": 0.998}
"""Share of a constant's mistakes (of the ranks' variance) that a column must take away."""

LOOKS_GOOD = 0.9
"""A first look as good as this is worth a second."""

LEAST_MISTAKES = 20
"""Mistakes of the constant below which nothing can be said of how many a column takes away."""

LEAST_GAP = 0.25
"""What is left unexplained must be at most this part of what the best honest column leaves."""

MOST_LEAVES = 64
"""Of a tree, or twice the number of classes."""

FOLDS = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """A column that gives the target away; score: 1 is perfect, 0 is no better than a constant."""

    column: str
    score: float
    how: str

    def to_dict(self) -> dict[str, Any]:
        return {"column": self.column, "score": round(self.score, 5), "how": self.how}

    def __str__(self) -> str:
        return (
            f"column {self.column!r} gives the target away: alone it predicts it with a score of "
            f"{self.score:.4f} of 1 ({self.how}); left in; --drop {self.column} to leave it out"
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """Targets of the rows looked at, float64 ranks or class ids, and where those rows stand."""

    task: str
    rows: np.ndarray
    targets: np.ndarray

    def score(self, values: np.ndarray) -> float:
        """Of one column's values at `rows`: predicted out of fold, beside a constant."""
        predicted = self._predicted(values.astype(np.float64))
        if self.task == "classification":
            commonest = np.bincount(self.targets).max() / len(self.targets)
            return 1 - float((predicted != self.targets).mean()) / (1 - commonest)
        wrong = np.square(predicted - self.targets).mean()
        return 1 - float(wrong / self.targets.var())

    def _predicted(self, values: np.ndarray) -> np.ndarray:
        inputs = np.nan_to_num(_ranks(values), nan=-1.0)[:, None]
        predicted = np.empty_like(self.targets)
        fold = np.arange(len(values)) % FOLDS
        for k in range(FOLDS):
            here = fold == k
            predicted[here] = self._tree().fit(inputs[~here], self.targets[~here]).predict(
                inputs[here]
            )
        return predicted

    def _tree(self) -> DecisionTreeClassifier | DecisionTreeRegressor:
        if self.task == "classification":
            leaves = max(MOST_LEAVES, 2 * (int(self.targets.max()) + 1))
            return DecisionTreeClassifier(max_leaf_nodes=leaves, random_state=0)
        return DecisionTreeRegressor(max_leaf_nodes=MOST_LEAVES, random_state=0)


def leaks_of(
    columns: Mapping[str, np.ndarray], targets: np.ndarray, *, task: str, rows: np.ndarray
) -> list[Leak]:
    """Columns that give the target away, the worst first.

    columns: one value for each row, numbers or codes, NaN where missing; targets: class ids or
    numbers, of shape (n,); rows: those that may be looked at, the training and validation rows
    """
    first = FIRST_ROWS // 4 if len(columns) > WIDE else FIRST_ROWS
    looked = _looked(targets, rows, task, first)
    if looked is None or len(columns) < 2:
        return []
    scores = {name: looked.score(values[looked.rows]) for name, values in columns.items()}
    good = [name for name, score in scores.items() if score >= LOOKS_GOOD]
    again = _looked(targets, rows, task, SECOND_ROWS) if good else None
    if again is None:
        return []
    scores |= {name: again.score(columns[name][again.rows]) for name in good}
    return _too_good(scores, task, columns, again)


def _too_good(
    scores: Mapping[str, float], task: str, columns: Mapping[str, np.ndarray], looked: Looked
) -> list[Leak]:
    """Those almost perfect, where the others are far from it."""
    found = [name for name, score in scores.items() if score >= ALMOST[task]]
    honest = max((score for name, score in scores.items() if name not in found), default=0.0)
    found = [name for name in found if 1 - scores[name] <= LEAST_GAP * (1 - honest)]
    if 2 * len(found) > len(scores):  # an easy task, rather than a column too much
        return []
    return [
        Leak(name, min(1.0, scores[name]), _how(columns[name][looked.rows], looked))
        for name in sorted(found, key=lambda name: -scores[name])
    ]


def _how(values: np.ndarray, looked: Looked) -> str:
    """In what way a column tells the target."""
    if looked.task == "regression":
        return "a tree on this column alone"
    pairs = np.unique(np.stack([np.nan_to_num(values, nan=np.inf), looked.targets], axis=1), axis=0)
    num_values, num_classes = len(np.unique(pairs[:, 0])), len(np.unique(pairs[:, 1]))
    if num_values == num_classes == len(pairs):
        return "a value for each class"
    if num_values == len(values):
        return "a value for each row, in an order that goes with the target"
    return "a tree on this column alone"


def _looked(targets: np.ndarray, rows: np.ndarray, task: str, most: int) -> Looked | None:
    """At most so many rows, rare classes before common ones; None where too few to tell."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(rows)
    if task == "regression":
        chosen = rows[:most]
        ranks = _ranks(targets[chosen])
        return Looked(task, chosen, ranks) if len(chosen) >= 2 * LEAST_MISTAKES else None
    chosen = rng.permutation(rows[_evened(targets[rows], most)])
    counts = np.bincount(targets[chosen])
    if len(chosen) - counts.max() < LEAST_MISTAKES:
        return None
    return Looked(task, chosen, targets[chosen])


def _evened(classes: np.ndarray, most: int) -> np.ndarray:
    """Places of at most `most` rows: as many of each class as there are, up to a common number."""
    counts = np.sort(np.bincount(classes))
    counts = counts[counts > 0]
    left, limit = most, 0
    for i, count in enumerate(counts):
        limit = left // (len(counts) - i)
        if count > limit:
            break
        limit = count
        left -= count
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], classes[order])
    return order[np.arange(len(order)) - starts < max(1, limit)]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Each value's place among the distinct ones' rows, 0 .. 1, ties alike; NaN stays NaN."""
    known = ~np.isnan(values)
    ranks = np.full(len(values), np.nan)
    _, ids, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = (ends - (counts + 1) / 2) / max(1, known.sum())
    ranks[known] = middle[ids.reshape(-1)]
    return ranks
