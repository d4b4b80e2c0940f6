"""The table of metrics: what is measured of predictions besides the loss.

Inputs are outputs of a model and targets, torch tensors of n samples; a result is a float.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.tasks import scores
from thalweg.tasks.callables import callable_named, in_a_line, is_callable_name, taken
from thalweg.tasks.reading import Reading, reading_of_kind
from thalweg.tasks.scores import Answers


@dataclass(frozen=True, slots=True)
class Metric:
    """rises: larger is better; words: what it means.

    measure(outputs, targets) -> float
    fits: kinds of targets that it is for: classes, labels, numbers; two: only of two classes
    score(answers) -> float: of a row of the table, which can also weigh the samples
    of_loss(loss, source) -> float: of a metric that follows from the mean loss on a source
    reading, deviation: how outputs are read, and the unit of numbers, where `score` is used
    """

    name: str
    rises: bool
    measure: Callable[[Any, Any], float]
    words: str
    fits: tuple[str, ...] = ()
    score: Callable[[Answers], float] | None = None
    reading: Reading | None = field(default=None, repr=False)
    deviation: float = 1.0
    of_loss: Callable[[float, Any], float] | None = None

    def __call__(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
        """Of n samples; weights: how much each counts, (n,). Raises UsageError where it cannot."""
        if self.score is None or self.reading is None:
            return float(self.measure(outputs, targets))
        answers = Answers(outputs, targets, self.reading, weights, self.deviation)
        return float(self.score(answers))

    def bound(self, reading: Reading, deviation: float = 1.0) -> Metric:
        """Of outputs that are read so; numbers in a unit of which the targets' is `deviation`."""
        return self if self.score is None else replace(self, reading=reading, deviation=deviation)


_BOTH = ("classes", "labels")
_NUMBERS = ("numbers",)


def _row(name: str, score: Callable[[Answers], float], words: str, **more: Any) -> Metric:
    """A row of the table; `falls` where smaller is better."""
    rises, fits = not more.pop("falls", False), more.pop("fits")
    reading = Reading("softmax" if "classes" in fits else "identity")

    def measure(outputs: Tensor, targets: Tensor) -> float:
        return score(Answers(outputs, targets, reading))

    return Metric(name, rises, measure, words, fits, score)


METRICS = {
    row.name: row
    for row in (
        _row(
            "accuracy",
            scores.accuracy,
            "share of the rows whose class is predicted right; of labels, all of a row's",
            fits=_BOTH,
        ),
        _row(
            "balanced_accuracy",
            scores.balanced_accuracy,
            "share predicted right of each class, averaged: a rare class counts as much as others",
            fits=("classes",),
        ),
        _row(
            "f1",
            scores.f1,
            "balance of finding the rarer class and not crying wolf; the mean over many classes",
            fits=_BOTH,
        ),
        _row(
            "auc",
            scores.auc,
            "chance that a row of a class is ranked above a row of another; 0.5 is a coin",
            fits=_BOTH,
        ),
        _row(
            "average_precision",
            scores.average_precision,
            "share of true finds down the ranking, averaged; by chance it is the class's own share",
            fits=_BOTH,
        ),
        _row(
            "log_loss",
            scores.log_loss,
            "surprise at the true class, -log of its probability",
            fits=_BOTH,
            falls=True,
        ),
        _row(
            "calibration_error",
            scores.calibration_error,
            "distance of the stated probability of the answer from how often it is right",
            fits=("classes",),
            falls=True,
        ),
        _row(
            "rmse",
            scores.rmse,
            "typical size of an error, in the target's own unit",
            fits=_NUMBERS,
            falls=True,
        ),
        _row(
            "mae",
            scores.mae,
            "mean size of an error, in the target's own unit",
            fits=_NUMBERS,
            falls=True,
        ),
        _row("r2", scores.r2, "share of the target's variation that is explained", fits=_NUMBERS),
        _row(
            "pinball",
            scores.pinball,
            "mean loss of the quantiles, in the target's own unit; of a median half the mean error",
            fits=_NUMBERS,
            falls=True,
        ),
    )
}

