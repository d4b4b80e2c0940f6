"""From a table to arrays that every contender gets alike: split, encoded, standardised."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from polars import selectors
from sklearn.model_selection import train_test_split

from benchmarks.data import Table

CLASSIFICATION = "classification"
REGRESSION = "regression"


@dataclass(frozen=True)
class Setting:
    """What is fixed for a table, the same for every contender."""

    kind: str
    batch_size: int
    num_epochs: int


# Batch sizes such that an epoch has 45 to 170 steps; epochs such that most runs stop by patience.
SETTINGS = {
    "digits": Setting(CLASSIFICATION, batch_size=32, num_epochs=60),
    "letter": Setting(CLASSIFICATION, batch_size=128, num_epochs=60),
    "spambase": Setting(CLASSIFICATION, batch_size=32, num_epochs=40),
    "phoneme": Setting(CLASSIFICATION, batch_size=32, num_epochs=60),
    "diamonds": Setting(REGRESSION, batch_size=256, num_epochs=30),
}


@dataclass(frozen=True)
class Part:
    """Features (n, d) float32; target (n,) int64 classes or (n, 1) float32 standardised."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Problem:
    """One table split for one seed. `unit` is the target's standard deviation (1 for classes)."""

    kind: str
    train: Part
    validation: Part
    test: Part
    batch_size: int
    num_epochs: int
    num_outputs: int
    unit: float

    @property
    def num_features(self) -> int:
        """Columns after encoding."""
        return self.train.x.shape[1]


def pose(table: Table, setting: Setting, *, seed: int) -> Problem:
    """Split 80/10/10 (stratified by class), one-hot the categories, standardise by the train part.

    The categories' columns stay 0 and 1. A column that is constant in the train part becomes 0.
    """
    rows = split(table.frame[table.target], setting.kind, seed=seed)
    x = features(table.frame.drop(table.target), rows[0])
    y, num_outputs, unit = target(table.frame[table.target], setting.kind, rows[0])
    parts = [Part(x[chosen], y[chosen]) for chosen in rows]

    return Problem(
        setting.kind,
        *parts,
        batch_size=setting.batch_size,
        num_epochs=setting.num_epochs,
        num_outputs=num_outputs,
        unit=unit,
    )


def split(column: pl.Series, kind: str, *, seed: int) -> list[np.ndarray]:
    """Row numbers of train, validation and test."""
    classes = column.to_numpy() if kind == CLASSIFICATION else None
    train, rest = train_test_split(
        np.arange(len(column)), test_size=0.2, random_state=seed, stratify=classes
    )
    rest_classes = None if classes is None else classes[rest]
    validation, test = train_test_split(
        rest, test_size=0.5, random_state=seed, stratify=rest_classes
    )
    return [np.asarray(rows) for rows in (train, validation, test)]


def features(frame: pl.DataFrame, train: np.ndarray) -> np.ndarray:
    """(n, d) float32: the numbers, standardised by the train rows, then the 0/1 columns."""
    numbers = frame.select(selectors.numeric()).to_numpy().astype(np.float64)
    mean = numbers[train].mean(axis=0)
    deviation = numbers[train].std(axis=0)
    deviation[deviation == 0] = 1.0

    categories = frame.select(selectors.string())
    dummies = categories.to_dummies().to_numpy() if categories.width else numbers[:, :0]
    return np.hstack([(numbers - mean) / deviation, dummies]).astype(np.float32)


def target(column: pl.Series, kind: str, train: np.ndarray) -> tuple[np.ndarray, int, float]:
    """The target as trained on, the number of outputs, and the target's unit."""
    if kind == CLASSIFICATION:
        classes, codes = np.unique(column.to_numpy(), return_inverse=True)
        return codes.astype(np.int64), len(classes), 1.0

    y = column.to_numpy().astype(np.float64)
    mean = y[train].mean()
    unit = y[train].std()
    return ((y - mean) / unit).astype(np.float32)[:, None], 1, float(unit)
