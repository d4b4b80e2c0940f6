"""A study of one table: kinds inferred, rows split, encoded from the training rows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import torch

from thalweg.tasks import baselines
from thalweg.tasks.sources import Arrays
from thalweg.tasks.study import Study
from thalweg.tasks.table import several
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.encode import packed, tree_inputs
from thalweg.tasks.table.layout import rows_of
from thalweg.tasks.table.learn import schema_notices
from thalweg.tasks.table.ready import Ready, made_ready
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.several import LOSSES, metrics_for
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.usual import EMA, SMOOTHING


def of_table(
    frame: pl.DataFrame, asked: Asked, *, source: str, ready: Ready | None = None
) -> Study:
    """source: what to call the data in messages; ready: the table as it was made ready before.

    Raises DataError for a table that cannot be learnt from.
    """
    ready = ready or made_ready(frame, asked, source)
    shared, schema, labels, found = ready.shared, ready.schema, ready.labels, ready.found
    frame, parts = shared.given.frame, shared.parts.rows
    rows, inputs = (parts.train, parts.validation, parts.test), torch.from_numpy(ready.inputs)
    train, validation, test = (
        Arrays(some, torch.from_numpy(labels[where]), where)
        for some, where in zip(inputs.split([len(part) for part in rows]), rows, strict=True)
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
        prefers={"ema": EMA, "label_smoothing": SMOOTHING},
        where=shared.given.where(source),
    )


def _table_baselines(
    frame: pl.DataFrame, schema: Schema, parts: Split, labels: np.ndarray
) -> Callable[[int], dict[str, baselines.Scores]]:
    target, kept = schema.target, packed(frame, schema)

    def score(seed: int) -> dict[str, baselines.Scores]:
        if target.num_outputs > 1 and target.task != "classification":
            return several.scores(tree_inputs(kept, schema), labels, parts, target, seed)
        of_classes = target.task == "classification"
        values = labels
        if not of_classes:
            values = labels.astype(np.float64) * target.deviation + target.mean
        names = target.classes if of_classes else None
        some, tested = baselines.some_of(parts.train), values[parts.test]
        found = {"constant": baselines.constant(values[parts.train], tested, names)}
        if len(some) * kept.width <= baselines.MOST_VALUES:
            sides = ((tree_inputs(kept[rows], schema), values[rows]) for rows in (some, parts.test))
            found["tree"] = baselines.tree(*sides, is_classification=of_classes, seed=seed)
        return found

    return score
