"""A run in hand: the trained model, what it takes to predict, and what was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from thalweg.draw.summary import summary_text
from thalweg.errors import RunError
from thalweg.loop.evaluate import chunks_of, evaluating
from thalweg.record import History
from thalweg.tasks import baselines
from thalweg.tasks.encode import encode_inputs, encode_target
from thalweg.tasks.predictions import as_frame, probabilities_of
from thalweg.tasks.read import frame_of_arrays, read_table
from thalweg.tasks.schema import Schema
from thalweg.tasks.sources import Arrays, as_tensor
from thalweg.types import Verdict


class Run:
    """What `thalweg.fit` and `thalweg.load` return.

    model: the trained nn.Module, with the best weights
    folder: where it stands on disk, or None; result: the object that `fit --json` prints
    verdict: what health says of it; record: all steps, evaluations and events, as columns
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        folder: Path | None,
        schema: Schema | None,
        result: dict[str, Any],
        verdict: Verdict,
        history: Callable[[], History],
    ):
        self.model = model
        self.folder = folder
        self.schema = schema
        self.result = result
        self.verdict = verdict
        self._history = history

    def __str__(self) -> str:
        return summary_text(self.result)

    @property
    def record(self) -> History:
        """All that was recorded."""
        return self._history()

    @property
    def report(self) -> Path:
        """The page that shows the run. Raises RunError where the run was kept in memory only."""
        if self.folder is None:
            raise RunError("this run has no report: it was kept in memory (out=None)")
        return self.folder / "report.html"

    def predict(self, data: Any) -> Any:
        """Predictions for rows of the run's columns, or for inputs of the user's own model.

        data: a path, a frame, or an array of inputs, shape (n, ...)
        Returns a frame of n rows, pandas for pandas: `prediction` and, for classes,
        `probability_<class>` for each. Raises DataError where columns do not match, naming them.
        """
        outputs = self._outputs(*self._inputs(data))
        return as_frame(outputs, self.schema, self._kind, like=data)

    def evaluate(self, data: Any) -> dict[str, float]:
        """Scores on rows that hold the target as well: accuracy and loss, or rmse and r2.

        data: a path or a frame for a run on a table, else (inputs, targets)
        """
        if self.schema is None:
            inputs, targets = data
            return self._scores(
                self._outputs(as_tensor(inputs, "inputs")), as_tensor(targets, "targets").numpy()
            )
        frame, name = self._read(data)
        inputs = torch.from_numpy(encode_inputs(frame, self.schema, name))
        return self._scores(self._outputs(inputs), encode_target(frame, self.schema.target, name))

    @property
    def _kind(self) -> str | None:
        return self.result["task"]["kind"]

    def _inputs(self, data: Any) -> tuple[Tensor]:
        if self.schema is None:
            return (as_tensor(data, "inputs"),)
        frame, name = self._read(data)
        return (torch.from_numpy(encode_inputs(frame, self.schema, name)),)

    def _read(self, data: Any) -> tuple[pl.DataFrame, str]:
        assert self.schema is not None
        if isinstance(data, np.ndarray | Tensor | list):
            return frame_of_arrays(data), "the data"
        texts = [column.name for column in self.schema.columns if column.kind == "category"]
        name = str(data) if isinstance(data, str | Path) else "the data"
        return read_table(data, texts=texts), name

    @torch.no_grad()
    def _outputs(self, inputs: Tensor) -> Tensor:
        """The model's outputs for all inputs, on the CPU."""
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        source = Arrays(inputs, torch.zeros(len(inputs)))
        with evaluating(self.model):
            outputs = [self.model(batch[0].to(device)).cpu() for _, batch in chunks_of(source)]
        return torch.cat(outputs)

    def _scores(self, outputs: Tensor, targets: np.ndarray) -> dict[str, float]:
        if self._kind == "classification":
            probabilities = probabilities_of(outputs)
            chosen = probabilities[np.arange(len(targets)), targets]
            return {
                "rows": len(targets),
                "loss": float(-np.log(np.maximum(chosen, 1e-300)).mean()),
                "accuracy": float((probabilities.argmax(axis=1) == targets).mean()),
            }
        if self._kind == "regression":
            mean, deviation = (
                (self.schema.target.mean, self.schema.target.deviation)
                if self.schema
                else (0.0, 1.0)
            )
            values = outputs.double().numpy().reshape(targets.shape)
            scale = baselines.errors(
                values * deviation + mean, targets.astype(np.float64) * deviation + mean
            )
            return {
                "rows": len(targets),
                "loss": float(np.square(values - targets).mean()),
                **scale,
            }
        raise RunError("this run has a loss of its own: score it with the function that made it")
