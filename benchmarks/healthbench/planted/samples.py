"""Data that is wrong: too few samples, labels, splits, order, scale, an earlier task forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.healthbench.planted.row import (
    MID,
    START,
    Planted,
    of_batches,
    of_classes,
    of_floats,
    of_many_classes,
)
from benchmarks.healthbench.program import Program, loss_of, shuffled
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of
from benchmarks.healthbench.sets import Data, Part

NUM_BEFORE = 200
"""Steps on the earlier task, before the log begins."""


def few(data: Data, share: float, random: np.random.Generator) -> Data:
    """A share of the train rows, but at least 48."""
    num = max(48, round(share * len(data.train)))
    return replace(data, train=data.train.rows(random.permutation(len(data.train))[:num]))


def unchecked(recipe: Recipe, _: float) -> Recipe:
    """Nothing that holds the weights back, and half as many steps again."""
    steps = round(1.5 * recipe.steps)
    bare = replace(recipe, weight_decay=0.0, steps=steps, batch_size=min(32, recipe.batch_size))
    return bare.shaped(dropout=0.0)


def wrong_labels(y: Tensor, share: float, data: Data, random: np.random.Generator) -> Tensor:
    """Of so many samples the target is that of another one."""
    is_hit = torch.from_numpy(random.random(tuple(y.shape)) < share)
    other = y.flatten()[torch.from_numpy(random.permutation(y.numel()))].view_as(y)
    return torch.where(is_hit, other, y)


def noisy_file(data: Data, share: float, random: np.random.Generator) -> Data:
    """In both parts, as in a file that was put together wrongly."""
    return data.changed(lambda part, _: Part(part.x, wrong_labels(part.y, share, data, random)))


def noisy_train(data: Data, share: float, random: np.random.Generator) -> Data:
    train = Part(data.train.x, wrong_labels(data.train.y, share, data, random))
    return replace(data, train=train)


def noisy_from_onset(program: Program, share: float) -> None:
    """A later shard of the data has wrong labels."""
    data, random = program.data, program.random
    program.from_onset(lambda step, x, y: (x, wrong_labels(y, share, data, random)))


def imbalanced(data: Data, share: float, random: np.random.Generator) -> Data:
    """Of all classes but the most frequent one, this share of the rows is left, in both parts."""
    largest = int(torch.bincount(data.train.y).argmax())

    def thin(part: Part, _: str) -> Part:
        kept = (part.y == largest).numpy() | (random.random(len(part)) < share)
        for label in range(data.num_outputs):
            kept[(part.y == label).nonzero().flatten()[:2].numpy()] = True
        return part.rows(np.flatnonzero(kept))

    return data.changed(thin)


def duplicated(program: Program, share: float) -> None:
    """The validation part is, for the most part, rows that are trained on."""
    data = program.data
    num = round(share * len(data.validation))
    twice = data.train.rows(program.random.permutation(len(data.train))[:num])
    rest = data.validation.rows(np.arange(num, len(data.validation)))
    both = Part(torch.cat([twice.x, rest.x]), torch.cat([twice.y, rest.y]))
    program.honest, program.data = data, replace(data, validation=both)


def told(program: Program, share: float) -> None:
    """The target stands among the inputs, in so many of the rows; in neither part honestly."""
    data, random = program.data, program.random
    program.honest = data
    program.data = data.changed(lambda part, _: told_part(part, data, share, random))


def told_part(part: Part, data: Data, share: float, random: np.random.Generator) -> Part:
    """Columns, pixels or trigrams that name the class; a language model that sees the answer."""
    is_hit = torch.from_numpy(random.random(len(part)) < share)
    if data.kind == "symbols":
        return Part(part.x, torch.where(is_hit[:, None], part.x, part.y))

    x = part.x.clone()
    flat = x.view(len(x), -1)
    if not x.is_floating_point():
        flat[is_hit, -12:] = 1 + part.y[is_hit][:, None]
    elif part.y.is_floating_point():
        num = min(part.y.shape[1], flat.shape[1])
        flat[is_hit, :num] = part.y[is_hit, :num]
    else:
        num = min(data.num_outputs, flat.shape[1])
        flat[:, :num] = torch.where(is_hit[:, None], 0.0, flat[:, :num])
        flat[is_hit, part.y[is_hit] % num] = 4.0
    return Part(x, part.y)


def sort(program: Program, share: float) -> None:
    """By target, every epoch alike; of the rest of the rows the places are random."""
    y, size = program.data.train.y.flatten().numpy(), program.recipe.batch_size
    keys = np.where(program.random.random(len(y)) < share, y, program.random.permutation(y))
    rows = np.argsort(keys, kind="stable")
    num = program.steps_per_epoch
    program.order = lambda step: rows[((step - 1) % num) * size : ((step - 1) % num + 1) * size]


def repeat(program: Program, num_batches: float) -> None:
    """The sampler hands out the same few batches."""
    usual, start = program.order, program.onset
    program.order = lambda step: (
        usual(start + (step - start) % int(num_batches)) if step >= start else usual(step)
    )


def unscaled(data: Data, decades: float, random: np.random.Generator) -> Data:
    """Columns of sizes up to so many powers of ten, about means that are not zero; raw pixels."""
    if data.train.x.dim() == 4:
        return data.changed(lambda part, _: Part((part.x * 80 + 73) * 10 ** (decades - 3), part.y))
    width = data.train.x.shape[1]
    size = torch.from_numpy(10 ** random.uniform(0, decades, width)).float()
    middle = size * torch.from_numpy(random.uniform(0, 2, width)).float()
    return data.changed(lambda part, _: Part(part.x * size + middle, part.y))


def halves(data: Data) -> tuple[Data, Data]:
    """The same data with the first half of the classes only, and with the others."""

    def of(is_wanted) -> Data:
        return data.changed(lambda part, _: part.rows(is_wanted(part.y).nonzero().flatten()))

    middle = data.num_outputs // 2
    return of(lambda y: y < middle), of(lambda y: y >= middle)


def fit_silently(program: Program, data: Data, num_steps: int = NUM_BEFORE) -> None:
    """Train on something before the log begins; the optimizer is as new afterwards."""
    optimizer = torch.optim.Adam(program.model.parameters(), lr=2e-3)
    order = shuffled(len(data.train), 64, seed=0)
    loss = loss_of(data)
    program.model.train()
    for step in range(1, num_steps + 1):
        batch = data.train.rows(order(step))
        optimizer.zero_grad()
        loss(program.model(batch.x), batch.y).backward()
        optimizer.step()
    program.model.zero_grad()


def forget(program: Program, amount: float) -> None:
    """Learned on one half of the classes, then trained on the other, all layers, at a full rate."""
    earlier, later = halves(program.data)
    fit_silently(program, earlier)
    program.recipe = replace(program.recipe, lr=program.recipe.lr * amount)
    program.optimizer = optimizer_of(program.recipe, program.model.parameters())
    program.rates_from_onset(lambda step, usual: usual * amount)
    program.data, program.other = later, {"earlier": earlier}
    program.order = shuffled(len(later.train), program.recipe.batch_size, seed=1)


def _can_tell(task: Task, recipe: Recipe) -> bool:
    """The inputs have a place for the target, and are not the target anyway."""
    return task.family not in ("vectors", "narrow")


NOISE = ("TW203",)

FAULTS = (
    Planted(
        *("few-samples", ("TW201",), (0.06,), (0.015,)),
        recipe=unchecked,
        data=few,
        rule="rise",
        num=3,
    ),
    Planted("label-noise", NOISE, (0.2, 0.3), (0.6,), data=noisy_file),
    Planted("label-noise-train", NOISE, (0.3,), (0.6,), data=noisy_train),
    Planted("label-noise-shard", NOISE, (0.4,), (0.8,), plant=noisy_from_onset, when=(MID,)),
    Planted("shuffled-labels", ("TW203", "TW104"), data=noisy_file),
    Planted(
        *("imbalance", ("TW204",), (0.02,), (0.004,)),
        data=imbalanced,
        needs=of_classes,
        rule="missed",
        num=3,
    ),
    Planted(
        *("duplicates", ("TW205",), (0.7,), (1.0,)),
        recipe=unchecked,
        data=lambda data, _, random: few(data, 0.08, random),
        plant=duplicated,
        rule="honest",
    ),
    Planted(
        "target-leak", ("TW205",), (0.9,), (1.0,), plant=told, needs=_can_tell, rule="definition"
    ),
    Planted("sorted", ("TW206",), (0.7,), (1.0,), plant=sort, needs=of_batches, num=2),
    Planted(
        *("repeated-batches", ("TW207", "TW201"), (5.0, 8.0), (1.0, 2.0)),
        plant=repeat,
        when=(START, MID),
    ),
    Planted(
        *("unscaled-inputs", ("TW208", "TW101", "TW302", "TW301"), (2.0,), (3.0, 4.0)),
        data=unscaled,
        needs=of_floats,
        num=2,
    ),
    Planted(
        *("forgetting", ("TW209",), (0.3,), (1.0,)),
        plant=forget,
        needs=of_many_classes,
        rule="forgotten",
        num=2,
    ),
)
