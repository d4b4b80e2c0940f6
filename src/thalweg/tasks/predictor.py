"""A trained model with what it takes to predict and to score rows of anybody's data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from thalweg.errors import DataError, UsageError
from thalweg.tasks.measure import measure, outputs_of
from thalweg.tasks.metrics import metric_of, metrics_of
from thalweg.tasks.objectives import objective_saved
from thalweg.tasks.predictions import as_frame
from thalweg.tasks.reading import Reading, reading_of_kind
from thalweg.tasks.sources import Arrays, as_source, as_tensor, with_weights
from thalweg.tasks.table.drift import Drift, drift_of
from thalweg.tasks.table.encode import check_columns, encode_inputs, encode_target
from thalweg.tasks.table.frames import frame_of_arrays
from thalweg.tasks.table.read import read_table
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.several import LOSSES, metrics_for
from thalweg.tasks.table.source import is_stored, name_of
from thalweg.tasks.table.weigh import weights_in
from thalweg.tasks.task import Task
from thalweg.tasks.text.language import LANGUAGE
from thalweg.tasks.text.spoken import check_language, continued, scored
from thalweg.tasks.text.words import are_texts, frame_of_texts
from thalweg.types import Source


@dataclass(frozen=True, slots=True)
class Rows:
    """A table that was read for a predictor, and what to call it in messages."""

    frame: pl.DataFrame
    name: str


class Predictor:
    """model, the schema of its table (None: arrays), its kind of task and the loss of that kind.

    context: bytes that a language model sees at once
    """

    def __init__(
        self,
        model: nn.Module,
        schema: Schema | None,
        kind: str | None,
        loss: Any,
        reading: Reading | None = None,
        *,
        context: int = 0,
    ):
        self.context = context
        self.reading = reading or reading_of_kind(kind)
        self.model = model
        self.schema = schema
        self.kind = kind
        self.loss = loss
        dtypes = {p.dtype for p in model.parameters()}
        self._half = torch.bfloat16 if torch.bfloat16 in dtypes else None

    def predict(self, data: Any) -> Any:
        """A frame of `prediction` and, for classes, `probability_<class>` for each.

        data: a path, a frame, or an array of inputs of shape (n, ...); pandas gives pandas
        Raises DataError where columns do not match, naming them.
        """
        if self.kind == LANGUAGE:
            raise UsageError("this run is a language model: give it a prompt to go on from")
        if self.schema is None:
            self._check_no_file(data)
            inputs = as_tensor(data, "inputs")
        else:
            frame, name = self._read(data)
            inputs = torch.from_numpy(encode_inputs(frame, self.schema, name))
        source = Arrays(inputs, torch.zeros(len(inputs)))
        try:
            outputs, _ = outputs_of(self.task_on(source, loss="mse"), source)
        except IndexError as error:  # a lookup in a table of vectors that is too short
            raise DataError(f"the data holds an id that the model does not know: {error}") from None
        return as_frame(outputs, self.schema, self.kind, like=data, reading=self.reading)

    def generate(self, prompt: str, *, length: int, temperature: float, seed: int) -> str:
        """What a language model writes after a prompt. Raises UsageError where it is none."""
        check_language(self.kind)
        return continued(
            self.model,
            prompt,
            context=self.context,
            length=length,
            temperature=temperature,
            seed=seed,
        )

    def evaluate(self, data: Any) -> dict[str, float]:
        """Rows, loss and metrics on data that holds the target as well.

        data: a path or a frame for a table, else (inputs, targets) or a Dataset
        Raises DataError where columns do not match, naming them, or a class is unknown.
        """
        if self.kind == LANGUAGE:
            return scored(self.model, data, context=self.context)
        if self.schema is None:
            self._check_no_file(data)
        source = as_source(data) if self.schema is None else self._labelled(data, self.schema)
        task = self.task_on(source, loss=self.loss or self.saved_loss())
        values, _ = measure(task, source.to(task.device))
        return {"rows": len(source), **values}

    def _check_no_file(self, data: Any) -> None:
        """Raise DataError for a path where arrays were trained on."""
        if is_stored(data):
            raise DataError(
                f"{name_of(data)} cannot be read for this run, which was trained on arrays: give "
                "arrays like those, from Python: thalweg.load(run).predict(inputs)"
            )

    def read(self, data: Any) -> Any:
        """Data as `predict`, `evaluate` and `drift` take it, so that a file is read once."""
        return data if self.schema is None else Rows(*self._read(data))

    def drift(self, data: Any) -> list[Drift]:
        """How the rows differ from those that were trained on; nothing is known of arrays.

        Raises DataError where columns do not match, naming them.
        """
        if self.schema is None:
            return []
        frame, name = self._read(data)
        check_columns(frame, self.schema, name)
        return drift_of(frame, self.schema, name)

    def _labelled(self, data: Any, schema: Schema) -> Arrays:
        frame, name = self._read(data)
        targets = encode_target(frame, schema.target, name)
        inputs = encode_inputs(frame, schema, name)
        found = Arrays(torch.from_numpy(inputs), torch.from_numpy(targets))
        column = self.reading.weights
        if column is None:
            return found
        if column not in frame.columns:
            raise DataError(
                f"{name} lacks the column {column!r}, which weighs the rows of this run: add it, "
                "1 for rows that are alike"
            )
        return with_weights(found, weights_in(frame, column, name))

    def saved_loss(self) -> Any:
        """The run's loss, by what was saved of it."""
        return (
            loss_of_kind(self.kind) if self.reading.loss is None else objective_saved(self.reading)
        )

    def task_on(self, source: Source, loss: Any) -> Task:
        """The model with a loss and metrics; `source` only fills the training set's place."""
        own = metrics_for(self.schema.target) if self.schema else metrics_of(self.kind)
        deviation = self.schema.target.deviation if self.schema else 1.0
        rows = {row.name: row for row in own}
        names = self.reading.metrics or tuple(rows)
        metrics = tuple(
            (rows.get(name) or metric_of(name)).bound(self.reading, deviation) for name in names
        )
        task = Task(self.model, source, loss=loss, metrics=metrics, reading=self.reading)
        task.half = self._half
        return task

    def _read(self, data: Any) -> tuple[pl.DataFrame, str]:
        """Rows as a table, and what to call it in messages."""
        assert self.schema is not None
        if isinstance(data, Rows):
            return data.frame, data.name
        if self.schema.words is not None and are_texts(data):
            return frame_of_texts(data, self.schema.words), "the data"
        if isinstance(data, np.ndarray | Tensor | list):
            return frame_of_arrays(data), "the data"
        if isinstance(data, Sequence) and not isinstance(data, str) and len(data) == 2:
            return frame_of_arrays(*data), "the data"
        table = read_table(data, texts=self.schema.texts, numbers=self.schema.numbers)
        for doubt in table.doubts:
            warnings.warn(doubt, stacklevel=3)
        return table.frame, table.name


def loss_of_kind(kind: str | None) -> str:
    """The loss of a kind of task. Raises DataError where it was the user's own."""
    if kind is None:
        raise DataError("this run has a loss of its own: score it with the function that made it")
    return LOSSES[kind]
