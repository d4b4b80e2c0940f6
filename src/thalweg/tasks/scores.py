"""The formulas of the metrics: answers in, a number out; scikit-learn computes what it has."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from thalweg.tasks import scikit
from thalweg.tasks.reading import Reading

ROWS = 65_536
"""Whose probabilities are written out at once: of millions they would take gigabytes."""

EPS = float(np.finfo(np.float64).eps)
"""No probability of a truth counts as less, as in scikit-learn: it surprises by 36 at most."""

BINS = 10
"""Of the stated probabilities, for the calibration error; equally many rows in each."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered to n samples, what is true of them, and how much each of them counts.

    deviation: of the target's own unit, the targets' being 1; weights: (n,), None where all are
    alike
    """

    outputs: Tensor
    targets: Tensor
    reading: Reading
    weights: Tensor | None = None
    deviation: float = 1.0

    @property
    def truth(self) -> np.ndarray:
        return self.targets.numpy()

    @property
    def mass(self) -> np.ndarray | None:
        """The weights, float64; None where all are alike."""
        return None if self.weights is None else self.weights.double().numpy()

    @property
    def probabilities(self) -> np.ndarray:
        return self.reading.probabilities(self.outputs)

    @property
    def chosen(self) -> np.ndarray:
        return self.reading.classes(self.outputs)

    @property
    def has_labels(self) -> bool:
        """Are there several truths to a row, each 0 or 1?"""
        return self.reading.link == "sigmoid" and self.targets.dim() > 1

    @property
    def errors(self) -> Tensor:
        return self.reading.numbers(self.outputs) - self.targets

    @property
    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """Truths and answers, as a function of the user's own is given them."""
        if self.reading.link in ("softmax", "sigmoid"):
            return self.truth, self.probabilities
        numbers = self.reading.numbers(self.outputs).double().numpy()
        return self.truth.astype(np.float64) * self.deviation, numbers * self.deviation


def mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """0-d, in float64; over n samples and whatever each has more than one of."""
    if weights is None:
        return values.double().mean()
    rows = values.double().reshape(len(values), -1).mean(dim=1)
    return (rows * weights.double()).sum() / weights.double().sum()


def accuracy(answers: Answers) -> float:
    """The share of rows whose answer is right; of labels, every one of the row's."""
    if answers.has_labels:
        right = ((answers.outputs > 0) == (answers.targets > 0.5)).all(dim=1)
    elif answers.reading.link == "softmax" and answers.reading.threshold is None:
        right = answers.outputs.argmax(dim=1) == answers.targets
    else:
        right = answers.targets == answers.targets.new_tensor(answers.chosen)
    return float(mean(right, answers.weights))


def balanced_accuracy(answers: Answers) -> float:
    """The mean over the classes that are there of the share of each that was answered right."""
    right = (answers.chosen == answers.truth).astype(np.float64)
    mass = np.ones(len(right)) if answers.mass is None else answers.mass
    ids = answers.truth.astype(np.int64)
    there, found = np.bincount(ids, mass), np.bincount(ids, mass * right)
    return float((found[there > 0] / there[there > 0]).mean())


def f1(answers: Answers) -> float:
    """2 found / (2 found + missed + false alarms) of the rarer of two classes; 0 where nothing is
    found. Of many classes and of labels: the mean over them."""
    if answers.has_labels:
        truth, chosen = answers.truth > 0.5, answers.outputs.numpy() > 0
        return scikit.metrics().f1_score(
            truth,
            chosen,
            average="macro",
            sample_weight=answers.mass,
            zero_division=0.0,
        )
    is_binary = answers.probabilities.shape[1] == 2
    return scikit.metrics().f1_score(
        answers.truth.astype(np.int64),
        answers.chosen,
        average="binary" if is_binary else "macro",
        pos_label=answers.reading.positive,
        sample_weight=answers.mass,
        zero_division=0.0,
    )


def auc(answers: Answers) -> float:
    """The area under the curve of true finds over false alarms."""
    return _ranked(answers, scikit.metrics().roc_auc_score)


def average_precision(answers: Answers) -> float:
    """The mean over the true finds, down the ranking, of the share of finds so far."""
    return _ranked(answers, scikit.metrics().average_precision_score)


