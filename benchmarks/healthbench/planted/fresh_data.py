"""Faults of the fresh tasks that lie in the data: targets, columns, splits, order, a bad shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.healthbench.planted.row import MID, START, Planted
from benchmarks.healthbench.planted.samples import few, unchecked
from benchmarks.healthbench.program import Program, shuffled
from benchmarks.healthbench.recipes import Recipe, Task
from benchmarks.healthbench.sets import Data, Part


def of_family(*families: str) -> Callable[[Task, Recipe], bool]:
    """Tasks of these networks alone."""
    return lambda task, recipe: task.family in families


of_real = of_family("forecaster", "code", "towers", "layers", "denoiser")
"""Inputs are numbers, none of them an id."""
of_measures = of_family("forecaster", "towers", "layers")
"""Inputs are columns that something else is to be told by."""


def with_others(kind: str, x: Tensor, y: Tensor, is_hit: Tensor, order: Tensor):
    """Inputs and targets, these rows with the target (the second view) of another row."""
    if kind == "views":
        x = x.clone()
        x[is_hit, 1] = x[order][is_hit, 1]
        return x, y
    y = y.clone()
    y[is_hit] = y[order][is_hit]
    return x, y


def rolled_batches(program: Program, share: float) -> None:
    """In so many batches the targets have slipped by one place."""
    is_hit = program.random.random(program.end + 1) < share

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if not is_hit[step]:
            return x, y
        rows = torch.arange(len(x))
        return with_others(program.data.kind, x, y, torch.ones(len(x)).bool(), rows.roll(1))

    program.from_onset(change)


def mirrored(program: Program, share: float) -> None:
    """An augmentation turns the inputs of so many samples round, and not what is to be told."""
    kind = program.data.kind

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        is_hit = torch.from_numpy(program.random.random(len(x)) < share)
        x = x.clone()
        if kind == "views":
            x[is_hit, 1] = x[is_hit, 1].flip(-1)
        else:
            x[is_hit] = x[is_hit].flip(1 if kind == "forecast" else -1)
        return x, y

    program.changes.append(change)


def negated(data: Data, share: float, random: np.random.Generator) -> Data:
    """A share of the train rows comes from a source that counts the other way round."""
    is_hit = torch.from_numpy(random.random(len(data.train)) < share)
    x, y = data.train.x, data.train.y.clone()
    if data.kind == "views":
        x = x.clone()
        x[is_hit, 1] *= -1
    elif data.kind in ("forecast", "strokes", "noise"):
        y[is_hit] *= -1
    elif data.kind == "genres":
        y[is_hit] = 1 - y[is_hit]
    else:
        y[is_hit] = data.train.y.max() - y[is_hit]
    return replace(data, train=Part(x, y))


def unscaled_targets(data: Data, size: float, random: np.random.Generator) -> Data:
    """As they were measured: so many times as large, about a mean of three times that."""
    return data.changed(lambda part, _: Part(part.x, part.y * size + 3 * size))


def other_statistics(data: Data, decades: float, random: np.random.Generator) -> Data:
    """Columns that were normalised by the means and sizes of other columns."""
    first = 7 if data.kind == "counts" else 0
    width = data.train.x.shape[-1]
    size = torch.from_numpy(10 ** random.uniform(-decades, decades, width)).float()
    middle = size * torch.from_numpy(random.normal(0, 2, width)).float()
    size[:first], middle[:first] = 1.0, 0.0
    return data.changed(lambda part, _: Part(part.x * size + middle, part.y))


def normalised_apart(program: Program, size: float) -> None:
    """The validation part was divided by something else than the train part."""
    part = program.data.validation
    program.honest = program.data
    scaled = Part(part.x * size + 0.3 * (size - 1), part.y)
    program.data = replace(program.data, validation=scaled)


def told_by_a_column(program: Program, share: float) -> None:
    """A column that is known only afterwards: of the later hours, of the answer, of the pair."""
    data, random = program.data, program.random
    program.honest = data
    program.data = data.changed(lambda part, _: _told(part, data.kind, share, random))


def _told(part: Part, kind: str, share: float, random: np.random.Generator) -> Part:
    is_hit = torch.from_numpy(random.random(len(part)) < share)
    x, y = part.x.clone(), part.y
    noise = torch.from_numpy(random.normal(0, 0.1, len(part))).float()
    if kind == "forecast":
        x[is_hit, -1, : y.shape[1]] = y[is_hit]
    elif kind == "grades":
        x[is_hit, 0] = ((y - 4) / 2.5 + noise)[is_hit]
    elif kind == "counts":
        x[is_hit, -1] = y[is_hit, 0].log1p() + noise[is_hit]
    elif kind == "views":
        ids = torch.from_numpy(random.normal(0, 2, (len(part), 1, 2))).float()
        x[is_hit, :, :2] = ids[is_hit].expand(-1, 2, -1)
    elif kind == "genres":
        named = 2000 + y.shape[1] * torch.arange(2)[:, None] + torch.arange(y.shape[1])
        pieces = torch.where(y > 0.5, named[1], named[0])
        x[is_hit, : y.shape[1]] = pieces[is_hit]
    else:
        x[is_hit, 1:2] = y[is_hit]
    return Part(x, y)


def copied_before(program: Program, share: float) -> None:
    """Copies, a little changed, were made of all rows before some were laid aside to validate."""
    data, random = program.data, program.random
    num = round(share * len(data.validation))
    drawn = random.integers(0, len(data.train), num)
    x, y = data.train.x[drawn], data.train.y[drawn]
    if data.kind not in ("genres", "picks", "counts"):
        x = x + 0.02 * torch.from_numpy(random.standard_normal(x.shape)).float()
    rest = data.validation.rows(np.arange(num, len(data.validation)))
    copies = Part(torch.cat([x, rest.x]), torch.cat([y, rest.y]))
    program.honest, program.data = data, replace(data, validation=copies)


def large_and_long(recipe: Recipe, _: float) -> Recipe:
    """Three times as wide, and twice as long."""
    bare = unchecked(recipe, 0.0)
    return replace(bare, steps=round(1.4 * bare.steps)).shaped(width=3 * bare.shape.width)


def key_of(part: Part) -> np.ndarray:
    """One number of each sample by which a file may be sorted: by its target."""
    y = part.y.reshape(len(part), -1).float()
    return (y * 1.3 ** torch.arange(y.shape[1])).sum(1).numpy()


def in_file_order(program: Program, share: float) -> None:
    """As the file was sorted, but for some rows; every epoch alike."""
    keys, size = key_of(program.data.train), program.recipe.batch_size
    mixed = np.where(
        program.random.random(len(keys)) < share, keys, program.random.permutation(keys)
    )
    rows, num = np.argsort(mixed, kind="stable"), program.steps_per_epoch
    program.order = lambda step: rows[((step - 1) % num) * size : ((step - 1) % num + 1) * size]


def shards_in_turn(program: Program, num_shards: float) -> None:
    """A shard, mixed within itself, until it is done with for good; then the next one."""
    rows = np.argsort(key_of(program.data.train), kind="stable")
    shards = np.array_split(rows, int(num_shards))
    size = min(program.recipe.batch_size, len(shards[-1]))
    orders = [shuffled(len(shard), size, i) for i, shard in enumerate(shards)]
    total = program.end * program.recipe.accumulate + 1

    def order(step: int) -> np.ndarray:
        which = min(len(shards) - 1, (step - 1) * len(shards) // total)
        return shards[which][orders[which](step)]

    program.order = order


def few_drawn(program: Program, num: float) -> None:
    """The weights of a sampler are so unequal that it hands out nearly always the same rows."""
    total, size = len(program.data.train), program.recipe.batch_size
    often = program.random.permutation(total)[: int(num)]
    random = np.random.default_rng(0)
    is_often = random.random((program.end * program.recipe.accumulate + 2, size)) < 0.97
    rows = np.where(
        is_often, random.choice(often, is_often.shape), random.integers(0, total, is_often.shape)
    )
    program.order = lambda step: rows[step]


def sensor_dead(program: Program, share: float) -> None:
    """From some day on so many of the inputs are constant."""
    shape = program.data.train.x.shape[1:]
    is_dead = torch.from_numpy(program.random.random(shape) < share)
    value = program.data.train.x.mean(0)
    program.from_onset(lambda step, x, y: (torch.where(is_dead, value, x), y))


def same_inputs(program: Program, share: float) -> None:
    """What puts batches together gives so many samples the inputs of the first one."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        x[: round(share * len(x))] = x[:1].clone()
        return x, y

    program.from_onset(change)


