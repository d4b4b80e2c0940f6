"""A table as the numbers that a model sees, under a schema."""

from __future__ import annotations

import numpy as np
import polars as pl

from thalweg.errors import DataError, about
from thalweg.tasks.models.inputs import DIGIT
from thalweg.tasks.table.schema import (
    Column,
    Schema,
    Target,
    as_floats,
    check_complete,
    class_texts,
    is_number,
)

MOST_DEVIATIONS = 1e6
"""Standardised numbers are cut off here, beyond what a training row can reach, so that no absurd
value overflows the model.
"""


def encode_inputs(frame: pl.DataFrame, schema: Schema, source: str = "the data") -> np.ndarray:
    """The input columns as float32 of shape (rows, schema.width).

    Raises DataError, naming them, for columns that are missing or hold text where numbers were
    learnt.
    """
    absent = [column.name for column in schema.columns if column.name not in frame.columns]
    if absent:
        names = ", ".join(repr(name) for name in absent)
        raise DataError(
            f"{source} lacks {_columns(len(absent))} {names}, which the run was trained on"
        )
    inputs = np.zeros((frame.height, schema.width), dtype=np.float32)
    start = 0
    for column in schema.columns:
        block = inputs[:, start : start + column.width]
        _fill(block, column, frame.get_column(column.name), source)
        start += column.width
    return inputs


def encode_target(frame: pl.DataFrame, target: Target, source: str = "the data") -> np.ndarray:
    """The target: class ids as int64, or standardised numbers as float32; shape (rows,).

    Raises DataError for a target that is missing, in part or as a whole, or not of its kind.
    """
    if target.name not in frame.columns:
        raise DataError(f"{source} lacks the target column {target.name!r}, so it cannot be scored")
    series = frame.get_column(target.name)
    if target.task == "regression":
        series = _numbers(series, source)
    with about(source):
        check_complete(series)
    if target.task == "regression":
        values = as_floats(series)
        return ((values - target.mean) / target.deviation).astype(np.float32)
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


def tree_inputs(frame: pl.DataFrame, schema: Schema) -> np.ndarray:
    """Inputs for a tree, float64 (rows, columns): categories as codes, missing as NaN."""
    blocks = []
    for column in schema.columns:
        series = frame.get_column(column.name)
        blocks.append(as_floats(series) if column.kind == "number" else _codes(series, column))
    return np.stack(blocks, axis=1)


def _fill(block: np.ndarray, column: Column, series: pl.Series, source: str) -> None:
    """Write one column's inputs into its block, shape (rows, column.width)."""
    if column.kind == "number":
        values = as_floats(_numbers(series, source))
        missing = np.isnan(values)
        standard = (values - column.mean) / column.deviation
        standard = standard.clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        block[:, 0] = np.where(missing, 0.0, standard)
    elif column.vector:
        codes = _codes(series, column)
        missing = np.isnan(codes)
        block[:, 0], block[:, 1] = np.divmod(np.where(missing, len(column.levels), codes), DIGIT)
    else:
        codes = _codes(series, column)
        missing = np.isnan(codes)
        rows = np.flatnonzero(~missing)
        block[rows, codes[rows].astype(np.int64)] = 1.0
    if column.has_missing:
        block[missing, -1] = 1.0


def _codes(series: pl.Series, column: Column) -> np.ndarray:
    """Places of the values among the levels, float64; any other value len(levels), missing NaN."""
    ids = {level: i for i, level in enumerate(column.levels)}
    texts = series.cast(pl.String)
    codes = texts.replace_strict(ids, default=len(ids), return_dtype=pl.Float64)
    return pl.select(pl.when(texts.is_null()).then(None).otherwise(codes)).to_series().to_numpy()


def _numbers(series: pl.Series, source: str) -> pl.Series:
    """The series as numbers. Raises DataError with the first value that is none."""
    if is_number(series) or series.dtype == pl.Null:
        return series
    numbers = series.cast(pl.Float64, strict=False) if series.dtype == pl.String else None
    if numbers is None:
        raise DataError(
            f"{source}: column {series.name!r} holds {series.dtype}, but was trained on numbers"
        )
    bad = numbers.is_null() & series.is_not_null()
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise DataError(
            f"{source}, row {row + 1:,}: column {series.name!r} holds {series[row]!r}, "
            "but was trained on numbers"
        )
    return numbers


def _columns(count: int) -> str:
    return "the column" if count == 1 else f"{count} columns:"
