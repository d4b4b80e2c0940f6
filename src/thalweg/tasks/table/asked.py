"""What is asked of a table besides the table itself; the names are those of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """How rows are shared out.

    validation_share, test_share: of all rows; how: random, stratified, time:COL or group:COL; None:
    stratified for classes, else random
    folds: how many, and fold: the one (from 1) whose rows test here; None: no folds
    """

    seed: int = 0
    validation_share: float = 0.1
    test_share: float = 0.1
    how: str | None = None
    folds: int | None = None
    fold: int | None = None

    @property
    def kind(self) -> str | None:
        """The word before the colon, or the only one."""
        return None if self.how is None else self.how.partition(":")[0]

    @property
    def column(self) -> str | None:
        """The column that decides, of a split by time or by group."""
        return None if self.how is None else self.how.partition(":")[2] or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """target: the column to predict; task: auto, classification or regression

    parting: how rows are shared out; validation, test: rows of their own instead, a path, a frame
    or (inputs, targets)
    weights: the column that says how much each row counts
    embeds: can the model learn vectors for the levels of a category?
    """

    target: str
    task: str = "auto"
    seed: int = 0
    parting: Parting = Parting()
    validation: Any = None
    test: Any = None
    weights: str | None = None
    embeds: bool = False
