"""A study of arrays or a Dataset, for the user's own model; nothing is scaled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import DataError, about
from thalweg.tasks import baselines
from thalweg.tasks.measure import chunks_of
from thalweg.tasks.metrics import metrics_of
from thalweg.tasks.objectives import objective_of
from thalweg.tasks.parted import found_of, given_of, shared_out
from thalweg.tasks.sources import Arrays, as_source, in_order, take
from thalweg.tasks.study import Kind, Study
from thalweg.tasks.table.asked import Parting
from thalweg.types import Source


def of_arrays(
    data: Any, *, loss: Any, parting: Parting, validation: Any = None, test: Any = None
) -> Study:
    """data: (inputs, targets) or a Dataset of such pairs; parting: how samples are shared out

    validation, test: samples of their own instead, such as data
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
    own = given_of(parting, validation, test)
    parts = shared_out(len(source), own, strata)
    rows = parts.rows
    train = take(source, rows.train)
    held = [
        take(source, places) if given is None else _given(given, name, train, kind, classes)
        for places, given, name in (
            (rows.validation, validation, "validation"),
            (rows.test, test, "test"),
        )
    ]
    found = found_of(train, *held, parts=parts, classes=classes or ())
    return Study(
        name="data",
        kind=kind,
        loss=loss,
        metrics=metrics_of(kind),
        train=train,
        validation=held[0],
        test=held[1],
        rows=len(train) + sum(map(len, held)),
        num_features=_num_features(train),
        baselines=_array_baselines(train, held[1], kind, classes),
        classes=classes,
        notices=found.notices,
        found=found,
    )


def _kind_of(fits: tuple[str, ...], labels: np.ndarray | None) -> Kind | None:
    """The kind of task of a loss; None: one's own, or several labels to a sample."""
    if not fits:
        return None
    if fits == ("numbers",):
        return "regression"
    is_one = labels is None or labels.ndim == 1
    return "classification" if fits == ("classes",) or is_one else None


def _given(
    data: Any, name: str, train: Source, kind: Kind | None, classes: tuple[str, ...] | None
) -> Source:
    """Samples of their own. Raises DataError where they do not go with those that train."""
    with about(f"the {name} data"):
        source = as_source(data)
        _check_inputs(source)
        if not isinstance(source, Arrays) or not isinstance(train, Arrays):
            return source
        for what in ("inputs", "targets"):
            shapes = [tuple(getattr(each, what).shape[1:]) for each in (source, train)]
            if shapes[0] != shapes[1]:
                raise DataError(f"{what} have shape {shapes[0]}, and those of the data {shapes[1]}")
        labels = source.targets.numpy(force=True)
        if kind == "regression":
            _check_labels(labels, kind)
        if kind == "classification":
            _check_known(labels, len(classes or ()))
    return source


def _check_known(labels: np.ndarray, num_classes: int) -> None:
    """Raise DataError for classes that no sample of the data has."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"targets are {labels.dtype}: cross_entropy needs class ids 0, 1, 2, ...")
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(bad):
        raise DataError(
            f"class {labels[bad[0]]} of sample {bad[0]:,} ({len(bad):,} such samples) is in none "
            f"of the data, whose classes are 0 .. {num_classes - 1}"
        )


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
