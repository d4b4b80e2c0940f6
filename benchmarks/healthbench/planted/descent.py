"""Rates, schedules, decay and batches that are wrong for the task."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.healthbench.planted.row import (
    MID,
    START,
    Planted,
    of_columns,
    of_hidden,
    without_batch_norm,
)
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task, factor
from benchmarks.healthbench.sets import Data, Part

DECOUPLED = ("adamw", "lion", "muon", "adafactor")


def times(recipe: Recipe, amount: float) -> Recipe:
    """The rate of the whole run."""
    return replace(recipe, lr=recipe.lr * amount)


def high_rate(program: Program, amount: float) -> None:
    """From the start the settings say it; from the middle only the log does."""
    program.rates_from_onset(lambda step, usual: usual * amount)
    if program.onset == 1:
        program.recipe = times(program.recipe, amount)


def noisy(recipe: Recipe, amount: float) -> Recipe:
    """A rate that never falls and batches so small that their noise keeps the loss up."""
    return replace(recipe, lr=recipe.lr * amount, schedule="constant", batch_size=8, warmup=0.0)


def few_directions(data: Data, rank: float, random) -> Data:
    """Only the inputs' share in so many directions is left."""
    flat = data.train.x.flatten(1)
    kept = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][: int(rank)]

    def change(part: Part, _: str) -> Part:
        x = part.x.flatten(1) @ kept.T @ kept
        return Part(x.view_as(part.x), part.y)

    return data.changed(change)


def drop(program: Program, amount: float) -> None:
    """The rate falls to this share of itself, long before the end."""
    program.onset = int(program.end * program.random.uniform(0.08, 0.2))
    program.rates_from_onset(lambda step, usual: usual * amount)


def zero_inputs(program: Program, _: float) -> None:
    """What the model is given is empty."""
    program.from_onset(lambda step, x, y: (torch.zeros_like(x), y))


