"""Columns that give the target away: one of them alone predicts it almost perfectly.

One column at a time is looked at, on a few rows and by bins of its values first; what looks too
good is looked at again, on more rows and by a small tree. Either predicts rows it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.tasks import scikit

FIRST_ROWS, SECOND_ROWS = 2_000, 20_000
"""Rows that are looked at, at most: of every column, and of those that look too good."""

MOST_SAMPLED = 500_000
"""Rows, picked at random, out of which those are taken."""

WIDE = 500
"""With more columns than this, the first look takes a quarter of the rows."""

ALMOST = {"classification": 0.99, "regression": 0.998}
"""Share of a constant's mistakes (of the ranks' variance) that a column must take away."""

LOOKS_GOOD = 0.9
"""A first look as good as this is worth a second."""

LEAST_MISTAKES, LEAST_OF_MAPPING = 50, 10
"""Mistakes of the constant below which nothing can be said of how many a column takes away; where
the column has a value for each class, fewer are enough.
"""

LEAST_GAP = 0.25
"""What is left unexplained must be at most this part of what the best honest column leaves."""

MOST_LEAVES = 64
"""Of a tree, or twice the number of classes."""

ROWS_PER_BIN = 4
"""In the first look, and each of the distinct values has a bin where these are fewer."""

FOLDS = 3

MAPPING = "a value for each class"

Look = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Rows -> one value of each column in each of them: numbers or codes, NaN where missing."""

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(values, targets, other values) -> targets of the others; values: ranks, -1 where missing."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A column that gives the target away; score: 1 is perfect, 0 is no better than a constant.

    what: is given away: the target, or which one of several, or which label
    """

    column: str
    score: float
    how: str
    what: str = "the target"

    def to_dict(self) -> dict[str, Any]:
        known = {"column": self.column, "score": round(self.score, 5), "how": self.how}
        return {**known, "what": self.what}

    def __str__(self) -> str:
        return (
            f"column {self.column!r} gives {self.what} away: alone it predicts it with a score of "
            f"{self.score:.4f} of 1 ({self.how}); left in; --drop {self.column} to leave it out"
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """The rows that are looked at, and their targets: float64 ranks, or class ids."""

    task: str
    rows: np.ndarray
    targets: np.ndarray

    @property
    def is_telling(self) -> bool:
        """Are there mistakes enough to be taken away?"""
        return self.num_mistakes >= LEAST_MISTAKES

    @property
    def num_mistakes(self) -> int:
        """Of a constant; for numbers, half the rows."""
        if self.task == "regression":
            return len(self.rows) // 2
        return len(self.rows) - int(np.bincount(self.targets).max())

    def score(self, values: np.ndarray, predict: Predict) -> float:
        """Of one column's values at `rows`: predicted out of fold, beside a constant."""
        predicted = self._predicted(np.nan_to_num(_ranks(values), nan=-1.0), predict)
        if self.task == "classification":
            commonest = np.bincount(self.targets).max() / len(self.targets)
            return 1 - float((predicted != self.targets).mean() / (1 - commonest))
        wrong = np.square(predicted - self.targets).mean()
        return 1 - float(wrong / self.targets.var())

    def _predicted(self, inputs: np.ndarray, predict: Predict) -> np.ndarray:
        predicted = np.empty_like(self.targets)
        fold = np.arange(len(inputs)) % FOLDS
        for k in range(FOLDS):
            here = fold == k
            predicted[here] = predict(inputs[~here], self.targets[~here], inputs[here])
        return predicted


