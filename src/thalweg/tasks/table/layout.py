"""How the columns of a table stand beside each other as a model's inputs."""

from __future__ import annotations

from itertools import accumulate

from thalweg.tasks.models.inputs import Code, Rows, Tokens
from thalweg.tasks.table.kinds import KINDS, Column
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.usual import FEW


def inputs_of(schema: Schema) -> Rows | Tokens:
    """What a model of the table's rows, or of its texts, reads."""
    return schema.words.tokens if schema.words else rows_of(schema)


def is_spread(column: Column) -> bool:
    """Is it a column of numbers, and of so many different ones that a model may spread them?"""
    is_few = column.values is not None and column.values <= FEW
    return "low" in KINDS[column.kind].statistics and not is_few


def rows_of(schema: Schema) -> Rows:
    """Where codes and numbers stand among the inputs, in the order of `encode_inputs`."""
    starts = [0, *accumulate(column.width for column in schema.columns)]
    placed = list(zip(starts, schema.columns, strict=False))
    return Rows(
        num_inputs=schema.width,
        codes=tuple(
            Code(start, len(column.levels) + 1, column.vector)
            for start, column in placed
            if column.vector
        ),
        numbers=tuple(start for start, column in placed if is_spread(column)),
    )
