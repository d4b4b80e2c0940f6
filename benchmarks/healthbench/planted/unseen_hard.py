"""Healthy runs of the unseen tasks that look ill in ways of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import head_of, inner_layers
from benchmarks.healthbench.planted.hard import at_rest, noisy_inputs, scheduled
from benchmarks.healthbench.planted.row import Planted, of_classes, of_floats
from benchmarks.healthbench.planted.samples import few
from benchmarks.healthbench.program import Program, shuffled
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of


def mixup(program: Program, alpha: float) -> None:
    """Each sample is mixed with another one, and so is its loss."""
    usual, random = program.criterion, program.random
    share, order = 1.0, torch.arange(0)

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal share, order
        share = float(random.beta(alpha, alpha))
        order = torch.from_numpy(random.permutation(len(x)))
        return share * x + (1 - share) * x[order], y

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        return share * usual(outputs, y) + (1 - share) * usual(outputs, y[order])

    program.changes.append(change)
    program.criterion = criterion


def transferred(program: Program, _: float) -> None:
    """The first layers have learned to tell some of the inputs again, and stay as they are."""
    model, x = program.model, program.data.train.x
    head, goal = head_of(model), x.flatten(1)[:, :16]
    model.add_module("head", nn.Linear(head.in_features, goal.shape[1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    order = shuffled(len(x), 64, seed=0)
    for step in range(1, 301):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[order(step)]), goal[order(step)]).backward()
        optimizer.step()
    model.add_module("head", head)
    model.zero_grad()

    layers = list(inner_layers(model))
    for layer in layers[: max(1, len(layers) // 2)]:
        layer.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    program.optimizer = optimizer_of(program.recipe, trained)


def unfrozen_later(program: Program, share: float) -> None:
    """The head alone learns first, then all."""
    layers = list(inner_layers(program.model))
    for layer in layers:
        layer.requires_grad_(False)

    def thaw() -> None:
        for layer in layers:
            layer.requires_grad_(True)

    program.at(int(share * program.end), thaw)


def slow_start(recipe: Recipe, _: float) -> Recipe:
    """Sigmoids without a normalisation: long at chance, then the loss drops."""
    sigmoids = recipe.shaped(activation="sigmoid", norm="none", depth=3, dropout=0.0)
    return replace(sigmoids, steps=round(1.6 * recipe.steps))


def gradient_noise(program: Program, amount: float) -> None:
    """Noise, of so many times the gradient's own size, that falls to nothing."""

    def add(step: int) -> None:
        now = amount * (1 - step / program.end)
        for p in program.model.parameters():
            if p.grad is not None:
                p.grad.add_(torch.randn_like(p.grad) * now * p.grad.norm() / p.numel() ** 0.5)

    program.gradients.append(add)


def stochastic_depth(program: Program, share: float) -> None:
    """Now and then a block is left out, and the way past it is all that there is."""
    blocks = next(m for name, m in program.model.named_modules() if name.endswith("hidden"))
    assert isinstance(blocks, nn.ModuleList)
    first = 1 if program.task.family == "residual" else 0
    for layer in list(blocks)[first:]:
        layer.register_forward_hook(_left_out_at_times(program, share))


def _left_out_at_times(program: Program, share: float):
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not module.training:
            return output
        kept = float(program.random.random() >= share) / (1 - share)
        past = torch.zeros_like(output) if program.task.family == "residual" else inputs[0]
        return past + kept * (output - past)

    return hook


def regularised(recipe: Recipe, amount: float) -> Recipe:
    """Dropout, smoothing and decay: the train loss stays above that of validation."""
    held = replace(recipe, label_smoothing=amount, weight_decay=1e-3)
    return held.shaped(dropout=2 * amount)


def weighed_batches(program: Program, spread: float) -> None:
    """Batches of very unequal weight: the loss has a heavy tail, and means nothing by it."""
    usual, random = program.criterion, program.random

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        weight = np.exp(spread * random.standard_normal() - spread**2 / 2)
        return usual(outputs, y) * float(weight)

    program.criterion = criterion


def growing_batches(program: Program, times: float) -> None:
    """The second half has batches so many times as large."""
    num, size = len(program.data.train), program.recipe.batch_size
    small, large = (shuffled(num, int(size * factor), 0) for factor in (1, times))
    middle = program.end // 2
    program.order = lambda step: (small if step <= middle else large)(step)


def gaps(program: Program, share: float) -> None:
    """So many of the log's rows were never written."""
    is_lost = program.random.random(program.end) < share
    program.lost = frozenset(int(step) for step in np.flatnonzero(is_lost) if step > 1)


def balanced(program: Program, _: float) -> None:
    """Every class is drawn as often as every other."""
    y, random = program.data.train.y.numpy(), np.random.default_rng(0)
    shares = 1 / np.bincount(y, minlength=program.data.num_outputs).clip(1)[y]
    size, shares = program.recipe.batch_size, shares / shares.sum()
    drawn = random.choice(len(y), size * 2000, p=shares)
    program.order = lambda step: drawn[(step - 1) % 2000 * size :][:size]


def other_validation(program: Program, num: float) -> None:
    """Each evaluation is on so many rows of the validation part, drawn anew."""
    whole, random = program.data, program.random
    program.honest = whole

    def draw(step: int) -> None:
        if step % program.evaluates_every == 0:
            rows = random.permutation(len(whole.validation))[: int(num)]
            few_rows = whole.validation.rows(rows)
            program.data = replace(whole, validation=few_rows)

    program.after.append(draw)


def _with_ways_past(task: Task, recipe: Recipe) -> bool:
    return task.family in ("residual", "passed", "reader") and recipe.shape.depth > 1


def _of_own_head(task: Task, recipe: Recipe) -> bool:
    return task.family in ("layers", "residual", "convnet", "passed", "narrow")


def _of_blocks(task: Task, recipe: Recipe) -> bool:
    return task.family in ("layers", "convnet", "narrow", "vectors")


HARD = (
    Planted("mixup", (), strong=(0.2, 0.4), plant=mixup, needs=of_floats),
    Planted("doubling-restarts", (), recipe=scheduled("doubling")),
    Planted("transferred", (), plant=transferred, needs=_of_own_head),
    Planted("unfrozen-later", (), strong=(0.2, 0.35), plant=unfrozen_later, needs=_of_own_head),
    Planted("slow-start", (), recipe=slow_start, needs=_of_blocks),
    Planted("gradient-noise", (), strong=(0.5, 1.0), plant=gradient_noise),
    Planted("stochastic-depth", (), strong=(0.2,), plant=stochastic_depth, needs=_with_ways_past),
    Planted(*("mild-overfit", ()), strong=(0.35, 0.5), data=few),
    Planted("rest-from-half", (), strong=(0.5,), plant=at_rest),
    Planted(
        *("regularised", ()),
        strong=(0.1, 0.2),
        recipe=regularised,
        plant=lambda program, _: noisy_inputs(program, 0.2),
        needs=of_floats,
    ),
    Planted("weighed-batches", (), strong=(0.3, 0.45), plant=weighed_batches),
    Planted("growing-batches", (), strong=(2.0, 4.0), plant=growing_batches),
    Planted("gaps", (), strong=(0.1, 0.4), plant=gaps),
    Planted("balanced", (), plant=balanced, needs=of_classes, rule="missed"),
    Planted(*("other-validation", ()), strong=(60.0, 150.0), plant=other_validation, rule="honest"),
)
