"""Faults of the unseen tasks alone: known kinds, planted in other ways than the ten tasks have."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import inner_layers
from benchmarks.healthbench.planted.descent import HIGH
from benchmarks.healthbench.planted.machine import cut
from benchmarks.healthbench.planted.row import (
    MID,
    Planted,
    of_batch_norm,
    of_classes,
    of_columns,
    of_floats,
)
from benchmarks.healthbench.planted.samples import few, unchecked
from benchmarks.healthbench.program import Program, loss_of, shuffled
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of
from benchmarks.healthbench.sets import Data, Part


def rises(program: Program, times: float) -> None:
    """A schedule with its factor upside down: at two milestones the rate rises, and rises again."""
    second = program.onset + program.end // 5
    program.rates_from_onset(
        lambda step, usual: usual * (times if step < second else times * times)
    )


def unwarmed(recipe: Recipe, times: float) -> Recipe:
    """A rate that only a warm-up would bear, and the warm-up is forgotten."""
    return replace(recipe, lr=recipe.lr * times, warmup=0.0)


def shifted(data: Data, share: float, random: np.random.Generator) -> Data:
    """Two files set side by side, one row apart from some line on."""
    first = len(data.train) - round(share * len(data.train))
    y = torch.cat([data.train.y[:first], data.train.y[first:].roll(1, 0)])
    return replace(data, train=Part(data.train.x, y))


def column_scaled(program: Program, times: float) -> None:
    """One column comes in another unit from the onset on."""
    spread = program.data.train.x.std(0).numpy()
    column = int(program.random.choice(np.flatnonzero(spread > 0.5 * spread.max())))

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        x[:, column] *= times
        return x, y

    program.from_onset(change)


def validation_augmented(program: Program, amount: float) -> None:
    """The augmentation was put into the validation part, and not into what is trained on."""
    part = program.data.validation
    noise = torch.from_numpy(program.random.standard_normal(part.x.shape)).float()
    program.honest = program.data
    program.data = replace(program.data, validation=Part(part.x + amount * noise, part.y))


def layer_scaled(program: Program, times: float) -> None:
    """The gradient of one layer comes so many times too large."""
    layers = list(inner_layers(program.model))
    layer = layers[program.random.integers(len(layers))]

    def scale(step: int) -> None:
        for p in layer.parameters():
            if p.grad is not None:
                p.grad.mul_(times)

    program.gradients.append(scale)


def garbage(program: Program, share: float) -> None:
    """A shard of finite nonsense: inputs and targets that have nothing to do with the task."""
    length = max(5, round(share * program.end))
    program.notes["spike_steps"] = [program.onset + i for i in range(5)]

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step >= program.onset + length:
            return x, y
        order = torch.from_numpy(program.random.permutation(len(y)))
        noise = torch.from_numpy(program.random.standard_normal(x.shape)).float()
        return 4 * noise * x.std(), y[order]

    program.from_onset(change)


def decay_reversed(program: Program, folds: float) -> None:
    """The sign of the decay is wrong: at every step the weights grow, e-fold so often in all."""
    _at_every_step(program, math.exp(folds / program.end))


def decay_later(program: Program, share: float) -> None:
    """From the onset on this share of the weights is lost at every step."""
    _at_every_step(program, 1 - share)


def _at_every_step(program: Program, factor: float) -> None:
    @torch.no_grad()
    def then(step: int) -> None:
        if step >= program.onset:
            for p in program.model.parameters():
                if p.dim() > 1:
                    p.mul_(factor)

    program.after.insert(0, then)


def inputs_dropped(program: Program, share: float) -> None:
    """Dropout on the inputs that leaves hardly anything of them."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        kept = torch.from_numpy(program.random.random(x.shape)) >= share
        return x * kept, y

    program.changes.append(change)


def norm_momentum(program: Program, momentum: float) -> None:
    """The running statistics of batch norm: never updated (0), or of the last batch alone (1)."""
    for module in program.model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = momentum


