"""Data made ready for a fit: three sources, what they mean, and what the baselines need.

Made of a table by `thalweg.tasks.table.study`, of arrays or a Dataset by `thalweg.tasks.arrays`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from thalweg.tasks.baselines import Scores
from thalweg.tasks.images.form import Form
from thalweg.tasks.metrics import Metric
from thalweg.tasks.models.inputs import Inputs, next_tokens
from thalweg.tasks.reading import Reading
from thalweg.tasks.table.found import Found
from thalweg.tasks.table.schema import Schema
from thalweg.types import Source

Kind = Literal["classification", "regression", "multilabel", "language"]


@dataclass(frozen=True, slots=True)
class Study:
    """What a fit needs of its data.

    train, validation, test: sources of (inputs, targets)
    kind: None where a loss of the user's own leaves it open
    loss: name of the loss, or an objective; metrics: measured beside it, in the target's own unit
    reading: how outputs are read; None: as ever for the kind
    classes: class names by id; mean, deviation: scale of a regression target
    inputs: what a model built by name reads; None where only the user's own can
    rows, num_features: size of the data; schema: of a table; notices: what was done to it, a line
    each found: what is to be known of the split
    task: of the user's own, whose data these are; None: one is made
    weights: of each row that the sources name, (rows,), where they do not hold them yet
    by: the column, of every row that the sources name, by whose values errors are told apart
    where(row): what to call one of these rows in messages, where they come from several files
    prefers: settings by name that suit the data where none were asked for
    images: what each picture is made into, of a study of pictures
    resolved: settings that the data decided where the user did not, by name
    baselines(seed) -> {"constant": {...}, "tree": {...}}, scored on the test set
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
    inputs: Inputs | None = None
    reading: Reading | None = None
    found: Found | None = None
    weights: np.ndarray | None = None
    task: Any = None
    by: pl.Series | None = None
    where: Callable[[int], str] | None = None
    prefers: Mapping[str, Any] = field(default_factory=dict)
    images: Form | None = None
    resolved: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_outputs(self) -> int:
        own = self.reading and self.reading.num_outputs(self.kind)
        if own:
            return own
        if self.schema is not None:
            return self.schema.target.num_outputs
        return len(self.classes) if self.classes else next_tokens(self.inputs) or 1
