"""A run as a log of any tool holds it: series by role, and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LOSS, VALIDATION, LR, NORM = "loss", "validation_loss", "lr", "gradient_norm"
"""Roles whose columns a user may name."""

SECONDS, SCALE, SKIPPED = "seconds", "loss_scale", "skipped"
"""Seconds per step; what an fp16 loss is multiplied by; steps that were not taken."""

IN_TURNS, REWARDS = "in turns", "rewards"
"""Kinds of training whose losses do not say how it goes: optimizers that step in turns, each on a
loss of its own, as those of networks that play against each other; and reinforcement learning."""

TRAIN, PARAMETERS = "train_loss", "parameter_norm"
"""The loss on training samples as evaluations measure it, beside that of the steps; the norm of
all parameters."""


@dataclass(frozen=True, slots=True)
class Series:
    """One column: values (n,), float64, at steps (n,), which rise; NaN and infinities as they were.

    name: what the log calls it
    """

    name: str
    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def thinned(self, count: int = 100) -> list[list[float]]:
        """[step, value] of the first, lowest and highest of each of so many parts; what is not
        finite counts as highest.
        """
        size = max(1, len(self) // count)
        kept: list[int] = []
        for begin in range(0, len(self), size):
            part = np.nan_to_num(self.values[begin : begin + size], nan=np.inf)
            kept += sorted({begin, begin + int(part.argmin()), begin + int(part.argmax())})
        return [[float(self.steps[i]), float(self.values[i])] for i in kept]

    @classmethod
    def of(cls, name: str, points: Iterable[tuple[float, float]]) -> Series:
        """From (step, value), in the order in which they were written."""
        rows = np.array(list(points), dtype=np.float64).reshape(-1, 2)
        return cls(name, rows[:, 0], rows[:, 1])


@dataclass(slots=True)
class Log:
    """What was read of one run.

    source: the file or folder, as it was named; format: csv, jsonl, text, tensorboard or
    trainer_state; tool: whose words its settings are in (see tools.py), or ""
    series: by role (above), or by set and metric: train_accuracy, validation_accuracy, ...
    unit: of the steps: "step", or "epoch" or "row" where the log counts no others
    settings: what is known of the run, in our words where there are such: batch_size, clip, ...
    rows: lines or records that were read; notes: what reading it took, a line each
    checkpoints: path of each that lies beside it, by its step; the last ones
    facts: of the model itself, by name, where one was at hand (`probes.structure`)
    split: of a run of ours, what was found as its data were shared out (`tasks.table.found`)
    parts: names of other losses that stand beside it, of which it may be the sum
    kind: of training, where its losses do not say how it goes (above), else ""
    trials: of a run of ours, trials of causes that were made in it (`health.tried.kept`)
    """

    source: str
    format: str
    tool: str = ""
    series: dict[str, Series] = field(default_factory=dict)
    unit: str = "step"
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    trials: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    parts: tuple[str, ...] = ()

    def get(self, role: str) -> Series | None:
        """The series of a role; None where the log has none."""
        return self.series.get(role)