def state_reset(program: Program, every: float) -> None:
    """The optimizer is made anew inside the loop, every so many steps."""

    def renew() -> None:
        program.optimizer = optimizer_of(program.recipe, program.model.parameters())

    for step in range(1, program.end + 1, int(every)):
        program.at(step, renew)


def off_by_one(data: Data, share: float, random: np.random.Generator) -> Data:
    """Some classes of the train part have the number of the next one."""
    num = max(1, round(share * data.num_outputs))
    first = int(random.integers(data.num_outputs))
    place = (data.train.y - first) % data.num_outputs
    y = torch.where((place < num) & (place % 2 == 0), data.train.y + 1, data.train.y)
    return replace(data, train=Part(data.train.x, y % data.num_outputs))


def overflows(data: Data, value: float, random: np.random.Generator) -> Data:
    """One sample is finite, but what is computed from it is not."""
    x = data.train.x.clone()
    x[int(random.integers(len(x)))].view(-1)[:2] = value
    return replace(data, train=Part(x, data.train.y))


def seed_reset(program: Program, num_batches: float) -> None:
    """The loader is seeded and begun again after so many batches, so that it gives the same."""
    usual = program.order
    program.order = lambda step: usual(1 + (step - 1) % int(num_batches))


def left_out(program: Program, share: float) -> None:
    """The optimizer is given the parameters of the head and of the last hidden layers only."""
    layers = list(inner_layers(program.model))
    hidden = layers[: max(1, round(share * len(layers)))]
    missing = {id(p) for layer in hidden for p in layer.parameters()}
    given = [p for p in program.model.parameters() if id(p) not in missing]
    program.optimizer = optimizer_of(program.recipe, given)


def sigmoid_first(program: Program, _: float) -> None:
    """A sigmoid before the loss that has one."""
    entropy = loss_of(program.data)
    program.criterion = program.logged = lambda outputs, y: entropy(outputs.sigmoid(), y)


def summed(program: Program, times: float) -> None:
    """Gradients are summed over so many parts, where their mean was meant."""

    def scale(step: int) -> None:
        for p in program.model.parameters():
            if p.grad is not None:
                p.grad.mul_(times)

    program.gradients.append(scale)


def option(name: str, program: Program, value: float) -> None:
    """A setting of the optimizer, mistyped."""
    for group in program.optimizer.param_groups:
        group[name] = value


def trained_on(program: Program, share: float) -> None:
    """The rows that are validated on were put into the train part as well."""
    data, middle = program.data, len(program.data.validation) // 2
    seen = data.validation.rows(np.arange(round(share * middle)))
    other = data.validation.rows(np.arange(round(share * middle), middle))
    rest = data.validation.rows(np.arange(middle, len(data.validation)))
    logged = Part(torch.cat([seen.x, other.x]), torch.cat([seen.y, other.y]))
    x, y = torch.cat([data.train.x, seen.x]), torch.cat([data.train.y, seen.y])
    program.honest = replace(data, validation=rest)
    program.data = replace(data, train=Part(x, y), validation=logged)
    program.order = shuffled(len(x), program.recipe.batch_size, seed=0)


def _of(*names: str):
    return lambda task, recipe: recipe.optimizer in names


def _bare(task: Task, recipe: Recipe) -> bool:
    """The size of a gradient matters to the size of a step."""
    return recipe.optimizer == "nesterov" and recipe.clip is None


def _scaled_apart(task: Task, recipe: Recipe) -> bool:
    """One layer's gradient matters to the steps of the others."""
    return recipe.optimizer == "nesterov" or recipe.clip is not None


def _of_some_classes(task: Task, recipe: Recipe) -> bool:
    return of_classes(task, recipe) and task.num_classes > 2


LAMED = ("TW103", "TW102", "TW101", "TW003")
"""Without its means momentum has no speed, and an adaptive rule takes steps of full size."""
GROWS = ("TW106", "TW002", "TW004", "TW101")