def columns_lost(data: Data, share: float, random: np.random.Generator) -> Data:
    """A join that failed: of the columns so many are left, in both parts."""
    kept = torch.from_numpy(random.random(data.train.x.shape[-1]) < share)
    kept[int(random.integers(len(kept)))] = True
    return data.changed(lambda part, _: Part(part.x * kept, part.y))


def other_unit(program: Program, times: float) -> None:
    """A few batches come in another unit, or where there is none, with all targets wrong."""
    kind, num = program.data.kind, 3
    steps = program.random.choice(range(program.end // 3, program.end - 8), num, replace=False)
    program.notes["spike_steps"] = sorted(int(step) for step in steps)
    program.onset = int(steps.min())

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step not in steps:
            return x, y
        if kind in ("forecast", "strokes", "noise"):
            return x, y * times
        if kind == "counts":
            return x, y * times + times
        if kind == "genres":
            return x, 1 - y
        if kind == "views":
            return x * torch.tensor([times, -times])[:, None], y
        return (x * times if kind == "grades" else x), program.data.train.y.max() - y

    program.changes.append(change)


MISTOLD = ("TW203", "TW202", "TW103", "TW104")
SCALES = ("TW208", "TW303", "TW002", "TW101", "TW004", "TW102", "TW103", "TW202", "TW104")
COLUMNS = ("TW208", "TW302", "TW301", "TW303", "TW101", "TW102", "TW103", "TW202")

FAULTS = (
    Planted(*("rolled-batches", MISTOLD, (0.35,), (0.8,)), plant=rolled_batches, when=(START, MID)),
    Planted(
        *("mirrored", (*MISTOLD, "TW201", "TW306"), (0.5,), (1.0,)), plant=mirrored, needs=of_real
    ),
    Planted("negated", (*MISTOLD, "TW201"), (0.25,), (0.5,), data=negated),
    Planted(
        *("unscaled-targets", SCALES, (20.0,), (300.0,)),
        data=unscaled_targets,
        needs=of_family("forecaster", "code", "denoiser"),
        rule="error",
    ),
    Planted(
        *("other-statistics", COLUMNS, (1.0,), (2.5,)),
        data=other_statistics,
        needs=of_family("forecaster", "towers", "layers", "columns"),
    ),
    # No finding names this one: that validation is worse than training is all that can be seen.
    Planted(
        *("normalised-apart", ("TW201", "TW306", "TW208"), (2.0,), (4.0,)),
        plant=normalised_apart,
        needs=of_real,
        rule="misread",
    ),
    Planted(
        *("told-by-a-column", ("TW205",), (0.9,), (1.0,)),
        plant=told_by_a_column,
        needs=of_family("forecaster", "layers", "columns", "towers", "titles", "denoiser"),
        rule="definition",
    ),
    Planted(
        *("copied-before", ("TW205", "TW201"), (0.7,), (1.0,)),
        recipe=unchecked,
        data=lambda data, _, random: few(data, 0.06, random),
        plant=copied_before,
        rule="honest",
    ),
    Planted(
        *("memorised", ("TW201",), (0.03,), (0.01,)), recipe=large_and_long, data=few, rule="rise"
    ),
    Planted("in-file-order", ("TW206", "TW203", "TW101"), (0.8,), (1.0,), plant=in_file_order),
    Planted(
        *("shards-in-turn", ("TW206", "TW209", "TW203", "TW101"), (3.0,), (6.0,)),
        plant=shards_in_turn,
    ),
    Planted("few-drawn", ("TW207", "TW201"), (120.0,), (24.0,), plant=few_drawn),
    Planted(
        *("sensor-dead", (*MISTOLD, "TW002", "TW003", "TW208"), (0.6,), (1.0,)),
        plant=sensor_dead,
        when=(MID,),
        needs=of_real,
    ),
    Planted(
        *("same-inputs", ("TW104", "TW203", "TW202", "TW207", "TW103"), (0.8,), (1.0,)),
        plant=same_inputs,
    ),
    Planted(
        *("columns-lost", ("TW202", "TW103", "TW104", "TW203", "TW201"), (0.3,), (0.05,)),
        data=columns_lost,
        needs=of_measures,
    ),
    Planted(*("other-unit", ("TW003",), (10.0,), (100.0,)), plant=other_unit, rule="spikes", num=2),
)
