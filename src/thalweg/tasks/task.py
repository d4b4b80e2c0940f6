"""What is minimised: a model, a loss of a batch, and the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.tasks.metrics import Metric
from thalweg.tasks.objectives import objective_of
from thalweg.tasks.sources import as_source, in_type
from thalweg.tasks.streams import Stream, as_data
from thalweg.types import Source


class Task:
    """A model, a loss and data: all that `thalweg.descend` needs besides an optimizer.

    model: the module that is trained, in place
    data: (inputs, targets) as arrays, frames or tensors of n samples, a Dataset of such pairs, or a
    DataLoader or other iterable of batches
    loss: "cross_entropy" (targets: class ids), "mse", or a function loss(outputs, targets) -> 0-d
    tensor, the mean
    validation: data like `data` that is only looked at
    metrics: what to measure beside the loss; by default those of the loss's row in the table
    weight: weight(inputs, targets) -> how much a batch's mean loss counts, where a batch is
    computed in parts: such as its number of tokens; by default its number of samples
    half: what a model with weights of 16 bits is given as inputs; its outputs are float32 again
    Raises DataError where inputs and targets do not fit together, UsageError for an unknown loss.

    >>> import torch, thalweg
    >>> x = torch.linspace(-1, 1, 100).reshape(-1, 1)
    >>> task = thalweg.Task(torch.nn.Linear(1, 1), (x, 3 * x), loss="mse")
    >>> len(task.data)
    100
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        loss: str | Callable[[Any, Any], Tensor] = "cross_entropy",
        validation: Any = None,
        metrics: Sequence[Metric] | None = None,
        weight: Callable[[Any, Any], float | Tensor] | None = None,
    ):
        self.model = model
        self.data: Source | Stream = as_data(data)
        self.validation = None if validation is None else as_source(validation)
        self.objective = objective_of(loss)
        self.metrics = tuple(self.objective.metrics if metrics is None else metrics)
        self._weight = weight
        self.half: torch.dtype | None = None

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a batch, 0-d; the model is an argument so that it can be wrapped."""
        inputs, targets = batch
        return self.objective.mean(self.outputs(model, inputs), targets)

    def outputs(self, model: nn.Module, inputs: Any) -> Any:
        """What a model makes of inputs; in float32 where its weights are of 16 bits."""
        if self.half is None:
            return model(inputs)
        return in_type(model(in_type(inputs, self.half)), torch.float32)

    @property
    def is_weighted(self) -> bool:
        """Does a part of a batch count by something else than its samples?"""
        return self._weight is not None

    def weight(self, batch: Any, share: float) -> float:
        """How much a part of a batch counts; share: that of its samples, the default."""
        return share if self._weight is None else float(self._weight(*batch))

    @property
    def device(self) -> torch.device:
        """Where the model lives: the device of its first parameter."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))
