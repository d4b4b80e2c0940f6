"""Out-of-fold predictions: those of a model for the rows that tested it, by their row."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import polars as pl

from thalweg.tasks.measure import outputs_of
from thalweg.tasks.predictions import as_frame
from thalweg.tasks.sources import rows_of
from thalweg.tasks.study import Study
from thalweg.tasks.task import Task


def out_of_fold(study: Study, task: Task) -> pl.DataFrame:
    """`row` (from 1, as it stands in the data), and what `predict` gives, of every test row."""
    outputs, _ = outputs_of(task, study.test)
    rows = rows_of(study.test, np.arange(len(study.test)))
    frame = as_frame(outputs, study.schema, study.kind, reading=task.reading)
    return frame.insert_column(0, pl.Series("row", rows + 1))


def joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The predictions of all folds, in the order of the data's rows."""
    return pl.concat(frames, how="vertical_relaxed").sort("row")


def read_back(text: str, *, has_texts: bool) -> pl.DataFrame:
    """Predictions from CSV; has_texts: the classes are texts, whatever they look like."""
    types = {"prediction": pl.String} if has_texts else {}
    return pl.read_csv(io.StringIO(text), schema_overrides=types, infer_schema_length=None)
