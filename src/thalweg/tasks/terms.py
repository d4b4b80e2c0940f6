"""How a study's answers are judged: the loss, the metrics, and what each row and class counts.

What is not asked for follows from the kind of the target, and from how rare its rarest class is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from thalweg.errors import DataError, UsageError
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.judged import judged_baselines
from thalweg.tasks.metrics import METRICS, Metric, check_fits, metric_of
from thalweg.tasks.objectives import (
    OBJECTIVES,
    Objective,
    is_named,
    objective_of,
    with_class_weights,
)
from thalweg.tasks.reading import Reading, reading_of_kind
from thalweg.tasks.sources import Arrays, take
from thalweg.tasks.study import Study
from thalweg.types import Source

RARE = 0.2
"""A class with fewer than this share of the rows it would have, were all classes equal, is rare."""

KINDS = {"classification": "classes", "regression": "numbers", "multilabel": "labels"}
"""What the targets of a kind of task hold."""

_LINKS = {"classes": "softmax", "labels": "sigmoid", "numbers": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked of the judging; the names are those of the settings.

    goals: metrics that a goal names
    """

    loss: Any = None
    metric: Any = None
    goals: Sequence[str] = ()
    label_smoothing: float | None = None
    quantiles: Sequence[float] = ()
    weights: str | None = None
    class_weights: Literal["balanced"] | Mapping[str, float] | None = None


def check_terms(terms: Terms) -> None:
    """Raise UsageError for a loss that there is not, which can be told before data is read; which
    metrics there are depends on the data.
    """
    if terms.loss is not None:
        objective_of(terms.loss, levels=terms.quantiles)


def with_terms(study: Study, terms: Terms) -> Study:
    """The study, judged as asked.

    Raises UsageError for what does not fit the target, DataError for targets or weights that a loss
    cannot use, with the row.
    """
    if study.weights is not None:
        study = _weighted(study, study.weights, terms.weights or "weight")
    kind = KINDS.get(study.kind or "", "")
    counts = _counts(study.train) if kind == "classes" else None
    smoothing = _smoothing(study, terms, kind, counts)
    terms = replace(terms, label_smoothing=smoothing)
    objective = _objective(study, terms, kind)
    reading = _reading(study, terms, objective, kind, counts)
    if terms.class_weights is not None:
        values = _class_weights(study, terms.class_weights, kind, counts)
        objective = with_class_weights(objective, values)
        reading = replace(reading, class_weights=tuple(values))
    metrics = _metrics(study, terms, objective, kind, counts)
    reading = replace(reading, metrics=tuple(row.name for row in metrics))
    metrics = tuple(row.bound(reading, study.deviation) for row in metrics)
    is_weighted = isinstance(study.train, Arrays) and study.train.weights is not None
    is_other = is_weighted or terms.metric is not None or objective.link == "quantiles"
    usual = {name: smoothing for name in study.prefers if name == "label_smoothing"}
    return replace(
        study,
        prefers={**study.prefers, **usual},
        loss=objective,
        metrics=metrics,
        reading=reading,
        baselines=judged_baselines(study, metrics, reading) if is_other else study.baselines,
    )


def _smoothing(study: Study, terms: Terms, kind: str, counts: np.ndarray | None) -> float:
    """What was asked for, or what is usual for the data; none where one of two classes is rare: of
    its few rows too much would be given away, and the order of all the others be lost.
    """
    if terms.label_smoothing is not None:
        return terms.label_smoothing
    is_rare = counts is not None and len(counts) == 2 and is_imbalanced(counts)
    is_usual = kind == "classes" and not is_rare
    is_usual &= terms.loss in (None, "cross_entropy")
    is_usual &= terms.class_weights is None and not terms.quantiles
    return study.prefers.get("label_smoothing", 0.0) if is_usual else 0.0


def _objective(study: Study, terms: Terms, kind: str) -> Objective:
    asked = terms.loss or ("quantile" if terms.quantiles else None)
    name = asked if asked is not None else study.loss
    shift, scale = _counting(study)
    objective = objective_of(
        name,
        smoothing=terms.label_smoothing or 0.0,
        levels=terms.quantiles,
        shift=shift,
        scale=scale,
    )
    row = objective.name.partition(":")[0]
    if objective.fits and kind and kind not in objective.fits:
        known = [each.name for each in OBJECTIVES.values() if kind in each.fits]
        is_of_numbers = kind == "classes" and "numbers" in objective.fits
        other = "say that it holds quantities, --task regression" if is_of_numbers else ""
        raise UsageError(
            f"loss {objective.name!r} does not fit: it is for {' and '.join(objective.fits)}, and "
            f"the target is one for {study.kind}: choose one of {', '.join(known)}, leave the loss "
            f"out, or {other or 'choose another task'}"
        )
    if row == "bce" and kind == "classes" and len(study.classes or ()) > 2:
        raise UsageError(
            "loss bce has one output for two classes, and the target has "
            f"{len(study.classes or ())}: choose cross_entropy or focal"
        )
    if row == "poisson":
        _check_counts(study)
    return objective


def _counting(study: Study) -> tuple[float, float]:
    """(shift, scale) by which the targets become counts, as a multiple of their mean."""
    if study.schema is None or study.kind != "regression" or study.mean <= 0:
        return 0.0, 1.0
    return 1.0, study.deviation / study.mean


