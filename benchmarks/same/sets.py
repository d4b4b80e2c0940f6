"""The five tasks of `benchmarks.same_model`: data as a user has it, and as a peer's Dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from benchmarks import corpora, mails
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.sources import Arrays
from thalweg.tasks.text.windows import Windows

SHIFT = 4
"""Pixels by which thalweg's default augmentation shifts a picture of 28 at most, rounded up."""


@dataclass(frozen=True)
class Set:
    """What is given to `fit`: the data and the settings that say what it is.

    rows: how many of the data are taken where none are asked for; whole: all that there are
    """

    make: Callable[[int, Path], Any]
    settings: Mapping[str, Any]
    metric: str
    rows: int
    whole: int
    budget: Mapping[str, Any] = field(default_factory=dict)


def spam(rows: int, folder: Path) -> pl.DataFrame:
    return some(mails.load(), rows)


def fortunes(rows: int, folder: Path) -> pl.DataFrame:
    return some(corpora.fortunes(), rows)


def some(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """So many rows, the same each time."""
    return frame.sample(min(rows, frame.height), seed=0, shuffle=True)


def mnist(rows: int, folder: Path) -> Path:
    return corpora.folders("mnist", rows, rows // 6)


def fashion(rows: int, folder: Path) -> Path:
    return corpora.folders("fashion", rows, rows // 6)


def shakespeare(rows: int, folder: Path) -> Path:
    """The first so many bytes, as a file."""
    path = folder / "plays.txt"
    path.write_bytes(corpora.shakespeare()[:rows])
    return path


SETS = {
    "spam": Set(spam, {"text": "text", "target": "kind"}, "accuracy", 6_046, 6_046),
    "fortunes": Set(fortunes, {"text": "text", "target": "language"}, "accuracy", 20_000, 66_581),
    "mnist": Set(mnist, {}, "accuracy", 6_000, 60_000, {"epochs": 6}),
    "fashion": Set(fashion, {}, "accuracy", 6_000, 60_000, {"epochs": 6}),
    "shakespeare": Set(
        shakespeare, {"task": "lm"}, "bits per byte", 5_300_000, 5_300_000, {"steps": 300}
    ),
}


def dataset_of(source: Any) -> Dataset[Any]:
    """The samples of one of thalweg's sources as a peer's users would write them down."""
    if isinstance(source, Arrays):
        return TensorDataset(source.inputs, source.targets)
    if isinstance(source, PictureSource):
        return Shifted(source)
    assert isinstance(source, Windows)
    return Passages(source)


class Shifted(Dataset[Any]):
    """Pictures in memory, each shifted at random in training, mirrored at the edge."""

    def __init__(self, source: PictureSource):
        pictures = source.bytes_of(np.arange(len(source)))
        inputs = source.form.inputs(pictures)
        self.side = inputs.shape[-1]
        self.moves = source.augment != "none"
        edge = ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT))
        padded = np.pad(inputs.numpy(), edge, mode="symmetric") if self.moves else inputs.numpy()
        self.inputs, self.targets = torch.from_numpy(padded), source.targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = self.inputs[index]
        if self.moves:
            down, right = torch.randint(2 * SHIFT + 1, (2,)).tolist()
            picture = picture[:, down : down + self.side, right : right + self.side]
        return picture, self.targets[index]


class Passages(Dataset[Any]):
    """Windows of a text with the bytes that come next; in training they begin anywhere."""

    def __init__(self, source: Windows):
        self.text, self.length, self.moves = source.text.long(), source.length, source.moves
        self.count = len(source)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        last = len(self.text) - self.length - 1
        start = int(torch.randint(last + 1, ())) if self.moves else index * self.length
        passage = self.text[start : start + self.length + 1]
        return passage[:-1], passage[1:]
