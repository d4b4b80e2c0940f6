"""What `fit` returns of folds: a model for each, and the results of all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thalweg.draw.folds import folds_text
from thalweg.errors import RunError
from thalweg.jobs.run import Run
from thalweg.types import Verdict


class Folds:
    """runs: of the folds that were trained; folder: that holds them, or None

    out_of_fold: a frame of one prediction for each row, by the model that was not trained on it
    result: the object that `fit --json` prints; verdict: that of the least healthy fold
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        folder: Path | None,
        out_of_fold: Any,
        result: dict[str, Any],
        verdict: Verdict,
    ):
        self.runs = tuple(runs)
        self.folder = folder
        self.out_of_fold = out_of_fold
        self.result = result
        self.verdict = verdict

    def __repr__(self) -> str:
        return f"<{len(self.runs)} folds {self.folder or 'in memory'}: {self.verdict}>"

    def __str__(self) -> str:
        return folds_text(self.result)

    @property
    def report(self) -> Path:
        """The page that shows them. Raises RunError where they were kept in memory only."""
        if self.folder is None:
            raise RunError("these folds have no report: they were kept in memory (out=None)")
        return self.folder / "report.html"
