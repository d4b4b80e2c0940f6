"""Healthy runs that look ill: what a detector must stay silent on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import inner_layers
from benchmarks.healthbench.planted.nets import all_weights
from benchmarks.healthbench.planted.row import (
    Planted,
    of_classes,
    of_labels,
    of_many_classes,
    of_plain,
    without_batch_norm,
)
from benchmarks.healthbench.planted.samples import fit_silently, halves, imbalanced
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of
from benchmarks.healthbench.sets import Data


def scheduled(schedule: str):
    """The same with another schedule."""
    return lambda recipe, _: replace(recipe, schedule=schedule, warmup=0.0)


def full_batch(recipe: Recipe, _: float) -> Recipe:
    """Large batches and a rate at which plain descent swings and yet goes down."""
    return replace(recipe, batch_size=512, schedule="constant", lr=recipe.lr * 2, warmup=0.0)


def accumulated(recipe: Recipe, parts: float) -> Recipe:
    return replace(recipe, batch_size=max(8, recipe.batch_size // 2), accumulate=int(parts))


def late(program: Program, share: float) -> None:
    """Small weights and a long warm-up: first a plateau at chance, then progress."""
    all_weights(program, 0.3)
    start = share * program.end
    program.recipe = replace(program.recipe, warmup=share)
    program.rates_from_onset(lambda step, usual: usual * min(1.0, (step / start) ** 3))


def backbone(program: Program, _: float) -> None:
    """Hidden layers learned before, frozen on purpose; the head is new and learns."""
    fit_silently(program, program.data, 300)
    for layer in inner_layers(program.model):
        layer.requires_grad_(False)
    head = next(m for name, m in program.model.named_modules() if name.endswith("head"))
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    trained = [p for p in program.model.parameters() if p.requires_grad]
    program.optimizer = optimizer_of(program.recipe, trained)


def tiny_validation(program: Program, num: float) -> None:
    """Thirty rows say little of the whole."""
    program.honest = program.data
    few = program.data.validation.rows(np.arange(int(num)))
    program.data = replace(program.data, validation=few)


def weighted(program: Program, _: float) -> None:
    """Classes weighed by how rare they are, in the loss that is trained."""
    counts = torch.bincount(program.data.train.y, minlength=program.data.num_outputs)
    weights = (counts.sum() / (counts.clamp(min=1) * len(counts))).sqrt()
    program.criterion = nn.CrossEntropyLoss(weight=weights)


def resumed(program: Program, _: float) -> None:
    """A gap in the log, behind which the optimizer's means begin anew."""
    stop = int(program.end * program.random.uniform(0.35, 0.65))
    program.lost = range(stop, stop + program.end // 12)

    def renew() -> None:
        program.optimizer = optimizer_of(program.recipe, program.model.parameters())

    program.at(stop, renew)


def at_rest(program: Program, share: float) -> None:
    """The rate is zero for the last part of the run, by plan."""
    end = share * program.end
    program.recipe = replace(program.recipe, schedule="linear", warmup=0.0)
    program.rate = lambda step: program.recipe.lr * max(0.0, 1 - (step - 1) / end)


def longer(recipe: Recipe, amount: float) -> Recipe:
    """Until the samples are known by heart; the validation part is well predicted too."""
    return replace(recipe, steps=round(recipe.steps * amount), schedule="cosine")


def noisy_inputs(program: Program, amount: float) -> None:
    """Augmentation: the train loss stays above the validation loss."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        random = torch.from_numpy(program.random.standard_normal(x.shape)).float()
        if x.is_floating_point():
            return x + amount * random, y
        return torch.where(random > 1.2 - amount / 2, torch.zeros_like(x), x), y

    program.changes.append(change)


def short(recipe: Recipe, share: float) -> Recipe:
    """Planned to end while it still improves."""
    return replace(recipe, steps=round(recipe.steps * share))


def twice_log_softmax(program: Program, _: float) -> None:
    """Harmless: the second one changes nothing."""
    usual = program.criterion
    program.criterion = lambda outputs, y: usual(outputs.log_softmax(-1), y)


def low_clip(recipe: Recipe, clip: float) -> Recipe:
    """Nearly every gradient is clipped."""
    return replace(
        recipe, clip=clip, lr=recipe.lr * (2 if recipe.optimizer in ("sgd", "nesterov") else 1)
    )


def small_batch(recipe: Recipe, size: float) -> Recipe:
    """A noisy loss, and a rate that is low enough for it."""
    share = size / recipe.batch_size
    return replace(recipe, batch_size=int(size), lr=recipe.lr * max(0.2, share))


def continued(program: Program, amount: float) -> None:
    """Trained before; a low rate moves the loss little, as is wanted."""
    fit_silently(program, program.data, 400)
    program.recipe = replace(program.recipe, lr=program.recipe.lr * amount)
    program.rates_from_onset(lambda step, usual: usual * amount)


def rehearsed(program: Program, _: float) -> None:
    """Tuned from one half of the classes to all of them: nothing is forgotten."""
    earlier, _later = halves(program.data)
    fit_silently(program, earlier)
    program.other = {"earlier": earlier}


def one_in_twenty(data: Data, share: float, random: np.random.Generator) -> Data:
    return imbalanced(data, share, random)


def dropout(recipe: Recipe, share: float) -> Recipe:
    return recipe.shaped(dropout=share)


def smoothed(recipe: Recipe, amount: float) -> Recipe:
    return replace(recipe, label_smoothing=amount)


def _in_blocks(task: Task, recipe: Recipe) -> bool:
    return task.family in ("layers", "convnet", "bag", "residual", "pretrained")


def _sgd(task: Task, recipe: Recipe) -> bool:
    return recipe.optimizer in ("sgd", "nesterov") and task.family != "language"


ROWS = (
    Planted("dropout", (), strong=(0.4, 0.5), recipe=dropout),
    Planted("smoothing", (), strong=(0.1, 0.2), recipe=smoothed, needs=of_labels),
    Planted("cyclic", (), recipe=scheduled("cyclic")),
    Planted("restarts", (), recipe=scheduled("restarts")),
    Planted("full-batch", (), recipe=full_batch, needs=_sgd),
    Planted("accumulated", (), strong=(2.0, 4.0), recipe=accumulated),
    Planted("late-progress", (), strong=(0.3,), plant=late, needs=of_plain),
    Planted("backbone", (), plant=backbone, needs=_in_blocks),
    Planted("tiny-validation", (), strong=(30.0,), plant=tiny_validation, rule="honest"),
    Planted(
        *("weighed-classes", ()),
        strong=(0.1,),
        data=one_in_twenty,
        plant=weighted,
        needs=of_classes,
        rule="missed",
    ),
    Planted("resumed", (), plant=resumed),
    Planted("at-rest", (), strong=(0.6, 0.75), plant=at_rest),
    Planted("longer", (), strong=(2.0,), recipe=longer),
    Planted("augmented", (), strong=(0.3, 0.7), plant=noisy_inputs),
    Planted("short", (), strong=(0.4, 0.5), recipe=short),
    Planted("log-softmax-twice", (), plant=twice_log_softmax, needs=of_labels),
    Planted("low-clip", (), strong=(0.1, 0.3), recipe=low_clip),
    Planted("small-batch", (), strong=(4.0, 8.0), recipe=small_batch, needs=without_batch_norm),
    Planted("continued", (), strong=(0.1,), plant=continued),
    Planted("rehearsed", (), plant=rehearsed, needs=of_many_classes),
)

HARD = tuple(replace(row, num=2) for row in ROWS)
