"""Tables that are in memory already: frames of any kind, and arrays."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.exceptions import NarwhalsError
from polars.exceptions import PolarsError

from thalweg.errors import DataError
from thalweg.tasks.table.typed import simple

_NO_TABLE = (
    NarwhalsError,
    PolarsError,
    ImportError,
    TypeError,
    ValueError,
    NotImplementedError,
)
"""What pandas, pyarrow, narwhals and polars raise for a frame that polars cannot hold."""


def frame_of(data: Any) -> pl.DataFrame:
    """A polars frame from a polars, pandas or other frame. Raises DataError for anything else."""
    if not nw.dependencies.is_into_dataframe(data):
        raise DataError(
            f"data is a {type(data).__name__}: give a path to a CSV or Parquet file, or a frame"
        )
    try:
        return simple(nw.from_native(data, eager_only=True).to_polars())
    except _NO_TABLE as error:
        words = " ".join(" ".join(map(str, error.args)).split())
        raise DataError(f"the data cannot be taken as a table: {words}") from None


TARGET, WEIGHT, TEXT = "y", "weight", "text"
"""What the columns of targets, weights and texts that were arrays are called."""


def frame_of_arrays(inputs: Any, targets: Any = None, weights: Any = None) -> pl.DataFrame:
    """Arrays as a table: inputs of shape (n, k) become columns x0 .. x<k-1>, or those of a frame, a
    list of texts the column text; targets and weights of shape (n,) the columns y and weight.
    """
    is_frame = nw.dependencies.is_into_dataframe(inputs)
    frame = frame_of(inputs) if is_frame else _frame_of_rows(_array(inputs))
    for values, name, what in ((targets, TARGET, "targets"), (weights, WEIGHT, "weights")):
        if values is not None:
            frame = frame.with_columns(_beside(frame, _array(values), name, what))
    return frame


def _beside(frame: pl.DataFrame, values: np.ndarray, name: str, what: str) -> pl.Series:
    """A further column. Raises DataError where it has another length, or there is one already."""
    if values.shape != (frame.height,):
        raise DataError(
            f"{frame.height:,} inputs but {what} of shape {values.shape}: "
            "there must be one for each"
        )
    if name in frame.columns:
        setting = "target=" if name == TARGET else "weights="
        raise DataError(
            f"the inputs hold a column {name!r} already: give the whole frame, and {setting}"
        )
    return _series(name, values)


def _frame_of_rows(rows: np.ndarray) -> pl.DataFrame:
    if rows.ndim == 1 and rows.dtype.kind in "UO":
        return pl.DataFrame([_series(TEXT, rows)])
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise DataError(
            f"inputs have shape {rows.shape}: a table needs (rows, columns); "
            "for anything else bring a model of your own, fit((X, y), model=net, loss=...)"
        )
    return pl.DataFrame([_series(f"x{i}", rows[:, i]) for i in range(rows.shape[1])])


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _series(name: str, values: np.ndarray) -> pl.Series:
    """A column; the type of Python objects is found by looking at them."""
    return pl.Series(name, values.tolist() if values.dtype == object else values, strict=False)
