"""The column of a table that says how much each row counts: it leaves the inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from thalweg.errors import DataError, UsageError, about
from thalweg.tasks.table.given import Given
from thalweg.tasks.weights import checked_weights


def check_weights(name: str, targets: Sequence[str], inputs: Mapping[str, Collection[str]]) -> None:
    """Raise UsageError where the target is to be the weight, or an input as well.

    inputs: by the name of a setting, the columns that it says something of as inputs
    """
    if name in targets:
        raise UsageError(
            f"weights and target are both {name!r}: rows cannot be weighed by the target"
        )
    for setting, names in inputs.items():
        if name in names:
            raise UsageError(
                f"weights and {setting} both name {name!r}: what weighs the rows is no input, "
                f"leave it out of --{setting}"
            )


def weighed(given: Given, name: str, source: str) -> tuple[Given, np.ndarray]:
    """The rows without their weights, and these, float64 of shape (rows,).

    Raises DataError where a weight cannot be used, with the row.
    """
    weights = [weights_in(part, name, called) for called, part in given.sources(source)]
    return replace(given, frame=given.frame.drop(name)), np.concatenate(weights)


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
