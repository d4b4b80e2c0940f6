"""Healthy runs of the third part that look ill in ways of their own."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from benchmarks.healthbench.models import head_of, inner_layers
from benchmarks.healthbench.planted.hard import scheduled
from benchmarks.healthbench.planted.row import (
    Planted,
    of_classes,
    of_floats,
    of_hidden,
    without_batch_norm,
)
from benchmarks.healthbench.planted.samples import fit_silently, imbalanced
from benchmarks.healthbench.planted.third_descent import ADAMS
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of
from benchmarks.healthbench.sets import Data, Part


def losses_of_another(program: Program, part: Part) -> Tensor:
    """How well each sample is told by a network that was trained apart."""
    model, optimizer = program.model, program.optimizer
    program.model = copy.deepcopy(model)
    fit_silently(program, program.data, 300)
    with torch.no_grad():
        outputs = program.model.eval()(part.x)
    program.model, program.optimizer = model, optimizer
    if program.data.kind == "numbers":
        return ((outputs - part.y) ** 2).mean(1)
    return nn.functional.cross_entropy(outputs, part.y, reduction="none")


def harder_validation(program: Program, share: float) -> None:
    """Those that are validated on were chosen as hard ones: the easiest of them are left out."""
    data = program.data
    order = losses_of_another(program, data.validation).argsort()
    chosen = order[round((1 - share) * len(order)) :]
    program.honest = data
    program.data = replace(data, validation=data.validation.rows(chosen))


def cleaned(program: Program, share: float) -> None:
    """Rows that nobody could tell were taken out of both parts: the loss goes to nearly nothing."""
    data = program.data

    def clean(part: Part, _: str) -> Part:
        order = losses_of_another(program, part).argsort()[: round(share * len(part))]
        return part.rows(order.sort().values)

    program.data = data.changed(clean)
    num = len(program.data.train)
    usual = program.order
    program.order = lambda step: usual(step) % num


def columns_swapped(program: Program, largest: float) -> None:
    """CutMix: some inputs of each sample are those of another one, and the loss is shared."""
    usual, random = program.criterion, program.random
    share, order = 0.0, torch.arange(0)

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal share, order
        share = float(random.uniform(0, largest))
        order = torch.from_numpy(random.permutation(len(x)))
        is_other = torch.from_numpy(random.random(tuple(x.shape[1:])) < share)
        return torch.where(is_other, x[order], x), y

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        return (1 - share) * usual(outputs, y) + share * usual(outputs, y[order])

    program.changes.append(change)
    program.criterion = criterion


def averaged(program: Program, keeps: float) -> None:
    """What is evaluated is a running mean of the weights, updated at every step."""
    model = program.model
    program.averaged = AveragedModel(
        model, avg_fn=lambda old, new, _: keeps * old + (1 - keeps) * new, use_buffers=True
    )
    averaged_model = program.averaged
    program.after.append(lambda _: averaged_model.update_parameters(model))


def always_clipped(recipe: Recipe, norm: float) -> Recipe:
    """Every gradient is clipped; to Adam its size means nothing."""
    return replace(recipe, clip=norm)


def one_in_twenty(data: Data, share: float, random: np.random.Generator) -> Data:
    return imbalanced(data, share, random)


def longer(recipe: Recipe, times: float) -> Recipe:
    return replace(recipe, steps=round(times * recipe.steps))


def saves(program: Program, times: float) -> None:
    """At every fortieth step a checkpoint is written, and the first steps compile."""
    program.slowness = lambda step: 3 * times if step <= 3 else times if step % 40 == 0 else 1.0


def uneven_lengths(program: Program, spread: float) -> None:
    """Batches of long and short texts: no two steps take as long."""
    times = np.exp(spread * program.random.standard_normal(program.end + 1))
    program.slowness = lambda step: float(times[step])


def offsets_only(program: Program, _: float) -> None:
    """A network that was trained before: offsets, norms and a new head learn (BitFit)."""
    fit_silently(program, program.data, 300)
    head = head_of(program.model)
    head.reset_parameters()
    for layer in inner_layers(program.model):
        layer.weight.requires_grad_(False)
    trained = [p for p in program.model.parameters() if p.requires_grad]
    program.optimizer = optimizer_of(program.recipe, trained)


def long_warmup(recipe: Recipe, share: float) -> Recipe:
    return replace(recipe, warmup=share, schedule="linear")


def at_the_edge(recipe: Recipe, times: float) -> Recipe:
    """A rate at which the loss swings for half of the run; then it falls, and the loss with it."""
    return replace(recipe, lr=times * recipe.lr, schedule="milestones", warmup=0.05)


def with_a_penalty(program: Program, amount: float) -> None:
    """The train loss holds a term for the weights' size, the validation loss does not."""
    usual = program.criterion

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        weights = [p for p in program.model.parameters() if p.dim() > 1 and p.requires_grad]
        return usual(outputs, y) + amount * sum(p.norm() for p in weights)

    program.criterion = criterion


def unequal_batches(program: Program, least: float) -> None:
    """Batches of as many samples as fit: from a few to all of them."""
    usual, random = program.order, program.random
    shares = random.uniform(least, 1.0, 2 * program.end + 2)
    program.order = lambda step: usual(step)[: max(2, round(shares[step] * len(usual(step))))]


def _of_rows(task: Task, recipe: Recipe) -> bool:
    return task.kind in ("classes", "numbers")


ROWS = (
    Planted("harder-validation", (), strong=(0.75,), plant=harder_validation, needs=_of_rows),
    Planted("cleaned", (), strong=(0.7, 0.85), plant=cleaned, needs=_of_rows),
    Planted("columns-swapped", (), strong=(0.3, 0.5), plant=columns_swapped, needs=of_floats),
    Planted("averaged", (), strong=(0.95, 0.98), plant=averaged),
    Planted("always-clipped", (), strong=(0.01, 0.05), recipe=always_clipped, needs=ADAMS),
    Planted(
        *("one-in-twenty", ()),
        strong=(0.1,),
        recipe=lambda recipe, _: longer(recipe, 1.5),
        data=one_in_twenty,
        needs=of_classes,
        rule="missed",
    ),
    Planted("saves", (), strong=(6.0, 20.0), plant=saves),
    Planted("uneven-lengths", (), strong=(0.3, 0.6), plant=uneven_lengths),
    Planted("offsets-only", (), plant=offsets_only, needs=of_hidden),
    Planted("long-warmup", (), strong=(0.3, 0.5), recipe=long_warmup),
    Planted("at-the-edge", (), strong=(2.5,), recipe=at_the_edge),
    Planted("with-a-penalty", (), strong=(1e-3, 3e-3), plant=with_a_penalty),
    Planted("teeth", (), recipe=scheduled("sawtooth")),
    Planted(
        "unequal-batches", (), strong=(0.1, 0.3), plant=unequal_batches, needs=without_batch_norm
    ),
)

TWICE = ("harder-validation", "cleaned", "at-the-edge", "offsets-only")

HARD = tuple(replace(row, num=2) if row.name in TWICE else row for row in ROWS)
