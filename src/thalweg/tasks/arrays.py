"""A study of arrays or a Dataset, for the user's own model; nothing is scaled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import DataError
from thalweg.tasks import baselines
from thalweg.tasks.measure import chunks_of
from thalweg.tasks.metrics import metrics_of
from thalweg.tasks.objectives import objective_of
from thalweg.tasks.sources import Arrays, as_source, in_order, take
from thalweg.tasks.study import Kind, Study
from thalweg.tasks.table.split import split
from thalweg.types import Source


def of_arrays(data: Any, *, loss: Any, seed: int, share: float) -> Study:
    """data: (inputs, targets) or a Dataset of such pairs

    Raises DataError for targets that are not finite or too few samples, UsageError for an unknown
    loss.
    """
    source = as_source(data)
    fits = objective_of(loss).fits
    _check_inputs(source)
    labels = source.targets.numpy(force=True) if isinstance(source, Arrays) else None
    kind = _kind_of(fits, labels)
    classes = _check_labels(labels, kind)
    strata = labels if kind == "classification" else None
    parts = split(len(source), seed=seed, strata=strata, share=share)
    train, validation, test = (
        take(source, rows) for rows in (parts.train, parts.validation, parts.test)
    )
    return Study(
        name="data",
        kind=kind,
        loss=loss,
        metrics=metrics_of(kind),
        train=train,
        validation=validation,
        test=test,
        rows=len(source),
        num_features=_num_features(train),
        baselines=_array_baselines(train, test, kind, classes),
        classes=classes,
    )


def _kind_of(fits: tuple[str, ...], labels: np.ndarray | None) -> Kind | None:
    """The kind of task of a loss; None: one's own, or several labels to a sample."""
    if not fits:
        return None
    if fits == ("numbers",):
        return "regression"
    is_one = labels is None or labels.ndim == 1
    return "classification" if fits == ("classes",) or is_one else None


def _array_baselines(
    train: Source, test: Source, kind: Kind | None, classes: tuple[str, ...] | None
) -> Callable[[int], dict[str, baselines.Scores]]:
    def score(seed: int) -> dict[str, baselines.Scores]:
        if kind is None or _num_targets(train) > 1:
            return {}
        samples = [_flat(source) for source in (train, test)]
        names = classes or _names(samples[0][1]) if kind == "classification" else None
        return baselines.scores(samples[0], samples[1], names, seed)

    return score


def _flat(source: Source) -> tuple[np.ndarray | None, np.ndarray]:
    """All inputs as (n, values), None where there are too many or no numbers; all targets, (n,)."""
    is_small = 0 < len(source) * _num_features(source) <= baselines.MOST_VALUES
    inputs, targets = [], []
    for _, (some, target, *_rest) in chunks_of(source):
        targets.append(target.reshape(len(target), -1)[:, 0].numpy(force=True))
        if is_small:
            inputs.append(some.reshape(len(some), -1).numpy(force=True))
    return np.concatenate(inputs) if is_small else None, np.concatenate(targets)


def _names(labels: np.ndarray) -> tuple[str, ...]:
    return tuple(str(i) for i in range(int(labels.max()) + 1))


def _num_features(source: Source) -> int:
    inputs, *_ = source.fetch(in_order(0, 1))
    return int(inputs[0].numel()) if isinstance(inputs, Tensor) else 0


def _num_targets(source: Source) -> int:
    _, targets, *_ = source.fetch(in_order(0, 1))
    return int(targets[0].numel())


def _check_inputs(source: Source) -> None:
    """Raise DataError for inputs in memory that are not finite: every loss would be NaN."""
    if isinstance(source, Arrays) and source.inputs.is_floating_point():
        flat = source.inputs.reshape(len(source), -1)
        bad = torch.nonzero(~torch.isfinite(flat).all(dim=1))
        if len(bad):
            raise DataError(
                f"the inputs of sample {int(bad[0]):,} are not finite ({len(bad):,} such samples): "
                "fill or remove them first"
            )


def _check_labels(labels: np.ndarray | None, kind: Kind | None) -> tuple[str, ...] | None:
    """Class names of array targets. Raises DataError where the targets do not fit the kind."""
    if labels is None or kind is None:
        return None
    if kind == "regression":
        bad = np.flatnonzero(~np.isfinite(labels.reshape(len(labels), -1)).all(axis=1))
        if len(bad):
            raise DataError(
                f"target {labels[bad[0]]} of sample {bad[0]:,} is not finite "
                f"({len(bad):,} such samples)"
            )
        return None
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"targets are {labels.dtype}: cross_entropy needs class ids 0, 1, 2, ... "
            "(for numbers use loss='mse')"
        )
    if labels.ndim != 1 or labels.min() < 0:
        raise DataError("cross_entropy needs class ids of shape (n,), counted from 0")
    if labels.min() == labels.max():
        raise DataError(f"every target is class {labels.min()}: there is nothing to learn")
    return _names(labels)
