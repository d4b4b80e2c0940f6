"""A study of one table: kinds inferred, rows split, encoded from the training rows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import torch

from thalweg.errors import DataError, about
from thalweg.tasks import baselines
from thalweg.tasks.metrics import metrics_of
from thalweg.tasks.sources import Arrays
from thalweg.tasks.study import Study
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.encode import encode_inputs, encode_target, tree_inputs
from thalweg.tasks.table.layout import rows_of
from thalweg.tasks.table.schema import (
    Schema,
    Target,
    as_floats,
    describe_columns,
    describe_target,
    find_target,
    row_numbers,
    with_scale,
)
from thalweg.tasks.table.split import Split, split


def of_table(frame: pl.DataFrame, asked: Asked, *, source: str) -> Study:
    """source: what to call the data in messages. Raises DataError for a table that cannot be learnt
    from.
    """
    find_target(frame, asked.target, source)
    with about(source):
        described = describe_target(frame, asked.target, asked.task)
        is_classification = described.task == "classification"
        strata = encode_target(frame, described) if is_classification else None
        parts = split(frame.height, seed=asked.seed, strata=strata, share=asked.share)
        schema = _schema(frame, described, parts.train, asked.embeds)
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
        inputs=rows_of(schema),
        mean=schema.target.mean,
        deviation=schema.target.deviation,
        notices=tuple(f"column {row.name!r} left out: {row.reason}" for row in schema.dropped),
    )


def _schema(frame: pl.DataFrame, target: Target, train: np.ndarray, embeds: bool) -> Schema:
    """The schema, from the training rows. Raises DataError where no column is left."""
    counting = row_numbers(frame.drop(target.name))
    names = [target.name, *(row.name for row in counting)]
    columns, left_out = describe_columns(frame.drop(names)[train], embeds=embeds)
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
        return baselines.scores(
            (inputs[parts.train], values[parts.train]),
            (inputs[parts.test], values[parts.test]),
            target.classes if target.task == "classification" else None,
            seed,
        )

    return score
