"""Numbers that break: NaN and infinities, spikes, gradients that explode or vanish."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.healthbench.models import inner_layers
from benchmarks.healthbench.planted.row import (
    MID,
    START,
    Planted,
    of_floats,
    of_labels,
    of_stack,
)
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task


def bad_sample(program: Program, value: float) -> None:
    """Some values of one batch's samples are infinite from its first use on."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step == program.onset or (step - program.onset) % program.steps_per_epoch == 0:
            x = x.clone()
            x[0].view(-1)[:3] = value
        return x, y

    program.from_onset(change)


def log_of_zero(program: Program, least: float) -> None:
    """The loss takes the logarithm of a share that was rounded to zero."""

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        shares = outputs.softmax(-1)
        shares = torch.where(shares < least, torch.zeros_like(shares), shares)
        return -shares.gather(-1, y[..., None]).log().mean()

    program.criterion = criterion


def zero_by_zero(program: Program, _: float) -> None:
    """A mean over weighted samples of which none has weight, in one batch."""
    usual = program.criterion
    weight = [1.0]

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        weights = torch.full((), weight[0])
        return usual(outputs, y) * weights / weights

    program.criterion = criterion
    program.at(program.onset, partial(weight.__setitem__, 0, 0.0))
    program.at(program.onset + 1, partial(weight.__setitem__, 0, 1.0))


def spikes(program: Program, amount: float) -> None:
    """Corrupted batches at random steps: wrong labels, and inputs many times as large."""
    num_spikes = 2 if amount < 20 else 6
    first = max(program.end // 5, 60)
    steps = program.random.choice(range(first, program.end - 5), num_spikes, replace=False)
    program.notes["spike_steps"] = sorted(int(step) for step in steps)
    program.onset = int(steps.min())

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step not in steps:
            return x, y
        if y.is_floating_point():
            return (x * amount if x.is_floating_point() else x), y.roll(1, 0)
        wrong = (y + 1) % program.data.num_outputs
        return (x * amount if x.is_floating_point() else x), wrong

    program.changes.append(change)


@torch.no_grad()
def larger_weights(program: Program, factor: float) -> None:
    """Every hidden layer starts so many times as large."""
    for layer in inner_layers(program.model):
        layer.weight.mul_(factor)


@torch.no_grad()
def larger_recurrence(program: Program, factor: float) -> None:
    """The recurrent weights start so many times as large."""
    for name, p in program.model.named_parameters():
        if "weight_hh" in name:
            p.mul_(factor)


def growing_loss(program: Program, rate: float) -> None:
    """A factor of the loss that grows at every step, as of a penalty that doubles and doubles."""

    def grow(step: int) -> None:
        for p in program.model.parameters():
            if p.grad is not None and step >= program.onset:
                p.grad.mul_(min((1 + rate) ** (step - program.onset), 1e12))

    program.gradients.append(grow)


def deep(recipe: Recipe, _: float) -> Recipe:
    """Ten layers without a normalisation or a clip."""
    return replace(recipe.shaped(depth=10, norm="none", dropout=0.0), clip=None)


def deep_sigmoid(recipe: Recipe, depth: float) -> Recipe:
    return recipe.shaped(depth=int(depth), norm="none", activation="sigmoid", dropout=0.0)


def plain_recurrence(recipe: Recipe, _: float) -> Recipe:
    return replace(recipe.shaped(body="rnn", norm="none", depth=2), clip=None)


def _recurs(task: Task, recipe: Recipe) -> bool:
    return task.family == "language" and recipe.shape.body in ("gru", "lstm")


def _sgd(task: Task, recipe: Recipe) -> bool:
    return recipe.optimizer in ("sgd", "nesterov") and recipe.clip is None


FAULTS = (
    Planted(
        *("bad-sample", ("TW001",), (), (float("inf"),)),
        plant=bad_sample,
        when=(START, MID),
        needs=of_floats,
        rule="nonfinite",
    ),
    Planted(
        *("log-of-zero", ("TW001", "TW305"), (1e-4,), (1e-2,)),
        plant=log_of_zero,
        needs=of_labels,
        rule="nonfinite",
    ),
    Planted("zero-by-zero", ("TW001",), plant=zero_by_zero, when=(MID,), rule="nonfinite"),
    Planted("spikes", ("TW003",), (8.0, 15.0), (30.0, 100.0), plant=spikes, rule="spikes", num=3),
    Planted(
        *("exploding-deep", ("TW004", "TW303", "TW304", "TW002", "TW101"), (2.5,), (4.0,)),
        recipe=deep,
        plant=larger_weights,
        needs=of_stack,
    ),
    Planted(
        *("exploding-recurrent", ("TW004", "TW303", "TW002", "TW101"), (4.0,), (12.0,)),
        recipe=plain_recurrence,
        plant=larger_recurrence,
        needs=_recurs,
    ),
    Planted(
        *("exploding-growth", ("TW004", "TW002", "TW101"), (0.03,), (0.1,)),
        plant=growing_loss,
        when=(START, MID),
        needs=_sgd,
    ),
    Planted(
        *("vanishing", ("TW005", "TW104", "TW304", "TW302"), (6.0,), (12.0,)),
        recipe=deep_sigmoid,
        needs=lambda task, recipe: task.family in ("layers", "convnet", "bag", "pretrained"),
        num=2,
    ),
)
