"""Data made ready for a fit: three sources, what they mean, and what the baselines need.

Made of a table by `thalweg.tasks.table.study`, of arrays or a Dataset by `thalweg.tasks.arrays`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from thalweg.tasks.baselines import Scores
from thalweg.tasks.metrics import Metric
from thalweg.tasks.table.schema import Schema
from thalweg.types import Source

Kind = Literal["classification", "regression", "multilabel"]


@dataclass(frozen=True, slots=True)
class Study:
    """What a fit needs of its data.

    train, validation, test: sources of (inputs, targets)
    kind: None where a loss of the user's own leaves it open
    loss: name of the loss; metrics: measured beside it, in the target's own unit
    classes: class names by id; mean, deviation: scale of a regression target
    rows, num_features: size of the data; schema: of a table; notices: what was done to it, a line
    each baselines(seed) -> {"constant": {...}, "tree": {...}}, scored on the test set
    """

    name: str
    kind: Kind | None
    loss: Any
    metrics: tuple[Metric, ...]
    train: Source
    validation: Source
    test: Source
    rows: int
    num_features: int
    baselines: Callable[[int], dict[str, Scores]]
    classes: tuple[str, ...] | None = None
    schema: Schema | None = None
    mean: float = 0.0
    deviation: float = 1.0
    notices: tuple[str, ...] = ()

    @property
    def num_outputs(self) -> int:
        if self.schema is not None:
            return self.schema.target.num_outputs
        return len(self.classes) if self.classes else 1