def by_bins(inputs: np.ndarray, targets: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What most rows of a value's bin are, or the mean over them; targets: class ids or numbers."""
    levels = np.unique(inputs)
    edges = np.quantile(levels, np.linspace(0, 1, 1 + max(1, len(inputs) // ROWS_PER_BIN)))
    edges = levels if len(levels) < len(edges) else np.unique(edges)
    bins, place = (_bins(edges, values) for values in (inputs, new))
    if targets.dtype.kind == "i":
        num_classes = int(targets.max()) + 1
        counts = np.bincount(bins * num_classes + targets, minlength=len(edges) * num_classes)
        return counts.reshape(len(edges), num_classes).argmax(axis=1)[place]
    counts = np.bincount(bins, minlength=len(edges))
    return (np.bincount(bins, targets, minlength=len(edges)) / counts.clip(min=1))[place]


def _bins(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The last edge that is not above each value; of values below all, the first."""
    return (np.searchsorted(edges, values, side="right") - 1).clip(min=0)


def by_tree(inputs: np.ndarray, targets: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What a small tree says."""
    of_classes = targets.dtype.kind == "i"
    leaves = max(MOST_LEAVES, 2 * (int(targets.max()) + 1)) if of_classes else MOST_LEAVES
    tree = scikit.tree(of_classes=of_classes, max_leaf_nodes=leaves, random_state=0)
    return tree.fit(inputs[:, None], targets).predict(new[:, None])


def leaks_of(look: Look, targets: np.ndarray, *, task: str, num_columns: int) -> list[Leak]:
    """Columns that give the target away, the worst first.

    look(rows) -> the columns' values there; targets: class ids or numbers, of shape (n,), of the
    training and validation rows
    """
    first = _looked(targets, task, FIRST_ROWS // 4 if num_columns > WIDE else FIRST_ROWS)
    if first is None or num_columns < 2:
        return []
    scores = {name: first.score(values, by_bins) for name, values in look(first.rows).items()}
    good = [name for name, score in scores.items() if score >= LOOKS_GOOD]
    again = _looked(targets, task, SECOND_ROWS) if good else None
    if again is None:
        return []
    columns = look(again.rows)
    scores |= {name: again.score(columns[name], by_tree) for name in good}
    found = [
        Leak(name, min(1.0, scores[name]), _how(columns[name], again))
        for name in too_good(scores, task)
    ]
    return [leak for leak in found if leak.how == MAPPING or again.is_telling]


def too_good(scores: Mapping[str, float], task: str) -> list[str]:
    """Names of those almost perfect, the best first, where the others are far from it."""
    found = [name for name, score in scores.items() if score >= ALMOST[task]]
    honest = max((score for name, score in scores.items() if name not in found), default=0.0)
    found = [name for name in found if 1 - scores[name] <= LEAST_GAP * (1 - honest)]
    is_easy = 2 * len(found) > len(scores)  # the task itself, rather than a column too much
    return [] if is_easy else sorted(found, key=lambda name: -scores[name])


def _how(values: np.ndarray, looked: Looked) -> str:
    """In what way a column, with these values in the rows looked at, tells the target."""
    if looked.task == "regression":
        return "a tree on this column alone"
    pairs = np.unique(np.stack([np.nan_to_num(values, nan=np.inf), looked.targets], axis=1), axis=0)
    num_values, num_classes = len(np.unique(pairs[:, 0])), len(np.unique(pairs[:, 1]))
    if num_values == num_classes == len(pairs):
        return MAPPING
    if num_values == len(values):
        return "a value for each row, in an order that goes with the target"
    return "a tree on this column alone"


def _looked(targets: np.ndarray, task: str, most: int) -> Looked | None:
    """At most so many rows, rare classes before common ones; None where too few to tell."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(targets))[:MOST_SAMPLED]
    if task == "regression":
        rows = rows[:most]
        found = Looked(task, rows, _ranks(targets[rows].astype(np.float64)))
        is_enough = found.is_telling and found.targets.var() > 0
    else:
        rows = rng.permutation(rows[_evened(targets[rows], most)])
        found = Looked(task, rows, targets[rows])
        is_enough = found.num_mistakes >= LEAST_OF_MAPPING
    return found if is_enough else None


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
