"""What a task's data are: a train and a validation part, and the loss of a constant answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.data import Table
from benchmarks.healthbench.objectives import OBJECTIVES, Objective
from benchmarks.problem import REGRESSION, features, target

WINDOW = 24
"""Bytes that the language model sees at once."""


@dataclass(frozen=True)
class Part:
    """Inputs (n, ...) and targets: (n,) class ids, (n, k) numbers or labels of 0 and 1, or
    (n, WINDOW) symbols.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, chosen: np.ndarray | Tensor) -> Part:
        """These rows, in this order."""
        rows = torch.as_tensor(chosen)
        return Part(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Data:
    """kind: classes, numbers, pictures (many numbers), labels (yes or no, one or many), symbols, or
    one with an objective of its own (`objectives.py`)

    num_outputs: of the network; huber: of numbers with a heavy tail, its loss is not squared
    """

    kind: str
    train: Part
    validation: Part
    num_outputs: int
    huber: bool = False

    @property
    def objective(self) -> Objective | None:
        """None where the kind has one of the usual losses."""
        return OBJECTIVES.get(self.kind)

    @property
    def chance_loss(self) -> float:
        """The loss of the best constant answer: entropy of the labels, variance of the numbers."""
        y = self.validation.y
        if self.objective is not None:
            return self.objective.chance(y)
        if self.huber:
            answers = torch.quantile(y, torch.linspace(0.1, 0.9, 81))
            return min(float(nn.functional.huber_loss(a.expand_as(y), y)) for a in answers)
        if self.kind in ("numbers", "pictures"):
            return float(y.var(0, unbiased=False).mean())
        if self.kind == "labels":
            shares = y.mean(0).clamp(1e-6, 1 - 1e-6)
            return float(nn.functional.binary_cross_entropy(shares, shares))
        counts = torch.bincount(y.flatten(), minlength=self.num_outputs).double()
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * shares.log()).sum())

    @property
    def floor(self) -> float:
        """Below it the loss cannot, or need not, fall."""
        return 0.0 if self.objective is None else self.objective.floor(self.validation.y)

    def changed(self, change: Callable[[Part, str], Part]) -> Data:
        """The same change in both parts; it is told which one it is given."""
        parts = {"train": change(self.train, "train")}
        parts["validation"] = change(self.validation, "validation")
        return replace(self, **parts)


def of_table(table: Table, kind: str, num_train: int, num_validation: int) -> Data:
    """Rows drawn at random; numbers standardised by the train rows, categories as 0 and 1."""
    column = table.frame[table.target]
    order = np.random.default_rng(0).permutation(len(column))
    rows = order[:num_train], order[num_train : num_train + num_validation]
    x = torch.from_numpy(features(table.frame.drop(table.target), rows[0]))
    y, num_outputs, _ = target(column, kind, rows[0])
    whole = Part(x, torch.from_numpy(y))
    name = "numbers" if kind == REGRESSION else "classes"
    return Data(name, whole.rows(rows[0]), whole.rows(rows[1]), num_outputs)


def windows(symbols: np.ndarray, starts: np.ndarray) -> Part:
    """Pieces of a text, and the same one symbol further on."""
    whole = symbols[starts[:, None] + np.arange(WINDOW + 1)]
    return Part(torch.from_numpy(whole[:, :-1].copy()), torch.from_numpy(whole[:, 1:].copy()))