def _check_counts(study: Study) -> None:
    """Raise DataError, with the row, for a target below 0."""
    for source in (study.train, study.validation, study.test):
        if not isinstance(source, Arrays):
            continue
        values = source.targets.double().numpy(force=True) * study.deviation + study.mean
        least = -1e-6 * (study.deviation + abs(study.mean))  # 0 after it was standardised
        bad = np.flatnonzero(values.reshape(len(values), -1).min(axis=1) < least)
        if len(bad):
            row = int(bad[0] if source.rows is None else source.rows[bad[0]])
            found = values[bad[0]].min()
            where = study.where(row) if study.where else f"{study.name}, row {row + 1:,}"
            raise DataError(
                f"{where}: the target is {found:.6g}, and loss poisson "
                "counts from 0 up: choose another loss, such as mse"
            )


def _reading(
    study: Study, terms: Terms, objective: Objective, kind: str, counts: np.ndarray | None
) -> Reading:
    is_own = not objective.fits
    link = _LINKS.get(kind, "identity") if is_own else objective.link
    shift, scale = _counting(study) if link == "exp" else (0.0, 1.0)
    return replace(
        reading_of_kind(study.kind),
        link=link,
        quantiles=objective.levels,
        shift=shift,
        scale=scale,
        positive=_rarer(counts),
        loss=objective.name if is_named(objective.name) else None,
        smoothing=terms.label_smoothing or 0.0,
        weights=terms.weights,
    )


def _rarer(counts: np.ndarray | None) -> int:
    """The rarer of two classes; 1 where they are alike, or others."""
    return 0 if counts is not None and len(counts) == 2 and counts[0] < counts[1] else 1


def _counts(source: Source) -> np.ndarray | None:
    """Rows of each class, or what they weigh; None where that would take reading all of them."""
    if not isinstance(source, Arrays | PictureSource) or source.targets.dim() != 1:
        return None
    ids = source.targets.long().numpy(force=True)
    given = source.weights if isinstance(source, Arrays) else None
    weights = None if given is None else given.double().numpy(force=True)
    return np.bincount(ids, weights, minlength=2)


def is_imbalanced(counts: np.ndarray | None) -> bool:
    """Has a class far fewer rows than the others?"""
    return counts is not None and counts.min() < RARE * counts.mean()


def _class_weights(
    study: Study, asked: Any, kind: str, counts: np.ndarray | None
) -> Sequence[float]:
    """Of each class; such that the rows of the training set weigh 1 on the average."""
    names = study.classes
    if kind != "classes" or counts is None or names is None:
        raise UsageError("class-weights has no effect: the target has no classes (--task)")
    counts = np.pad(counts, (0, max(0, len(names) - len(counts)))).astype(np.float64)
    if asked == "balanced":
        given = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    else:
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise UsageError(
                f"class-weights: {unknown[0]!r} is no class of the target: it has "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            )
        given = np.array([asked.get(name, 1.0) for name in names])
    scale = counts.sum() / (counts * given).sum()
    return [float(value) for value in given * scale]


def _metrics(
    study: Study, terms: Terms, objective: Objective, kind: str, counts: np.ndarray | None
) -> tuple[Metric, ...]:
    """Those of the loss; for classes of which one is rare more than the accuracy; what is asked."""
    names = {row.name: row for row in (*objective.metrics, *study.metrics)}
    if objective.fits and kind == "numbers" and objective.name != "mse":
        names = {row.name: row for row in objective.metrics}
    if terms.label_smoothing:  # the loss itself is of no use beside another model's
        names["log_loss"] = METRICS["log_loss"]
    if is_imbalanced(counts):
        names["balanced_accuracy"] = METRICS["balanced_accuracy"]
        if counts is not None and len(counts) == 2:
            names["average_precision"] = METRICS["average_precision"]
    for what, asked in [("metric", terms.metric), *(("until", goal) for goal in terms.goals)]:
        if asked is None or asked == "loss" or (isinstance(asked, str) and asked in names):
            continue
        row = metric_of(asked)
        names[row.name] = check_fits(row, kind, what) if kind else row
    return tuple(names.values())


def _weighted(study: Study, weights: np.ndarray, name: str) -> Study:
    """Each source with the weights of its rows; training rows that weigh nothing are left out."""
    parts = {"train": study.train, "validate": study.validation, "test": study.test}
    used = [
        _with(source, weights, name, f"{study.name}: every row to {part}")
        for part, source in parts.items()
    ]
    train, notices = used[0], []
    assert train.weights is not None
    kept = np.flatnonzero(train.weights.numpy() > 0)
    if len(kept) < len(train):
        train = take(train, kept)
        notices.append(f"{len(used[0]) - len(kept):,} training rows weigh 0 and are left out")
    low, high = weights[weights > 0].min(), weights.max()
    many = f"{low:g} .. {high:g}" if low < high else f"all {low:g}"
    notices.append(f"rows are weighted by {name!r} ({many}): the losses and metrics too")
    sources = {"train": train, "validation": used[1], "test": used[2]}
    return replace(study, **sources, weights=None, notices=(*study.notices, *notices))


def _with(source: Source, weights: np.ndarray, name: str, every: str) -> Arrays:
    if not isinstance(source, Arrays) or source.rows is None:
        raise UsageError(
            "weights need data in memory: a table, or arrays (inputs, targets, weights)"
        )
    own = weights[source.rows]
    if not own.any():
        raise DataError(
            f"{every} has the weight 0 in {name!r}: give more rows a weight, or another seed"
        )
    return Arrays(source.inputs, source.targets, source.rows, torch.from_numpy(own).float())
