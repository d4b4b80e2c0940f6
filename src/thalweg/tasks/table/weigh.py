"""The column of a table that says how much each row counts: it leaves the inputs."""

from __future__ import annotations

import numpy as np
import polars as pl

from thalweg.errors import DataError, UsageError, about
from thalweg.tasks.table.schema import find_target
from thalweg.tasks.weights import checked_weights


def taken_out(
    frame: pl.DataFrame, name: str, target: str, source: str
) -> tuple[pl.DataFrame, np.ndarray]:
    """The table without its weights, and these, float64 of shape (rows,).

    Raises DataError where there is no such column, or a weight cannot be used, with the row.
    """
    if name == target:
        raise UsageError(
            f"weights and target are both {name!r}: rows cannot be weighed by the target"
        )
    find_target(frame, name, source)
    return frame.drop(name), weights_in(frame, name, source)


def weights_in(frame: pl.DataFrame, name: str, source: str) -> np.ndarray:
    """The weights in a column, float64 of shape (rows,)."""
    column = frame.get_column(name)
    numbers = column.cast(pl.Float64, strict=False)
    with about(source):
        bad = numbers.is_null()
        if bad.any():
            row = int(bad.arg_max() or 0)
            found = "missing" if column[row] is None else repr(column[row])
            raise DataError(
                f"the weight in {name!r} is {found} in row {row + 1:,} ({int(bad.sum()):,} such "
                "rows): a weight must be a number, 0 or more; mend or remove those rows"
            )
        return checked_weights(numbers.to_numpy(), f"weight in {name!r}", "row", first=1)
