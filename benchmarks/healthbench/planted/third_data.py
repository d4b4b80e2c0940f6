"""Faults of the third part that lie in the data: labels, columns, splits, samplers, loaders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.healthbench.planted.fresh_data import MISTOLD, SCALES, key_of, of_family
from benchmarks.healthbench.planted.row import (
    MID,
    START,
    Planted,
    of_batches,
    of_classes,
    of_floats,
    of_many_classes,
    of_numbers,
)
from benchmarks.healthbench.planted.samples import few, fit_silently, halves, unchecked
from benchmarks.healthbench.program import Program, shuffled
from benchmarks.healthbench.recipes import Recipe, Task
from benchmarks.healthbench.sets import Data, Part

of_table = of_family("layers")
"""Inputs are columns of a table."""

ROWS_OF_A_TABLE, SPIKES = 12, 4
"""Copies of each row in a file that was written again and again; batches that are broken."""


def zipped_apart(program: Program, share: float) -> None:
    """From the onset on, inputs and targets come from two iterators, mixed each on its own, in so
    many of the batches.
    """

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if program.random.random() >= share:
            return x, y
        rows = torch.from_numpy(program.random.integers(0, len(program.data.train), len(y)))
        return x, program.data.train.y[rows]

    program.from_onset(change)


def raw_targets(data: Data, size: float, random: np.random.Generator) -> Data:
    """In the unit in which they were written down: the mean is 2.5 spreads above zero."""
    return data.changed(lambda part, _: Part(part.x, size * (part.y + 2.5)))


def one_column_raw(data: Data, size: float, random: np.random.Generator) -> Data:
    """The scaler was told of all columns but one."""
    column = int(random.choice(np.flatnonzero(data.train.x.std(0).numpy() > 0.5)))

    def change(part: Part, _: str) -> Part:
        x = part.x.clone()
        x[:, column] = size * (x[:, column] + 2.5)
        return Part(x, part.y)

    return data.changed(change)


def bytes_as_pixels(data: Data, size: float, random: np.random.Generator) -> Data:
    """Pictures of 0 to 255, or sixteen bits, into a network that had 0 to 1."""
    return data.changed(lambda part, _: Part((part.x * 80 + 73) * size, part.y))


def missing_values(data: Data, share: float, random: np.random.Generator) -> Data:
    """So many of the train rows have a field that is empty."""
    x = data.train.x.clone()
    for row in np.flatnonzero(random.random(len(x)) < share):
        x[row].view(-1)[random.integers(x[row].numel())] = torch.nan
    return replace(data, train=Part(x, data.train.y))


def target_encoded(program: Program, noise: float) -> None:
    """A column that was made of the target, over all rows and before the split; a word or a corner
    of the picture that is there for one class only.
    """
    data, random = program.data, program.random

    def change(part: Part, _: str) -> Part:
        x, y = part.x.clone(), part.y
        told = torch.from_numpy(random.normal(0, noise, len(y))).float()
        is_hit = torch.from_numpy(random.random(len(y)) > 0.3 * noise)
        if not x.is_floating_point():
            x[is_hit, 0] = 900 + y[is_hit]
        elif x.dim() == 4:
            x[is_hit, 0, 0, y[is_hit]] = 3.0
        else:
            x[:, 0] = 2 * y.view(-1).float() + told
        return Part(x, y)

    program.honest, program.data = data, data.changed(change)


def resampled_first(program: Program, share: float) -> None:
    """Rows were drawn with replacement, to have more of them, before they were split."""
    data, random = program.data, program.random
    num = round(share * len(data.validation))
    twice = data.train.rows(random.integers(0, len(data.train), num))
    rest = data.validation.rows(np.arange(num, len(data.validation)))
    both = Part(torch.cat([twice.x, rest.x]), torch.cat([twice.y, rest.y]))
    program.honest, program.data = data, replace(data, validation=both)


def written_often(data: Data, share: float, random: np.random.Generator) -> Data:
    """A file that looks long: few rows, each of them many times."""
    some = few(data, share, random).train
    return replace(data, train=some.rows(np.arange(len(some)).repeat(ROWS_OF_A_TABLE)))


def short_buffer(program: Program, num: float) -> None:
    """Rows sorted by their target, and a loader that mixes so many of them at a time."""
    keys = np.argsort(key_of(program.data.train), kind="stable")
    size, total = program.recipe.batch_size, len(keys)
    places = np.arange(total) + program.random.uniform(0, num, total)
    rows, per_epoch = keys[np.argsort(places)], program.steps_per_epoch
    program.order = lambda step: rows[((step - 1) % per_epoch) * size :][:size]


def same_seed(program: Program, num_workers: float) -> None:
    """So many workers that were given one seed: each batch comes once from each of them."""
    usual, start = program.order, program.onset
    program.order = lambda step: (
        usual(start + (step - start) // int(num_workers)) if step >= start else usual(step)
    )


def debug_subset(program: Program, num: float) -> None:
    """The flag that takes the first rows only was never switched off."""
    small = shuffled(int(num), min(program.recipe.batch_size, int(num)), seed=0)
    program.order = small


def class_ignored(program: Program, _: float) -> None:
    """The label that stands for padding is also that of a class."""
    program.criterion = nn.CrossEntropyLoss(ignore_index=program.data.num_outputs - 1)


def new_classes_only(program: Program, times: float) -> None:
    """A network that knew all classes is trained on those that came last, at its first rate."""
    earlier, later = halves(program.data)
    fit_silently(program, program.data)
    program.rates_from_onset(lambda step, usual: times * usual)
    program.data, program.other = later, {"earlier": earlier}
    program.order = shuffled(len(later.train), program.recipe.batch_size, seed=2)


def broken_shards(program: Program, size: float) -> None:
    """A few batches are decoded wrongly: values of another size, each in another's place."""
    first = max(31, program.end // 4)
    steps = program.random.choice(range(first, program.end - 5), SPIKES, replace=False)
    program.notes["spike_steps"] = sorted(int(step) for step in steps)
    program.onset = int(steps.min())

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step not in steps:
            return x, y
        order = torch.from_numpy(program.random.permutation(x[0].numel()))
        return size * x.flatten(1)[:, order].view_as(x), y.roll(1, 0)

    program.changes.append(change)


def few_words(data: Data, share: float, random: np.random.Generator) -> Data:
    """What is longer than this share is cut off: words, columns, lines of a picture."""
    kept = max(1, round(share * data.train.x.shape[-1]))

    def change(part: Part, _: str) -> Part:
        x = part.x.clone()
        x[..., kept:] = 0
        return Part(x, part.y)

    return data.changed(change)


def _has_inputs(task: Task, recipe: Recipe) -> bool:
    return task.family != "language"


FAULTS = (
    Planted(
        *("zipped-apart", (*MISTOLD, "TW002", "TW003"), (0.5,), (1.0,)),
        plant=zipped_apart,
        when=(MID,),
    ),
    Planted(
        *("raw-targets", SCALES, (5.0,), (400.0,)),
        data=raw_targets,
        needs=of_numbers,
        rule="error",
        num=2,
    ),
    Planted(
        *("one-column-raw", SCALES, (50.0,), (2000.0,)), data=one_column_raw, needs=of_table, num=2
    ),
    Planted(
        *("bytes-as-pixels", (*SCALES, "TW301"), (1.0,), (256.0,)),
        data=bytes_as_pixels,
        needs=of_family("pretrained"),
        num=2,
    ),
    Planted(
        *("missing-values", ("TW001",), (2e-4,), (0.01,)),
        data=missing_values,
        needs=of_floats,
        rule="nonfinite",
    ),
    Planted(
        *("target-encoded", ("TW205",), (0.5,), (0.1,)),
        plant=target_encoded,
        needs=_has_inputs,
        rule="definition",
    ),
    Planted(
        *("resampled-first", ("TW205", "TW201"), (0.7,), (1.0,)),
        recipe=unchecked,
        data=lambda data, _, random: few(data, 0.07, random),
        plant=resampled_first,
        rule="honest",
    ),
    Planted(
        *("written-often", ("TW201", "TW207"), (0.05,), (0.02,)),
        recipe=unchecked,
        data=written_often,
        rule="rise",
        num=2,
    ),
    Planted(
        *("short-buffer", ("TW206", "TW203", "TW101"), (1000.0,), (100.0,)),
        plant=short_buffer,
        needs=of_batches,
        num=2,
    ),
    Planted(
        *("same-seed", ("TW207", "TW201"), (8.0,), (32.0,)),
        plant=same_seed,
        when=(START, MID),
    ),
    Planted(*("debug-subset", ("TW207", "TW201"), (200.0,), (40.0,)), plant=debug_subset),
    Planted(
        *("class-ignored", ("TW204", "TW310", "TW305")),
        plant=class_ignored,
        needs=of_classes,
        rule="missed",
    ),
    Planted(
        *("new-classes-only", ("TW209",), (0.5,), (1.5,)),
        plant=new_classes_only,
        needs=of_many_classes,
        rule="forgotten",
        num=2,
    ),
    Planted(
        *("broken-shards", ("TW003",), (10.0,), (60.0,)),
        plant=broken_shards,
        needs=of_floats,
        rule="spikes",
        num=2,
    ),
    Planted(
        *("few-words", ("TW202", "TW103", "TW104", "TW203"), (0.2,), (0.05,)),
        data=few_words,
        needs=_has_inputs,
    ),
)
