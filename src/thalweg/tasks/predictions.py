"""Outputs of a model as predictions that people can read."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from torch import Tensor

from thalweg.tasks.reading import Reading, reading_of_kind
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.target import Target

_TYPES = {"integer": pl.Int64, "float": pl.Float64, "text": pl.String}


def as_frame(
    outputs: Tensor,
    schema: Schema | None,
    kind: str | None,
    like: Any = None,
    reading: Reading | None = None,
) -> Any:
    """A frame of `prediction` and one `probability_<class>` each; pandas like `like`.

    reading: how outputs are read; quantiles are columns of their own, `quantile_0.1` and so on
    """
    reading = reading or reading_of_kind(kind)
    if kind == "classification":
        probabilities = reading.probabilities(outputs)
        frame = _classes(probabilities, schema, reading.classes_of(probabilities))
    elif kind == "multilabel" and schema is not None:
        frame = _labels(reading.probabilities(outputs), schema.target)
    elif reading.link == "quantiles":
        frame = _numbers(reading.numbers(outputs).double().reshape(-1, 1).numpy(), schema)
        frame = frame.hstack(_levels(outputs, schema, reading))
    elif reading.link == "exp":
        frame = _numbers(
            reading.numbers(outputs.double()).reshape(len(outputs), -1).numpy(), schema
        )
    else:
        frame = _numbers(outputs.double().reshape(len(outputs), -1).numpy(), schema)
    is_pandas = nw.dependencies.is_pandas_dataframe(like)
    return frame.to_pandas() if is_pandas else frame


def _numbers(values: np.ndarray, schema: Schema | None) -> pl.DataFrame:
    """Values of shape (n, k) in the target's own unit; for k > 1 a column each."""
    if schema is not None:
        values = values * schema.target.deviations + schema.target.means
    count = values.shape[1]
    suffixes = schema.target.names if schema is not None else range(count)
    names = ["prediction"] if count == 1 else [f"prediction_{suffix}" for suffix in suffixes]
    return pl.DataFrame({name: values[:, i] for i, name in enumerate(names)})


def _levels(outputs: Tensor, schema: Schema | None, reading: Reading) -> pl.DataFrame:
    """A column for each quantile, each value at least that of the quantile below it."""
    levels = reading.levels(outputs).double()
    found = [_numbers(levels[:, i : i + 1].numpy(), schema) for i in range(levels.shape[1])]
    names = [f"quantile_{level:g}" for level in reading.quantiles]
    return pl.DataFrame(
        {name: frame.get_column("prediction") for name, frame in zip(names, found, strict=True)}
    )


def _labels(probabilities: np.ndarray, target: Target) -> pl.DataFrame:
    """The labels with a probability above one half, joined; and each one's probability."""
    joined = [
        target.separator.join(target.classes[i] for i in np.flatnonzero(row))
        for row in probabilities > 0.5
    ]
    columns = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(target.classes)}
    return pl.DataFrame({"prediction": joined, **columns})


def _classes(probabilities: np.ndarray, schema: Schema | None, answers: np.ndarray) -> pl.DataFrame:
    names = (
        schema.target.classes if schema else tuple(str(i) for i in range(probabilities.shape[1]))
    )
    class_type = schema.target.class_type if schema else "integer"
    chosen = pl.Series("prediction", np.array(names, dtype=object)[answers].tolist())
    is_boolean = class_type == "boolean"
    chosen = chosen == "true" if is_boolean else chosen.cast(_TYPES[class_type])
    columns = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(names)}
    return pl.DataFrame(
        [chosen.rename("prediction"), *(pl.Series(k, v) for k, v in columns.items())]
    )
