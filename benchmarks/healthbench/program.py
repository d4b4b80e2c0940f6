"""A run about to be made: all that a training script holds, so that a fault can change it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.healthbench.recipes import Recipe, Task, factor, optimizer_of
from benchmarks.healthbench.sets import Data

Change = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(step, x, y) of a batch -> what the model is given instead."""


AVERAGED_EVERY = 5
"""Steps between two weights of which a running mean is made."""


@dataclass
class Program:
    """Everything the loop takes; see `programmed` for what it is where nothing is planted.

    order: rows of the train part by step; rate: of a step, counted from 1; onset: of a fault
    changes: to batches; acts: what happens at the start of a step; after: the same at its end
    honest: the data to score on at the end, where what is logged is not to be trusted
    other: further parts whose loss and accuracy are logged, by name
    shown: what of a loss is logged; lost: steps whose rows are missing from the log
    slowness: factor of a step's time
    averaged: the model with means of the weights, which is then the one that is scored
    """

    task: Task
    recipe: Recipe
    data: Data
    model: nn.Module
    optimizer: torch.optim.Optimizer
    criterion: Callable[[Tensor, Tensor], Tensor]
    logged: Callable[[Tensor, Tensor], Tensor]
    rate: Callable[[int], float]
    order: Callable[[int], np.ndarray]
    random: np.random.Generator
    onset: int = 1
    end: int = 0
    trains_in_mode: bool = True
    evaluates_in_mode: bool = True
    zeroes: bool = True
    changes: list[Change] = field(default_factory=list)
    acts: dict[int, list[Callable[[], None]]] = field(default_factory=lambda: defaultdict(list))
    after: list[Callable[[int], None]] = field(default_factory=list)
    gradients: list[Callable[[int], None]] = field(default_factory=list)
    honest: Data | None = None
    other: dict[str, Data] = field(default_factory=dict)
    shown: Callable[[float], float] = float
    lost: Container[int] = range(0)
    slowness: Callable[[int], float] = lambda step: 1.0
    notes: dict[str, object] = field(default_factory=dict)
    averaged: AveragedModel | None = None

    @property
    def scored(self) -> nn.Module:
        """What is evaluated."""
        return self.model if self.averaged is None else self.averaged

    @property
    def evaluates_every(self) -> int:
        """So many steps."""
        return max(1, self.recipe.steps // self.recipe.evaluations)

    @property
    def steps_per_epoch(self) -> int:
        """At the recipe's batch size, the last one whole or left out."""
        return max(1, len(self.data.train) // self.recipe.batch_size)

    def at(self, step: int, act: Callable[[], None]) -> None:
        """Do this before a step."""
        self.acts[step].append(act)

    def from_onset(self, change: Change) -> None:
        """Change all batches from the onset on."""
        self.changes.append(lambda step, x, y: change(step, x, y) if step >= self.onset else (x, y))

    def rates_from_onset(self, rate: Callable[[int, float], float]) -> None:
        """Another rate from the onset on, told what it would have been."""
        usual = self.rate
        self.rate = lambda step: rate(step, usual(step)) if step >= self.onset else usual(step)


def loss_of(data: Data, label_smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean loss of outputs and targets."""
    if data.objective is not None:
        return data.objective.loss
    if data.huber:
        return nn.HuberLoss()
    if data.kind in ("numbers", "pictures"):
        return nn.MSELoss()
    if data.kind == "labels":
        return nn.BCEWithLogitsLoss()
    entropy = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    if data.kind == "symbols":
        return lambda outputs, y: entropy(outputs.flatten(0, 1), y.flatten())
    return entropy


def programmed(task: Task, recipe: Recipe, data: Data, seed: int, random: np.random.Generator):
    """A sound program. The seed decides weights and order; `random` is left for faults."""
    torch.manual_seed(seed)
    model = task.network(data, recipe.shape)
    program = Program(
        *(task, recipe, data, model),
        optimizer=optimizer_of(recipe, model.parameters()),
        criterion=loss_of(data, recipe.label_smoothing),
        logged=loss_of(data),
        rate=lambda step: (
            recipe.lr * factor(recipe.schedule, min(1.0, (step - 1) / recipe.steps), recipe.warmup)
        ),
        order=shuffled(len(data.train), recipe.batch_size, seed),
        random=random,
        end=recipe.steps,
    )
    if recipe.average:
        mean = get_ema_multi_avg_fn(recipe.average)
        averaged = AveragedModel(model, multi_avg_fn=mean, use_buffers=True)
        program.averaged = averaged
        program.after.append(
            lambda step: averaged.update_parameters(model) if step % AVERAGED_EVERY == 0 else None
        )
    return program


def shuffled(num_rows: int, batch_size: int, seed: int) -> Callable[[int], np.ndarray]:
    """Rows of a step's batch: each epoch in an order of its own, a short last batch left out."""
    size = min(batch_size, num_rows)
    num_batches = num_rows // size
    orders: dict[int, np.ndarray] = {}

    def rows(step: int) -> np.ndarray:
        epoch, place = divmod(step - 1, num_batches)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = np.random.default_rng([seed, 1, epoch]).permutation(num_rows)
        return orders[epoch][place * size : (place + 1) * size]

    return rows
