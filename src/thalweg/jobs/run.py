"""A run in hand: the trained model, what was measured, and how to predict with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from thalweg.draw.summary import summary_text
from thalweg.errors import RunError, UsageError
from thalweg.record import History
from thalweg.tasks.images.predictor import PicturePredictor
from thalweg.tasks.predictor import Predictor
from thalweg.tasks.reading import Reading
from thalweg.tasks.table.drift import Drift
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.text.spoken import LENGTH, TEMPERATURE
from thalweg.types import Verdict


class Run:
    """What `thalweg.fit` and `thalweg.load` return.

    model: the trained nn.Module, with the best weights
    schema: what each column is, for a run on a table; None for arrays
    folder: where it stands on disk, or None; result: the object that `fit --json` prints
    verdict: what health says of it
    out_of_fold: of one of several folds, a frame of predictions for the rows that tested it
    """

    def __init__(
        self,
        *,
        predictor: Predictor | PicturePredictor,
        folder: Path | None,
        result: dict[str, Any],
        verdict: Verdict,
        history: Callable[[], History],
        out_of_fold: Any = None,
    ):
        self.folder = folder
        self.result = result
        self.verdict = verdict
        self.out_of_fold = out_of_fold
        self._predictor = predictor
        self._history = history

    def __repr__(self) -> str:
        return f"<Run {self.folder or 'in memory'}: {self.verdict}>"

    def __str__(self) -> str:
        return summary_text(self.result)

    @property
    def model(self) -> Any:
        return self._predictor.model

    @property
    def reading(self) -> Reading:
        """How the model's outputs are read as answers."""
        return self._predictor.reading

    @property
    def schema(self) -> Schema | None:
        return self._predictor.schema

    @property
    def record(self) -> History:
        """All steps, evaluations and events, as columns."""
        return self._history()

    @property
    def report(self) -> Path:
        """The page that shows the run. Raises RunError where the run was kept in memory only."""
        if self.folder is None:
            raise RunError("this run has no report: it was kept in memory (out=None)")
        return self.folder / "report.html"

    def generate(
        self,
        prompt: str,
        *,
        length: int = LENGTH,
        temperature: float = TEMPERATURE,
        seed: int = 0,
    ) -> str:
        """What a language model writes after the prompt: `length` bytes, drawn under the seed.

        temperature: 0 takes the likeliest byte each time; 1 draws as often as the model expects
        Raises UsageError for a run that is no language model.
        """
        return self._predictor.generate(prompt, length=length, temperature=temperature, seed=seed)

    def predict(self, data: Any = None, *, prompt: str | None = None) -> Any:
        """Predictions for rows of the run's columns, or for inputs of the user's own model.

        data: a path, a frame, or an array of inputs, shape (n, ...); of a run on one column of
        texts also a list of texts
        prompt: of a language model instead: what it writes after that, a text
        Returns a frame of n rows, pandas for pandas: `prediction` and, for classes,
        `probability_<class>` for each. Raises DataError where columns do not match, naming them.
        """
        if (data is None) == (prompt is None):
            raise UsageError("predict needs data, or for a language model a prompt: one of them")
        return self._predictor.predict(data) if prompt is None else self.generate(prompt)

    def read(self, data: Any) -> Any:
        """A file or frame as `predict`, `evaluate` and `drift` take it, read once for all."""
        return self._predictor.read(data)

    def drift(self, data: Any) -> list[Drift]:
        """How rows differ from those that were trained on, a sentence for each change.

        data: a path or a frame for a run on a table; of arrays nothing is known
        Raises DataError where columns do not match, naming them.
        """
        return self._predictor.drift(data)

    def evaluate(self, data: Any) -> dict[str, float]:
        """Scores on rows that hold the target as well: rows, loss, accuracy, or rmse and r2.

        data: a path or a frame for a run on a table, else (inputs, targets)
        Raises DataError where columns do not match, naming them, or a class is unknown.
        """
        return self._predictor.evaluate(data)