def other_inputs(program: Program, _: float) -> None:
    """Inputs of other samples: they say nothing of these targets."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        rows = program.random.integers(0, len(program.data.train), len(x))
        return program.data.train.x[torch.from_numpy(rows)], y

    program.from_onset(change)


def decayed_early(program: Program, share: float) -> None:
    """A cosine that was made for a run of a few steps; then as good as nothing."""
    end = share * program.end

    def rate(step: int, _: float) -> float:
        at = min(1.0, step / end)
        return program.recipe.lr * max(factor("cosine", at), 1e-5)

    program.rates_from_onset(rate)


def by_epoch(program: Program, _: float) -> None:
    """A schedule that counts steps, moved on once an epoch."""

    def rate(step: int, _usual: float) -> float:
        epoch = (step - 1) // program.steps_per_epoch
        at = epoch / program.recipe.steps
        return program.recipe.lr * factor(program.recipe.schedule, at, program.recipe.warmup)

    program.rates_from_onset(rate)


def by_step(program: Program, decay: float) -> None:
    """A decay meant for each epoch, made at every step."""
    program.rates_from_onset(lambda step, usual: program.recipe.lr * decay**step)


def restarted(program: Program, num_restarts: float) -> None:
    """On every resume the schedule, warm-up and all, begins anew; the last one near the end."""
    places = [0.55, 0.92] if num_restarts > 1 else [0.85]
    starts = [1, *(int(place * program.end) for place in places)]
    program.onset = starts[1]
    program.notes["restarts"] = starts[1:]

    def rate(step: int, _: float) -> float:
        since = max(start for start in starts if start <= step)
        at = (step - since) / program.recipe.steps
        return program.recipe.lr * factor(program.recipe.schedule, at, program.recipe.warmup)

    program.rates_from_onset(rate)


def strong_decay(recipe: Recipe, amount: float) -> Recipe:
    """A share of the weights at every step, or of the gradient where decay is part of it."""
    decay = 0.1 * amount / recipe.lr if recipe.optimizer in DECOUPLED else amount
    return replace(recipe, weight_decay=decay)


def tiny_batch(recipe: Recipe, size: float) -> Recipe:
    return replace(recipe, batch_size=int(size), accumulate=1)


def narrow(recipe: Recipe, width: float) -> Recipe:
    """Too few units to tell the classes apart."""
    return recipe.shaped(width=int(width), dropout=0.0)


def narrow_picture(recipe: Recipe, width: float) -> Recipe:
    """One or two channels, and as many layers as leave little of the picture."""
    return recipe.shaped(width=8 * int(width), dropout=0.0, depth=2)


def _falls(task: Task, recipe: Recipe) -> bool:
    return recipe.schedule in ("cosine", "linear", "one_cycle", "polynomial", "wsd")


def _warms(task: Task, recipe: Recipe) -> bool:
    return recipe.warmup > 0 or recipe.schedule == "one_cycle"


def _is_picture(task: Task) -> bool:
    return task.family in ("convnet", "pretrained")


LATE = ("TW105", "TW102", "TW103")
HIGH = ("TW101", "TW002", "TW103")

FAULTS = (
    Planted(
        *("rate-high", HIGH, (10.0,), (30.0, 100.0)),
        plant=high_rate,
        when=(START, MID),
        high_rate=True,
    ),
    Planted("rate-huge", HIGH, (), (1e4, 1e6), plant=high_rate, when=(START, MID), high_rate=True),
    Planted("rate-low", ("TW102",), (1 / 30, 1 / 100), (1 / 1000,), recipe=times, num=3),
    Planted(
        *("noise-plateau", ("TW103", "TW101", "TW107"), (2.0,), (4.0,)),
        recipe=noisy,
        rule="plateau",
    ),
    Planted(
        *("few-directions", ("TW103", "TW202"), (2.0,), (1.0,)),
        data=few_directions,
        needs=of_columns,
    ),
    Planted("rate-dropped", ("TW105", "TW103", "TW102"), (3e-2,), (1e-3,), plant=drop),
    Planted("zero-inputs", ("TW104",), plant=zero_inputs, when=(START, MID)),
    Planted("other-inputs", ("TW104", "TW203"), plant=other_inputs, when=(START,)),
    Planted("decayed-early", LATE, (0.12,), (0.04,), plant=decayed_early, needs=_falls),
    Planted("stepped-by-epoch", LATE, plant=by_epoch, needs=_warms),
    Planted("stepped-by-step", LATE, (0.97,), (0.9,), plant=by_step),
    Planted("restarted", ("TW105",), (1.0,), (2.0,), plant=restarted, needs=_warms),
    Planted(
        *("strong-decay", ("TW106", "TW202", "TW103", "TW104"), (0.1,), (0.5, 1.0)),
        recipe=strong_decay,
        num=2,
    ),
    Planted(
        *("tiny-batch", ("TW107", "TW101", "TW103"), (2.0,), (1.0,)),
        recipe=tiny_batch,
        needs=without_batch_norm,
        num=2,
    ),
    Planted(
        *("too-narrow", ("TW202", "TW103"), (2.0,), (1.0,)),
        recipe=narrow,
        needs=lambda task, recipe: of_hidden(task, recipe) and not _is_picture(task),
    ),
    Planted(
        *("few-channels", ("TW202", "TW103"), (), (1.0,)),
        recipe=narrow_picture,
        needs=lambda task, recipe: _is_picture(task),
    ),
    Planted(
        *("narrow-language", ("TW202", "TW103"), (8.0,), (2.0, 4.0)),
        recipe=narrow,
        needs=lambda task, recipe: task.family == "language",
    ),
    Planted(
        *("much-dropout", ("TW202", "TW103"), (0.8,), (0.95,)),
        recipe=lambda recipe, share: recipe.shaped(dropout=share),
        needs=lambda task, recipe: recipe.shape.dropout > 0 or recipe.shape.norm == "none",
    ),
)
