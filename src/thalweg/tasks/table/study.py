"""A study of one table: kinds inferred, rows split, encoded from the training rows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import torch

from thalweg.errors import about
from thalweg.tasks import baselines
from thalweg.tasks.sources import Arrays
from thalweg.tasks.study import Study
from thalweg.tasks.table import several
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.encode import encode_inputs, encode_target, tree_inputs
from thalweg.tasks.table.found import found_in
from thalweg.tasks.table.layout import rows_of
from thalweg.tasks.table.learn import learn_schema, schema_notices
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.several import LOSSES, metrics_for
from thalweg.tasks.table.shared import shared_rows
from thalweg.tasks.table.split import Split


def of_table(frame: pl.DataFrame, asked: Asked, *, source: str) -> Study:
    """source: what to call the data in messages. Raises DataError for a table that cannot be learnt
    from.
    """
    shared = shared_rows(frame, asked, source)
    frame, parts = shared.given.frame, shared.parts.rows
    with about(source):
        schema = learn_schema(shared.given, shared.target, shared.parts, asked)
    labels = encode_target(frame, schema.target, source)
    encoded = [encode_inputs(rows, schema, name) for name, rows in shared.given.sources(source)]
    inputs = np.concatenate(encoded) if len(encoded) > 1 else encoded[0]
    found = found_in(shared.given, schema, shared.parts, labels)
    train, validation, test = (
        Arrays(torch.from_numpy(inputs[rows]), torch.from_numpy(labels[rows]), rows)
        for rows in (parts.train, parts.validation, parts.test)
    )
    return Study(
        name=source,
        kind=shared.target.task,
        loss=LOSSES[shared.target.task],
        metrics=metrics_for(schema.target),
        train=train,
        validation=validation,
        test=test,
        rows=frame.height,
        num_features=len(schema.columns),
        baselines=_table_baselines(frame, schema, parts, labels),
        classes=schema.target.classes or None,
        schema=schema,
        inputs=rows_of(schema),
        mean=schema.target.mean,
        deviation=schema.target.deviation,
        notices=(*schema_notices(frame, schema, parts.train), *found.notices),
        found=found,
        weights=shared.weights,
        by=shared.by,
        where=shared.given.where(source),
    )


def _table_baselines(
    frame: pl.DataFrame, schema: Schema, parts: Split, labels: np.ndarray
) -> Callable[[int], dict[str, baselines.Scores]]:
    target = schema.target

    def score(seed: int) -> dict[str, baselines.Scores]:
        inputs = tree_inputs(frame, schema)
        if target.num_outputs > 1 and target.task != "classification":
            return several.scores(inputs, labels, parts, target, seed)
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
