"""What every picture of a run is made into before the model sees it; saved with the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.tasks.images.words import size_text
from thalweg.tasks.models.inputs import Pictures

COLOURS = {1: "grey", 3: "colour"}


@dataclass(frozen=True, slots=True)
class Shape:
    """Width, height and channels (1: grey, 3: red, green, blue) of a decoded picture."""

    width: int
    height: int
    channels: int

    @property
    def stored(self) -> tuple[int, int, int]:
        """Its bytes are an array of this shape, channels last."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> str:
        """As the setting image-size has it."""
        return size_text(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Form:
    """shape: of every picture; mean, deviation: of each channel over the training pictures, where
    black is 0 and white 1

    column: of the table that names the files; empty where folders are the classes
    """

    shape: Shape
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    column: str = ""

    def inputs(self, pictures: np.ndarray) -> Tensor:
        """What a model sees of bytes (n, height, width, channels): float32 of shape (n, channels,
        height, width).
        """
        mean, deviation = (torch.tensor(row).reshape(-1, 1, 1) for row in self._scales)
        last = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        values = torch.empty(last.shape).copy_(last)  # channels first, as models expect it
        return values.sub_(mean).div_(deviation)

    @property
    def reads(self) -> Pictures:
        """As a model that is built by name knows it."""
        return Pictures(self.shape.channels, self.shape.height, self.shape.width)

    @property
    def _scales(self) -> tuple[list[float], list[float]]:
        """In bytes, 0 .. 255."""
        return [255 * value for value in self.mean], [255 * value for value in self.deviation]

    def to_dict(self) -> dict[str, Any]:
        """As plain values that TOML can hold."""
        scales = {"mean": list(self.mean), "deviation": list(self.deviation)}
        return {**asdict(self.shape), **scales, **({"column": self.column} if self.column else {})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Form:
        shape = Shape(values["width"], values["height"], values["channels"])
        column = values.get("column", "")
        return cls(shape, tuple(values["mean"]), tuple(values["deviation"]), column)
