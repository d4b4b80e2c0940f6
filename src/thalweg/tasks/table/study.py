"""A study of one table: kinds inferred, rows split, encoded from the training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
from thalweg.tasks.table.found import found_in
from thalweg.tasks.table.given import given_rows
from thalweg.tasks.table.layout import rows_of
from thalweg.tasks.table.parts import Parts, parts_of
from thalweg.tasks.table.schema import (
    Dropped,
    Schema,
    Target,
    as_floats,
    describe_columns,
    describe_target,
    find_target,
    row_numbers,
    with_scale,
)
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.weigh import check_weights, weighed


def of_table(frame: pl.DataFrame, asked: Asked, *, source: str) -> Study:
    """source: what to call the data in messages. Raises DataError for a table that cannot be learnt
    from.
    """
    find_target(frame, asked.target, source)
    if asked.weights is not None:
        check_weights(frame, asked.weights, asked.target, source)
    with about(source):
        described = describe_target(frame, asked.target, asked.task)
        is_classification = described.task == "classification"
        strata = encode_target(frame, described) if is_classification else None
    given, weights = given_rows(frame, asked, described), None
    if asked.weights is not None:
        given, weights = weighed(given, asked.weights, source)
    with about(source):
        parting = given.parting(replace(asked.parting, seed=asked.seed))
        shared = parts_of(frame, parting, strata)
        frame, shared = given.frame, given.parts(shared)
        parts = shared.rows
        schema = _schema(frame, described, parts.train, given.num_own, _left_out(shared), asked)
    labels = encode_target(frame, schema.target, source)
    inputs = encode_inputs(frame, schema, source)
    found = found_in(given, schema, shared, labels)
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
        notices=(
            *(f"column {row.name!r} left out: {row.reason}" for row in schema.dropped),
            *found.notices,
        ),
        found=found,
        weights=weights,
    )


def _left_out(parts: Parts) -> tuple[Dropped, ...]:
    """The column whose groups share out the rows: a new group says nothing to the model."""
    if parts.kind != "group" or parts.column is None:
        return ()
    return (Dropped(parts.column, "its groups share out the rows, and new groups are unknown"),)


def _schema(
    frame: pl.DataFrame,
    target: Target,
    train: np.ndarray,
    num_own: int,
    left: tuple[Dropped, ...],
    asked: Asked,
) -> Schema:
    """The schema, from the training rows; left: columns that are no inputs.

    Raises DataError where no column is left.
    """
    known = [target.name, *(row.name for row in left)]
    counting = [*left, *row_numbers(frame.head(num_own).drop(known))]
    names = [target.name, *(row.name for row in counting)]
    columns, left_out = describe_columns(frame.drop(names)[train], embeds=asked.embeds)
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
