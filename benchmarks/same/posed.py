"""A task as every peer gets it: the same network, samples, batch, rate, cadence and patience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Posed:
    """network: with thalweg's first weights; train, validation: Datasets of (input, target)

    clip: of the gradient's norm, None: none
    steps: planned; warmup: of them; evaluate_every: steps; patience: evaluations
    """

    network: nn.Module
    train: Dataset[Any]
    validation: Dataset[Any]
    batch_size: int
    look_size: int
    steps: int
    warmup: int
    evaluate_every: int
    patience: int
    lr: float
    clip: float | None
    seed: int

    @property
    def train_loader(self) -> DataLoader[Any]:
        """Shuffled batches, without workers: in memory they only cost."""
        torch.manual_seed(self.seed)
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    @property
    def validation_loader(self) -> DataLoader[Any]:
        return DataLoader(self.validation, batch_size=self.look_size)
