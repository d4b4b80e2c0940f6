"""What every study of rows begins with: the target, and which rows train, validate and test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from thalweg.errors import about
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.encode import encode_target
from thalweg.tasks.table.given import Given, given_rows
from thalweg.tasks.table.learn import learn_target
from thalweg.tasks.table.parts import Parts, parts_of
from thalweg.tasks.table.target import Target, target_names
from thalweg.tasks.table.values import find_column
from thalweg.tasks.table.weigh import check_weights, weighed


@dataclass(frozen=True, slots=True)
class Shared:
    """Rows shared out.

    given: all rows, those of files of their own below the data's; target: as it is known before the
    split; parts: of `given.frame`
    weights: of each row, float64 (rows,), whose column has left the frame; by: the column by whose
    values errors are told apart; None: not asked for
    """

    given: Given
    target: Target
    parts: Parts
    weights: np.ndarray | None
    by: pl.Series | None


def shared_rows(frame: pl.DataFrame, asked: Asked, source: str) -> Shared:
    """source: what to call the data in messages. Raises DataError for a target that cannot be
    learnt, columns that are not there, or rows that cannot be shared out as asked.
    """
    names = target_names(frame, asked.target, source)
    if asked.by is not None:
        find_column(frame, asked.by, source)
    if asked.weights is not None:
        find_column(frame, asked.weights, source)
        inputs = {"columns": asked.columns, "drop": asked.drop, "types": asked.types}
        check_weights(asked.weights, names, inputs)
    with about(source):
        target = learn_target(frame, names, asked)
        is_classification = target.task == "classification"
        strata = encode_target(frame, target) if is_classification else None
    given, weights = given_rows(frame, asked, target), None
    by = None if asked.by is None else given.frame.get_column(asked.by)
    if asked.weights is not None:
        given, weights = weighed(given, asked.weights, source)
    with about(source):
        parting = given.parting(replace(asked.parting, seed=asked.seed))
        parts = given.parts(parts_of(frame, parting, strata))
    return Shared(given, target, parts, weights, by)
