"""Which inputs of a model belong to which column."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from torch import Tensor

from thalweg.tasks.study import Study

MOST_INPUTS = 200
"""Inputs of arrays for a model of one's own, above which they are no columns."""


def blocks_of(study: Study, inputs: Any) -> dict[str, slice]:
    """The inputs of each column by its name; none for pictures, texts and whatever else it may be.

    inputs: a batch
    """
    if not isinstance(inputs, Tensor) or inputs.dim() != 2 or not inputs.is_floating_point():
        return {}
    width = inputs.shape[1]
    if study.schema is None:
        are_columns = study.inputs is None and width <= MOST_INPUTS
        return {f"x{i}": slice(i, i + 1) for i in range(width)} if are_columns else {}
    ends = list(accumulate(column.width for column in study.schema.columns))
    if not ends or ends[-1] != width:
        return {}
    return {
        column.name: slice(end - column.width, end)
        for column, end in zip(study.schema.columns, ends, strict=True)
    }