FALLING = ("_error", "_loss", "_deviance")
"""Functions whose name ends so are better when smaller, as scikit-learn names its own."""


def metrics_of(kind: str | None, deviation: float = 1.0) -> tuple[Metric, ...]:
    """The metrics of a kind of task; rmse in the target's own unit, whose deviation is given."""
    if kind is None:
        return ()
    names = {"classification": ("accuracy",), "multilabel": ("accuracy", "f1")}
    reading = reading_of_kind(kind)
    return tuple(
        METRICS[name].bound(reading, deviation) for name in names.get(kind, ("rmse", "r2"))
    )


def metric_of(metric: str | Metric | Callable[[Any, Any], Any]) -> Metric:
    """The metric by name, or around a function `metric(targets, answers)` of the user's own.

    It is given NumPy arrays, as scikit-learn's are: targets (n,), and probabilities (n, classes) or
    numbers (n,) in the target's unit; `sample_weight` too, where it takes that. Raises UsageError
    for an unknown one.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return _own(getattr(metric, "__name__", type(metric).__name__), metric)
    if metric in METRICS:
        return METRICS[metric]
    if is_callable_name(metric):
        return _own(metric, callable_named(metric, "metric"))
    raise UsageError(
        f"metric {metric!r} is unknown: choose one of loss, {', '.join(METRICS)}, or give a "
        "function, module:function"
    )


def is_metric_named(metric: object) -> bool:
    """Is it a text that stands for a metric: a row of the table, the loss, or `module:function`?"""
    if not isinstance(metric, str):
        return False
    return metric == "loss" or metric in METRICS or is_callable_name(metric)


def check_fits(metric: Metric, kind: str, what: str = "metric") -> Metric:
    """The metric. Raises UsageError where it is not for this kind of target."""
    if metric.fits and kind not in metric.fits:
        known = [name for name, row in METRICS.items() if kind in row.fits]
        raise UsageError(
            f"{what} {metric.name!r} is for {' and '.join(metric.fits)}, and the target holds "
            f"{kind}: choose one of loss, {', '.join(known)}"
        )
    return metric


def _own(name: str, function: Callable[..., Any]) -> Metric:
    takes_weights = bool(taken(function, ["sample_weight"]))

    def score(answers: Answers) -> float:
        more = {}
        if answers.weights is not None:
            if not takes_weights:
                raise UsageError(
                    f"metric {name} does not take sample_weight, and the rows are weighted: give "
                    "it that argument, or choose another metric"
                )
            more = {"sample_weight": answers.weights.double().numpy()}
        truth, found = answers.pair
        try:
            value = function(truth, found, **more)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f"metric {name} failed for targets of shape {truth.shape} and answers of shape "
                f"{found.shape}: {in_a_line(error)}"
            ) from error
        number = _number(name, value, truth.shape, found.shape)
        if math.isnan(number) and np.isfinite(found).all():
            raise UsageError(
                f"metric {name} returned NaN for {len(truth):,} finite answers: it must return a "
                "number, by which one set of weights is better than another"
            )
        return number

    rises = getattr(function, "rises", not name.endswith(FALLING))

    def measure(outputs: Tensor, targets: Tensor) -> float:
        return score(Answers(outputs, targets, Reading("identity")))

    return Metric(name, bool(rises), measure, "a function of your own", (), score)


def _number(name: str, value: Any, truth: Sequence[int], found: Sequence[int]) -> float:
    """Raise UsageError for what is no single number."""
    shape = tuple(getattr(value, "shape", ()))
    try:
        if math.prod(shape) == 1 and len(shape) < 2:
            return float(value)
    except (TypeError, ValueError):
        shape = type(value).__name__
    raise UsageError(
        f"metric {name} returned {f'shape {shape}' if shape else type(value).__name__} for targets "
        f"of shape {tuple(truth)} and answers of shape {tuple(found)}: it must return one number"
    )
