"""How a model's outputs are read as answers, and these judged; saved with the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

LINKS = ("softmax", "sigmoid", "identity", "exp", "quantiles")
"""What turns outputs into answers.

softmax: (n, classes) into probabilities; sigmoid: one for each label, or one for the second of two
classes; identity: numbers; exp: the logarithm of a mean; quantiles: a number for each level, put in
order, so that no quantile lies beyond the next
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """link: of LINKS; quantiles: levels, ascending, with 0.5 among them

    shift, scale: of a link exp, whose mean is shift + scale * number in the unit of the targets
    threshold: of two classes, the probability above which the answer is class `positive`; None: the
    likelier class is the answer
    temperature: what outputs are divided by before they become probabilities, of classes and labels
    loss, smoothing, class_weights: what was minimised, with a weight for each class, in order
    metrics: names of what was measured; weights: the column that weighs the rows
    """

    link: str = "identity"
    quantiles: tuple[float, ...] = ()
    shift: float = 0.0
    scale: float = 1.0
    threshold: float | None = None
    positive: int = 1
    temperature: float = 1.0
    loss: str | None = None
    smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    metrics: tuple[str, ...] = ()
    weights: str | None = None

    def num_outputs(self, kind: str | None) -> int | None:
        """Outputs that a model needs; None: as ever for the kind of task."""
        if self.quantiles:
            return len(self.quantiles)
        return 1 if self.link == "sigmoid" and kind == "classification" else None

    def probabilities(self, outputs: Tensor) -> np.ndarray:
        """Of each class (n, classes), or of each label (n, labels); float64."""
        if self.link != "sigmoid":
            return torch.softmax(outputs.double() / self.temperature, dim=1).numpy()
        found = torch.sigmoid(outputs.double() / self.temperature)
        if found.dim() > 1 and found.shape[1] > 1:
            return found.numpy()
        found = found.reshape(-1)
        return torch.stack([1 - found, found], dim=1).numpy()

    def classes(self, outputs: Tensor) -> np.ndarray:
        """The class that is the answer, int64 of shape (n,)."""
        if self.threshold is None and self.link != "sigmoid":
            return outputs.argmax(dim=1).numpy()
        return self.classes_of(self.probabilities(outputs))

    def classes_of(self, probabilities: np.ndarray) -> np.ndarray:
        """The class that is the answer, from probabilities (n, classes)."""
        if self.threshold is None:
            return probabilities.argmax(axis=1)
        is_positive = probabilities[:, self.positive] > self.threshold
        return np.where(is_positive, self.positive, 1 - self.positive)

    def numbers(self, outputs: Tensor) -> Tensor:
        """The number that is the answer, in the unit of the targets: the median of quantiles."""
        if self.link == "quantiles":
            return self.levels(outputs)[:, self.quantiles.index(0.5)]
        if self.link == "exp":
            return (outputs.exp() - self.shift) / self.scale
        return outputs

    def levels(self, outputs: Tensor) -> Tensor:
        """The quantiles (n, levels), each at least the one before it."""
        return outputs.reshape(len(outputs), -1).sort(dim=1).values

    def to_dict(self) -> dict[str, Any]:
        """As plain values that TOML can hold; what is as ever is left out."""
        values = {row.name: _plain(getattr(self, row.name)) for row in fields(self)}
        plain = Reading()
        return {
            name: value
            for name, value in values.items()
            if name == "link" or (value not in (None, []) and value != getattr(plain, name))
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reading:
        return cls(**{name: _frozen(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def reading_of_kind(kind: str | None) -> Reading:
    """That of a run which asked for nothing."""
    links = {"classification": "softmax", "multilabel": "sigmoid"}
    return Reading(links.get(kind or "", "identity"))
