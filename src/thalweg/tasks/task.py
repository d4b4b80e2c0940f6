"""What is minimised: a model, a loss of a batch, and the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.tasks.batch_loss import (
    BatchLoss,
    Losses,
    check_losses,
    checked_phases,
    each_of,
    summed,
)
from thalweg.tasks.metrics import Metric
from thalweg.tasks.objectives import Objective, objective_of
from thalweg.tasks.reading import Reading
from thalweg.tasks.sources import Arrays, as_source, in_type, scaled
from thalweg.tasks.streams import Stream, as_data
from thalweg.tasks.watched import watched_of
from thalweg.types import Source


class Task:
    """A model, a loss and data: all that `thalweg.descend` needs besides an optimizer.

    model: the module that is trained, in place
    data: (inputs, targets) as arrays, frames or tensors of n samples, a Dataset of such pairs, or a
    DataLoader or other iterable of batches; (inputs, targets, weights) where samples count more or
    less, which are brought to a mean of 1
    loss: a row of `thalweg.tasks.objectives.OBJECTIVES`, such as "cross_entropy" (targets: class
    ids), "focal:gamma=2" or "mse"; "module:function", or a function loss(outputs, targets) -> the
    mean, 0-d, or each sample's loss, (n,)
    validation: data like `data` that is only looked at
    test: data like `data` that `fit` scores at the end, and nobody else looks at
    metrics: what to measure beside the loss; by default those of the loss's row in the table
    metric: which of them (or another, by name) decides what is best and when to stop; by default
    the loss
    reading: how outputs become answers; by default the loss's
    weight: weight(inputs, targets) -> how much a batch's mean loss counts, where a batch is
    computed in parts: such as its number of tokens; by default its number of samples
    batch_loss: instead of `loss`, batch_loss(model, batch) -> the mean loss of a batch as the
    data gives it, 0-d; or several by name, whose sum is minimised and each of which is recorded
    phases: instead of `loss`, {"critic": batch_loss, "generator": batch_loss}: parts of the
    model, by name, that are trained in turns in every step, each by its own loss
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
        loss: str | Objective | Callable[[Any, Any], Tensor] | None = None,
        validation: Any = None,
        test: Any = None,
        metrics: Sequence[Metric] | None = None,
        metric: str | Metric | Callable[[Any, Any], Any] | None = None,
        reading: Reading | None = None,
        weight: Callable[[Any, Any], float | Tensor] | None = None,
        batch_loss: BatchLoss | None = None,
        phases: Mapping[str, BatchLoss] | None = None,
    ):
        self.model = model
        self.data: Source | Stream = as_data(data)
        self.validation = None if validation is None else as_source(validation)
        self.test = None if test is None else as_source(test)
        if sum(given is not None for given in (loss, batch_loss, phases)) > 1:
            raise UsageError("give one of loss, batch_loss and phases, and leave the others out")
        self.phases = checked_phases(model, phases or {})
        self.batch_loss = each_of(self.phases) if self.phases else batch_loss
        chosen: Any = self.batch_loss or loss or "cross_entropy"
        self.objective = objective_of(chosen)
        row = self.objective
        self._reading = reading or Reading(row.link, row.levels)
        chosen = tuple(row.metrics if metrics is None else metrics)
        self.watched, self._metrics = watched_of(metric, chosen)
        if isinstance(self.data, Arrays) and self.data.weights is not None:
            if weight is not None:
                raise UsageError("weight= has no effect: the data brings a weight for each sample")
            self.data = scaled(self.data)
        self._weight = weight
        self.half: torch.dtype | None = None

    def losses(self, model: nn.Module, batch: Any) -> Losses:
        """The mean loss of a batch, 0-d, or several by name, whose sum it is.

        The model is an argument so that it can be wrapped.
        """
        if self.batch_loss is not None:
            return check_losses(self.batch_loss(model, batch), self.objective.name)
        return self.loss(model, batch)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a batch, 0-d."""
        if self.batch_loss is not None:
            return summed(self.losses(model, batch))[0]
        inputs, targets, *weights = batch
        outputs = self.outputs(model, inputs)
        if weights:
            return self.objective.weighted(outputs, targets, weights[0])
        return self.objective.mean(outputs, targets)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured beside the loss, of outputs that are read as this task reads them."""
        return tuple(row if row.reading else row.bound(self.reading) for row in self._metrics)

    @property
    def reading(self) -> Reading:
        """How outputs become answers."""
        return self._reading

    @reading.setter
    def reading(self, reading: Reading) -> None:
        self._reading = reading
        self._metrics = tuple(row.bound(reading, row.deviation) for row in self._metrics)

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
