"""Data made ready for a fit: three sources, what they mean, and what the baselines need.

A `Study` comes from a table (`of_table`), or from arrays or a Dataset with the user's own model
(`of_arrays`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor

from thalweg.errors import DataError, UsageError, about
from thalweg.tasks import baselines
from thalweg.tasks.encode import encode_inputs, encode_target, tree_inputs
from thalweg.tasks.measure import chunks_of
from thalweg.tasks.metrics import Metric, metrics_of
from thalweg.tasks.objectives import OBJECTIVES
from thalweg.tasks.schema import (
    Schema,
    Target,
    as_floats,
    describe_columns,
    describe_target,
    find_target,
    row_numbers,
    with_scale,
)
from thalweg.tasks.sources import Arrays, as_source, in_order, take
from thalweg.tasks.split import Split, split
from thalweg.types import Source

Kind = Literal["classification", "regression"]

MOST_TREE_VALUES = 50_000_000
"""Input values of the training set above which no tree is grown."""


@dataclass(frozen=True, slots=True)
class Study:
    """What a fit needs of its data.

    train, validation, test: sources of (inputs, targets)
    kind: classification or regression; None where a loss of the user's own leaves it open
    loss: name of the loss; metrics: measured beside it, in the target's own unit
    classes: class names by id; mean, deviation: scale of a regression target
    rows, num_features: size of the data; schema: of a table; notices: what was done to it, a line
    each baselines(seed) -> {"constant": {...}, "tree": {...}}, scored on the test set
    """

    name: str
    kind: Kind | None
    loss: Any
    metrics: tuple[Metric, ...]
    train: Source
    validation: Source
    test: Source
    rows: int
    num_features: int
    baselines: Callable[[int], dict[str, baselines.Scores]]
    classes: tuple[str, ...] | None = None
    schema: Schema | None = None
    mean: float = 0.0
    deviation: float = 1.0
    notices: tuple[str, ...] = ()

    @property
    def num_outputs(self) -> int:
        return len(self.classes) if self.classes else 1


def of_table(
    frame: pl.DataFrame, target: str, *, task: str, seed: int, share: float, source: str
) -> Study:
    """A study of one table: kinds inferred, rows split, encoded from the training rows alone.

    source: what to call the data in messages. Raises DataError for a table that cannot be learnt
    from.
    """
    find_target(frame, target, source)
    with about(source):
        described = describe_target(frame, target, task)
        is_classification = described.task == "classification"
        strata = encode_target(frame, described) if is_classification else None
        parts = split(frame.height, seed=seed, strata=strata, share=share)
        schema = _schema(frame, described, parts.train)
    labels = encode_target(frame, schema.target, source)
    inputs = encode_inputs(frame, schema, source)
    train, validation, test = (
        Arrays(torch.from_numpy(inputs[rows]), torch.from_numpy(labels[rows]), rows)
        for rows in (parts.train, parts.validation, parts.test)
    )
    return Study(
        name=source,
        kind=described.task,
        loss="cross_entropy" if is_classification else "mse",
        metrics=metrics_of(described.task, schema.target.deviation),
        train=train,
        validation=validation,
        test=test,
        rows=frame.height,
        num_features=len(schema.columns),
        baselines=_table_baselines(frame, schema, parts, labels),
        classes=schema.target.classes if is_classification else None,
        schema=schema,
        mean=schema.target.mean,
        deviation=schema.target.deviation,
        notices=tuple(f"column {row.name!r} left out: {row.reason}" for row in schema.dropped),
    )


def of_arrays(data: Any, *, loss: Any, seed: int, share: float) -> Study:
    """A study of (inputs, targets) or a Dataset, for the user's own model; nothing is scaled.

    Raises DataError for targets that are not finite or too few samples, UsageError for an unknown
    loss.
    """
    source = as_source(data)
    kind: Kind | None = {"cross_entropy": "classification", "mse": "regression"}.get(loss)  # type: ignore[assignment]
    if kind is None and not callable(loss):
        raise UsageError(
            f"loss {loss!r} is unknown: choose one of {', '.join(OBJECTIVES)}, or give a function"
        )
    _check_inputs(source)
    labels = source.targets.numpy(force=True) if isinstance(source, Arrays) else None
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


def _schema(frame: pl.DataFrame, target: Target, train: np.ndarray) -> Schema:
    """The schema, from the training rows. Raises DataError where no column is left."""
    counting = row_numbers(frame.drop(target.name))
    names = [target.name, *(row.name for row in counting)]
    columns, left_out = describe_columns(frame.drop(names)[train])
    dropped = (*counting, *left_out)
    if not columns:
        reasons = "; ".join(f"{row.name!r}: {row.reason}" for row in dropped)
        raise DataError(
            f"no column is left to learn from ({reasons or 'there is only the target'}): "
            "give the model a column that differs from row to row"
        )
    if target.task == "regression":
        target = with_scale(target, as_floats(frame.get_column(target.name))[train])
    return Schema(columns, dropped, target)


def _table_baselines(
    frame: pl.DataFrame, schema: Schema, parts: Split, labels: np.ndarray
) -> Callable[[int], dict[str, baselines.Scores]]:
    target = schema.target

    def score(seed: int) -> dict[str, baselines.Scores]:
        inputs = tree_inputs(frame, schema)
        if target.task == "classification":
            values = labels
        else:
            values = labels.astype(np.float64) * target.deviation + target.mean
        return _score(
            (inputs[parts.train], values[parts.train]),
            (inputs[parts.test], values[parts.test]),
            target.classes if target.task == "classification" else None,
            seed,
        )

    return score


def _array_baselines(
    train: Source, test: Source, kind: Kind | None, classes: tuple[str, ...] | None
) -> Callable[[int], dict[str, baselines.Scores]]:
    def score(seed: int) -> dict[str, baselines.Scores]:
        if kind is None or _num_targets(train) > 1:
            return {}
        samples = [_flat(source) for source in (train, test)]
        names = classes or _names(samples[0][1]) if kind == "classification" else None
        return _score(samples[0], samples[1], names, seed)

    return score


def _score(
    train: tuple[np.ndarray | None, np.ndarray],
    test: tuple[np.ndarray | None, np.ndarray],
    names: tuple[str, ...] | None,
    seed: int,
) -> dict[str, baselines.Scores]:
    scores = {"constant": baselines.constant(train[1], test[1], names)}
    if train[0] is not None and test[0] is not None and train[0].size <= MOST_TREE_VALUES:
        scores["tree"] = baselines.tree(
            (train[0], train[1]), (test[0], test[1]), is_classification=names is not None, seed=seed
        )
    return scores


def _flat(source: Source) -> tuple[np.ndarray | None, np.ndarray]:
    """All inputs as (n, values), None where there are too many or no numbers; all targets, (n,)."""
    is_small = 0 < len(source) * _num_features(source) <= MOST_TREE_VALUES
    inputs, targets = [], []
    for _, (some, target) in chunks_of(source):
        targets.append(target.reshape(len(target), -1)[:, 0].numpy(force=True))
        if is_small:
            inputs.append(some.reshape(len(some), -1).numpy(force=True))
    return np.concatenate(inputs) if is_small else None, np.concatenate(targets)


def _names(labels: np.ndarray) -> tuple[str, ...]:
    return tuple(str(i) for i in range(int(labels.max()) + 1))


def _num_features(source: Source) -> int:
    inputs, _ = source.fetch(in_order(0, 1))
    return int(inputs[0].numel()) if isinstance(inputs, Tensor) else 0


def _num_targets(source: Source) -> int:
    _, targets = source.fetch(in_order(0, 1))
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
