"""One training step: forward, loss, backward, update."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thalweg.keys import Purpose, key
from thalweg.loop.backward import backward
from thalweg.loop.batches import Batch
from thalweg.loop.gradients import OrderedSum
from thalweg.loop.norms import Measured, Statistics
from thalweg.loop.phase import Phase
from thalweg.loop.turns import only, together
from thalweg.optim.bounds import UNBOUNDED, Bounds
from thalweg.optim.updater import updater
from thalweg.scale.compiled import Loss
from thalweg.scale.precision import FLOAT32, LossScale, Precision
from thalweg.scale.recompute import Recompute
from thalweg.tasks.batch_loss import summed
from thalweg.tasks.draws import seed_device
from thalweg.tasks.task import Task
from thalweg.types import Measures


class Stepper:
    """Takes the training steps of one task.

    What a step draws (dropout) comes from (seed, number, shard): a function of the place.
    precision: what the model computes in; loss_scale: fp16's, or None
    recompute: compute what is inside of blocks again in the backward pass, to save memory
    loss: the loss of a batch with the forward pass in it, the task's own or a compiled one
    Raises UsageError where there are no blocks to compute again.
    """

    def __init__(
        self,
        task: Task,
        optimizer: torch.optim.Optimizer,
        seed: int,
        precision: Precision = FLOAT32,
        *,
        recompute: bool = False,
    ):
        self.task = task
        self.loss: Loss = task.losses
        self.optimizer = optimizer
        self.device = task.device
        self.loss_scale = LossScale(self.device) if precision.needs_scale else None
        self.phase = Phase(task.model, optimizer, self.loss_scale)
        self.precision = precision
        self._recompute = Recompute(task.model) if recompute else None
        self._seed = seed
        self._update = updater(optimizer)
        self._statistics = Statistics(task.model)

    def twin(self) -> Stepper:
        """One like it over a copy of the model and the optimizer, to try steps with."""
        task = copy.copy(self.task)
        task.model, optimizer = copy.deepcopy((task.model, self.optimizer))
        is_saving = self._recompute is not None
        return Stepper(task, optimizer, self._seed, self.precision, recompute=is_saving)

    def __call__(self, batch: Batch, number: int, bounds: Bounds | None = UNBOUNDED) -> Measured:
        """Apply one update; what was measured of it, on the device and not waited for.

        bounds: what loss and gradient may be at most; None: the step is applied whatever it is
        """
        if not self.task.phases:
            return self._turn(batch, number, bounds, self.loss)
        batch = replace(batch, shards=list(batch.shards))  # each turn goes over them
        found = {}
        for turn, (name, loss) in enumerate(self.task.phases.items()):
            with only(self.task.model, name):  # what is not finite is no step; no more is watched
                found[name] = self._turn(batch, number, UNBOUNDED, loss, turn)
        return together(found)

    def _turn(
        self, batch: Batch, number: int, bounds: Bounds | None, loss: Loss, turn: int = 0
    ) -> Measured:
        """One update; the whole step, or one of several turns in it."""
        self._statistics.keep()
        losses, scale = self.backward(batch, number, loss, turn), self.loss_scale
        if scale is None:
            measured = {**losses, **self._update(losses["loss"], bounds)}
        else:
            used = scale.value.clone()
            held = bounds or UNBOUNDED  # an overflow is no step, guard or not
            update = self._update(losses["loss"], held, used)
            measured = {**losses, **update, "loss_scale": used}
            scale.saw(measured["gradient_norm"])
        if bounds is not None:
            self._statistics.undo_if_skipped(measured, bounds)
        return measured

    def backward(
        self, batch: Batch, number: int, loss: Loss | None = None, turn: int = 0
    ) -> dict[str, Tensor]:
        """Leave the gradient of the batch's mean loss in `.grad`; returns that loss, and those that
        it is the sum of.

        loss: of the turn, if a step has several
        """
        params = [p for group in self.optimizer.param_groups for p in group["params"]]
        for p in params:
            p.grad = None
        total = OrderedSum(params) if batch.num_shards > 1 else None
        found, weights = [], []
        self.seed(number, 0, turn)
        for shard, (share, data) in enumerate(batch.shards):
            self.seed(number, shard, turn)
            with self.precision.forward(self.device), self._saving_memory():
                mean, several = summed((loss or self.loss)(self.task.model, data))
            if total is None:
                backward(self._scaled(mean))
                return _detached(mean, several)
            weights.append(self.task.weight(data, share))
            part = weights[-1] / weights[0] if self.task.is_weighted else share
            backward(self._scaled(mean * part))
            found.append({name: x * part for name, x in _detached(mean, several).items()})
            total.add()
        assert total is not None
        factor = weights[0] / sum(weights) if self.task.is_weighted else 1.0
        total.finish(factor)
        return {name: torch.stack([row[name] for row in found]).sum() * factor for name in found[0]}

    def aside(self, number: int, data: Any) -> Tensor:
        """The loss of a batch that no step sees, as in training; its draws come from a key apart.

        number: which of such batches it is, from 0
        """
        seed_device(key(Purpose.STATISTICS, self._seed, number), self.device)
        with self.precision.forward(self.device):
            return self.task.loss(self.task.model, data)

    def seed(self, number: int, shard: int, turn: int = 0) -> None:
        """Seed what the forward pass of a step's shard draws from."""
        place = (number, shard, turn) if turn else (number, shard)
        seed_device(key(Purpose.STEP, self._seed, *place), self.device)

    def _saving_memory(self) -> AbstractContextManager[None]:
        return nullcontext() if self._recompute is None else self._recompute.applied()

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.loss_scale is None else loss * self.loss_scale.value


def _detached(loss: Tensor, several: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The loss, and those that it is the sum of, without their graph."""
    found = {"loss": loss.detach()}
    return {**found, **{name: x.detach() for name, x in several.items()}} if several else found


def measures_of(measured: Measured) -> Measures:
    """What was measured, read from the device when it is first asked for; None: not measured."""
    return Measures(lambda: {k: float(v) for k, v in measured.items() if v is not None})
