"""A table as the numbers that a model sees, under a schema."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from thalweg.errors import DataError, about
from thalweg.tasks.table.kinds import fill, tree_values
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.target import Target, check_complete, labels_of
from thalweg.tasks.table.values import as_floats, as_numbers, check_there, class_texts

AT_ONCE = 1 << 20
"""Inputs that are encoded together."""


def encode_inputs(frame: pl.DataFrame, schema: Schema, source: str = "the data") -> np.ndarray:
    """The input columns as float32 of shape (rows, schema.width); of texts their tokens.

    Raises DataError, naming them, for columns that are missing or hold text where numbers were
    learnt.
    """
    check_columns(frame, schema, source)
    if schema.words is not None:
        return schema.words.inputs(frame, source)
    inputs = np.zeros((frame.height, schema.width), np.float32)
    _encode(frame, schema, source, inputs)
    return inputs


def encode_in_order(
    sources: Sequence[tuple[str, pl.DataFrame]], schema: Schema, order: np.ndarray
) -> np.ndarray:
    """The input columns of tables that lie below each other, each with what to call it: of these
    rows, in this order, as `encode_inputs` has them.
    """
    inputs = np.zeros((len(order), schema.width), np.float32)
    places = np.full(sum(frame.height for _, frame in sources), -1)
    places[order] = np.arange(len(order))
    for name, frame in sources:
        check_columns(frame, schema, name)
        _encode(frame, schema, name, inputs, places[: frame.height])
        places = places[frame.height :]
    return inputs


def _encode(
    frame: pl.DataFrame,
    schema: Schema,
    source: str,
    inputs: np.ndarray,
    places: np.ndarray | None = None,
) -> None:
    """Write a table's inputs, some rows at a time: what is made on the way would else be several
    times as large as they are. places: where each row stands among them, -1: nowhere.
    """
    at_once = max(1, AT_ONCE // schema.width)
    for first in range(0, frame.height, at_once):
        rows = slice(first, min(first + at_once, frame.height))
        block = np.zeros((rows.stop - first, schema.width), np.float32)
        _fill(block, frame, first, schema, source)
        if places is None:
            inputs[rows] = block
        else:
            known = places[rows] >= 0
            inputs[places[rows][known]] = block[known]


def _fill(block: np.ndarray, frame: pl.DataFrame, first: int, schema: Schema, source: str) -> None:
    """Write the inputs of the rows from `first` on, as many as the block takes."""
    start = 0
    for column in schema.columns:
        series = frame.get_column(column.name)
        part = block[:, start : start + column.width]
        start += column.width
        try:
            fill(part, column, series.slice(first, len(block)), source)
        except DataError:
            fill(np.zeros((len(series), column.width), np.float32), column, series, source)
            raise  # the line before has said which row it is, counted from the table's first


def check_columns(frame: pl.DataFrame, schema: Schema, source: str) -> None:
    """Raise DataError for input columns that are missing, naming them."""
    texts = schema.words.columns if schema.words else ()
    names = [*(column.name for column in schema.columns), *texts]
    check_there(names, frame, source, "which the run was trained on")


def encode_target(frame: pl.DataFrame, target: Target, source: str = "the data") -> np.ndarray:
    """The target: class ids as int64, or standardised numbers as float32, shape (rows,); of several
    numbers, or labels as 0 and 1, float32 of shape (rows, outputs).

    Raises DataError for a target that is missing, in part or as a whole, or not of its kind.
    """
    for name in target.names:
        if name not in frame.columns:
            raise DataError(f"{source} lacks the target column {name!r}, so it cannot be scored")
    if target.task == "multilabel":
        return encode_labels(frame.get_column(target.name), target)
    if target.task == "regression":
        columns = [
            _standard(frame.get_column(name), mean, deviation, source)
            for name, mean, deviation in zip(
                target.names, target.means, target.deviations, strict=True
            )
        ]
        return np.stack(columns, axis=1) if target.scales else columns[0]
    return _class_ids(frame.get_column(target.name), target, source)


def encode_labels(column: pl.Series, target: Target) -> np.ndarray:
    """1 for each label that a row has, float32 of shape (rows, labels); unknown ones count not."""
    ids = {name: i for i, name in enumerate(target.classes)}
    table = pl.DataFrame({"label": labels_of(column, target.separator)}).with_row_index("row")
    places = table.explode("label").with_columns(
        pl.col("label").replace_strict(ids, default=None, return_dtype=pl.Int64)
    )
    known = places.drop_nulls()
    labels = np.zeros((len(column), len(ids)), dtype=np.float32)
    labels[known.get_column("row").to_numpy(), known.get_column("label").to_numpy()] = 1.0
    return labels


def tree_inputs(frame: pl.DataFrame, schema: Schema, source: str = "the data") -> np.ndarray:
    """Inputs for a tree, float32 (rows, columns): categories as codes, missing as NaN, numbers in
    the range of float32.
    """
    most = np.finfo(np.float32).max
    inputs = np.empty((frame.height, len(schema.columns)), dtype=np.float32)
    at_once = max(1, AT_ONCE // len(schema.columns))
    for first in range(0, frame.height, at_once):
        some = unpacked(frame.slice(first, at_once))
        for i, column in enumerate(schema.columns):
            values = tree_values(some.get_column(column.name), column, source)
            inputs[first : first + len(values), i] = values.clip(-most, most)
    return inputs


def packed(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The input columns alone, each different text of them stored once: to be kept for long."""
    return frame.select(column.name for column in schema.columns).with_columns(
        pl.col(pl.String).cast(pl.Categorical)
    )


def unpacked(frame: pl.DataFrame) -> pl.DataFrame:
    """As it was before `packed`."""
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def column_values(frame: pl.DataFrame, schema: Schema) -> dict[str, np.ndarray]:
    """Of each column one number a row, float64: categories as codes, missing as NaN."""
    columns = schema.columns
    return {c.name: tree_values(frame.get_column(c.name), c, "the data") for c in columns}


def _standard(series: pl.Series, mean: float, deviation: float, source: str) -> np.ndarray:
    numbers = as_numbers(series, source)
    with about(source):
        check_complete(numbers)
    return ((as_floats(numbers) - mean) / deviation).astype(np.float32)


def _class_ids(series: pl.Series, target: Target, source: str) -> np.ndarray:
    with about(source):
        check_complete(series)
    ids = {name: i for i, name in enumerate(target.classes)}
    texts = class_texts(series, target.class_type)
    codes = texts.replace_strict(ids, default=None, return_dtype=pl.Int64)
    if codes.null_count():
        row = int(codes.is_null().arg_max() or 0)
        raise DataError(
            f"{source}, row {row + 1:,}: class {series[row]!r} of {target.name!r} "
            "is unknown to the run"
        )
    return codes.to_numpy(writable=True)