FAULTS = (
    Planted("rate-rises", HIGH, (3.0,), (6.0,), plant=rises, when=(MID,), high_rate=True),
    Planted(
        *("unwarmed", HIGH, (6.0,), (20.0,)),
        recipe=unwarmed,
        needs=lambda task, recipe: recipe.warmup > 0,
        high_rate=True,
    ),
    Planted("rows-shifted", ("TW203", "TW104"), (0.4,), (1.0,), data=shifted),
    Planted(
        *("column-scaled", ("TW208", "TW004", "TW003", "TW002"), (100.0,), (1e4,)),
        plant=column_scaled,
        when=(MID,),
        needs=of_columns,
    ),
    # No finding names this one: that validation is worse than training is all that can be seen.
    Planted(
        *("validation-augmented", ("TW201", "TW306"), (0.7,), (1.5,)),
        plant=validation_augmented,
        needs=of_floats,
        rule="misread",
    ),
    Planted(
        *("layer-scaled", ("TW004", "TW101", "TW002", "TW003"), (20.0,), (100.0,)),
        plant=layer_scaled,
        needs=_scaled_apart,
    ),
    Planted(
        *("garbage-shard", ("TW003", "TW203"), (0.05,), (0.15,)),
        plant=garbage,
        when=(MID,),
        needs=of_floats,
        rule="spikes",
    ),
    Planted("decay-reversed", GROWS, (2.0,), (6.0,), plant=decay_reversed),
    Planted(
        *("decay-later", ("TW106", "TW202", "TW103", "TW104"), (0.01,), (0.05,)),
        plant=decay_later,
        when=(MID,),
    ),
    Planted(
        *("inputs-dropped", ("TW202", "TW103"), (0.9,), (0.97,)),
        plant=inputs_dropped,
        needs=of_floats,
    ),
    Planted(
        *("norm-momentum", ("TW306",), (1.0,), (0.0,)), plant=norm_momentum, needs=of_batch_norm
    ),
    Planted("state-reset", LAMED, (25.0,), (3.0,), plant=state_reset),
    Planted(
        *("class-off-by-one", ("TW204", "TW203"), (0.1,), (0.5,)),
        data=off_by_one,
        needs=_of_some_classes,
    ),
    Planted(
        *("sample-overflows", ("TW001",), (), (3e38,)),
        data=overflows,
        needs=of_floats,
        rule="nonfinite",
    ),
    Planted("seed-reset", ("TW207", "TW201"), (16.0,), (4.0,), plant=seed_reset),
    Planted("killed-early", ("TW403",), (0.55,), (0.15,), plant=cut, rule="definition"),
    Planted("left-out", ("TW307",), (0.5,), (1.0,), plant=left_out, rule="definition"),
    Planted(
        *("sigmoid-first", ("TW305",)),
        plant=sigmoid_first,
        needs=lambda task, recipe: task.kind == "labels",
        rule="definition",
        num=3,
    ),
    Planted(
        *("summed-gradients", HIGH, (8.0,), (32.0,)), plant=summed, needs=_bare, high_rate=True
    ),
    Planted(
        *("clip-of-nothing", ("TW102", "TW103"), (1e-2,), (1e-4,)),
        recipe=lambda recipe, norm: replace(recipe, clip=norm),
        needs=_of("nesterov"),
    ),
    Planted(
        *("large-epsilon", ("TW102", "TW103", "TW202"), (1.0,), (30.0,)),
        plant=partial(option, "eps"),
        needs=_of("nadam", "radam", "adamax", "adamw"),
    ),
    Planted(
        *("endless-momentum", ("TW101", "TW103", "TW002"), (0.995,), (0.999,)),
        plant=partial(option, "momentum"),
        needs=_of("nesterov"),
        high_rate=True,
    ),
    Planted(
        *("trained-on-validation", ("TW205",), (0.8,), (1.0,)),
        recipe=unchecked,
        data=lambda data, _, random: few(data, 0.1, random),
        plant=trained_on,
        rule="honest",
    ),
)