def _ranked(answers: Answers, score) -> float:
    """Of the positive one of two classes; else the mean over the classes, or labels, of each
    against the rest. Those that all rows have, or none, are left out; NaN where none is left."""
    probabilities, truth = answers.probabilities, answers.truth
    if not np.isfinite(probabilities).all():
        return math.nan
    if answers.has_labels:
        columns = [(truth[:, i] > 0.5, probabilities[:, i]) for i in range(truth.shape[1])]
    elif probabilities.shape[1] == 2:
        positive = answers.reading.positive
        columns = [(truth == positive, probabilities[:, positive])]
    else:
        columns = [(truth == i, probabilities[:, i]) for i in range(probabilities.shape[1])]
    found = [
        score(is_one, stated, sample_weight=answers.mass)
        for is_one, stated in columns
        if _differs(is_one, answers.mass)
    ]
    return float(np.mean(found)) if found else math.nan


def _differs(is_one: np.ndarray, mass: np.ndarray | None) -> bool:
    """Are there rows of both kinds, with a weight?"""
    seen = is_one if mass is None else is_one[mass > 0]
    return 0 < int(seen.sum()) < len(seen)


def log_loss(answers: Answers) -> float:
    """-log of the probability of the truth: of the class, or of labels the mean over them."""
    parts = zip(answers.outputs.split(ROWS), answers.targets.split(ROWS), strict=True)
    found = np.concatenate([_surprises(answers, *part) for part in parts])
    return float(np.average(found, weights=answers.mass))


def _surprises(answers: Answers, outputs: Tensor, targets: Tensor) -> np.ndarray:
    """Of each row, (n,)."""
    stated, truth = answers.reading.probabilities(outputs), targets.numpy()
    if answers.has_labels:
        stated = np.where(truth > 0.5, stated, 1 - stated)
    else:
        stated = np.take_along_axis(stated, truth.astype(np.int64).reshape(-1, 1), axis=1)
    return -np.log(stated.clip(EPS)).mean(axis=1)


def calibration_error(answers: Answers) -> float:
    """Rows in order of the probability that their answer states, cut into BINS of equally many: the
    mean distance in a bin between the probability stated and the share that is right.

    Naeini et al., Obtaining Well Calibrated Probabilities, 2015, with bins of equal size
    """
    probabilities = answers.probabilities
    if not np.isfinite(probabilities).all():
        return math.nan
    chosen = answers.chosen
    stated = probabilities[np.arange(len(chosen)), chosen]
    right = chosen == answers.truth
    mass = np.ones(len(chosen)) if answers.mass is None else answers.mass
    order = np.argsort(stated, kind="stable")
    gaps = [
        abs(float((mass[rows] * (right[rows] - stated[rows])).sum()))
        for rows in np.array_split(order, min(BINS, len(order)))
    ]
    return sum(gaps) / float(mass.sum())


def rmse(answers: Answers) -> float:
    """The root of the mean squared error."""
    return float(mean(answers.errors.double().square(), answers.weights).sqrt()) * answers.deviation


def mae(answers: Answers) -> float:
    """The mean size of an error."""
    return float(mean(answers.errors.double().abs(), answers.weights)) * answers.deviation


def r2(answers: Answers) -> float:
    """1 - squared errors / squared distances from the mean; NaN where the target is constant. Of
    several targets the mean over them."""
    if answers.targets.dim() > 1:
        pairs = zip(answers.outputs.unbind(1), answers.targets.unbind(1), strict=True)
        each = [r2(replace(answers, outputs=one, targets=other)) for one, other in pairs]
        return float(np.mean(each))
    targets = answers.targets.double()
    numbers = answers.reading.numbers(answers.outputs).double()
    if answers.weights is None:
        spread = float((targets - targets.mean()).square().sum())
        error = float((numbers - targets).square().sum())
    else:
        spread = float(mean((targets - mean(targets, answers.weights)).square(), answers.weights))
        error = float(mean((numbers - targets).square(), answers.weights))
    return 1 - error / spread if spread > 0 else float("nan")


def pinball(answers: Answers) -> float:
    """The mean over the quantiles; of any other loss its number is taken as the median."""
    if answers.reading.link == "quantiles":
        levels = answers.reading.quantiles
        said = answers.reading.levels(answers.outputs).double().numpy()
    else:
        levels, said = (0.5,), answers.reading.numbers(answers.outputs).double().numpy()[:, None]
    truth = answers.targets.double().numpy()
    if not np.isfinite(said).all():
        return math.nan
    found = [
        scikit.metrics().mean_pinball_loss(
            truth, said[:, i], alpha=level, sample_weight=answers.mass
        )
        for i, level in enumerate(levels)
    ]
    return float(np.mean(found)) * answers.deviation
