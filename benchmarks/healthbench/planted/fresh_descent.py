"""Faults of the fresh tasks that lie in the descent: rates, schedules, decay, steps, a resume."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.healthbench.planted.descent import HIGH
from benchmarks.healthbench.planted.row import MID, START, Planted, without_batch_norm
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task

FALLING = ("wsd", "one_cycle", "step", "exponential", "linear", "cosine", "polynomial")


def finder_left(program: Program, times: float) -> None:
    """What looks for a good rate was never switched off: it rises, by so much in all."""
    length = program.end - program.onset + 1

    def rate(step: int, usual: float) -> float:
        return program.recipe.lr * times ** ((step - program.onset) / length)

    program.rates_from_onset(rate)


def endless_warmup(program: Program, times: float) -> None:
    """A warm-up of epochs that was made of steps: it would last so many runs."""
    program.rates_from_onset(lambda step, usual: program.recipe.lr * step / (times * program.end))


def impatient(program: Program, factor: float) -> None:
    """A schedule that waits for a plateau, told to wait for a maximum: every fall of the loss is
    taken for one.
    """
    every = program.evaluates_every

    def rate(step: int, usual: float) -> float:
        return usual * factor ** min(12, (step - program.onset) // every)

    program.rates_from_onset(rate)


def returning(program: Program, times: float) -> None:
    """A cosine that was made for half of the run, and rises again to its peak, a high one."""

    def rate(step: int, usual: float) -> float:
        return times * program.recipe.lr * (1 + math.cos(2 * math.pi * step / program.end)) / 2

    program.rates_from_onset(rate)


def stretched(program: Program, is_meant: Callable[[str], bool], times: float) -> None:
    """The steps of some parameters are so many times as long: a group has a rate of its own."""
    named = dict(program.model.named_parameters())
    chosen = [p for name, p in named.items() if is_meant(name)]
    before: list[Tensor] = []

    def keep(step: int) -> None:
        before[:] = [p.detach().clone() for p in chosen]

    @torch.no_grad()
    def stretch(step: int) -> None:
        for p, old in zip(chosen, before, strict=True):
            p.copy_(old + times * (p - old))

    program.gradients.append(keep)
    program.after.insert(0, stretch)


def head_rate(program: Program, times: float) -> None:
    """The new head was meant to learn faster."""
    stretched(program, lambda name: "head" in name, times)


def body_rate(program: Program, times: float) -> None:
    """All that lies before the head was meant to learn more slowly."""
    stretched(program, lambda name: "head" not in name, times)


def betas(program: Program, second: float) -> None:
    """The two means of the gradient have each other's length."""
    for group in program.optimizer.param_groups:
        group["betas"] = (0.999, second)


def penalised(program: Program, amount: float) -> None:
    """The squares of all weights stand in the loss, at a factor a hundred times too large."""
    usual = program.criterion

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        squares = sum((p**2).sum() for p in program.model.parameters())
        return usual(outputs, y) + amount * squares

    program.criterion = criterion


def clipped_values(program: Program, largest: float) -> None:
    """Every value of a gradient is clipped, where its norm was meant."""

    def clip(step: int) -> None:
        nn.utils.clip_grad_value_(program.model.parameters(), largest)

    program.gradients.append(clip)


def first_only(program: Program, num: float) -> None:
    """Of each batch the loss takes the first samples only."""
    usual = program.criterion
    program.criterion = lambda outputs, y: usual(outputs[: int(num)], y[: int(num)])


def drowned(program: Program, times: float) -> None:
    """Noise for the sake of privacy, scaled to a norm that no gradient has."""

    def add(step: int) -> None:
        for p in program.model.parameters():
            if p.grad is not None and step >= program.onset:
                size = times * p.grad.norm() / p.numel() ** 0.5
                p.grad.add_(torch.randn_like(p.grad) * size)

    program.gradients.append(add)


def old_weights(program: Program, share: float) -> None:
    """A resume late in the run takes up the wrong file: weights of long ago."""
    kept: dict[str, Tensor] = {}
    program.onset = int(0.85 * program.end)

    def keep() -> None:
        kept.update(copy.deepcopy(program.model.state_dict()))

    program.at(max(1, int(share * program.end)), keep)
    program.at(program.onset, lambda: program.model.load_state_dict(kept))


def rounded(recipe: Recipe, share: float) -> Recipe:
    """Weights in bfloat16, at a rate that was found for them in fp32."""
    return replace(recipe, precision="bf16", lr=recipe.lr * share)


def of_optimizer(*names: str) -> Callable[[Task, Recipe], bool]:
    """Recipes of these alone."""
    return lambda task, recipe: recipe.optimizer in names


def falls(task: Task, recipe: Recipe) -> bool:
    """The rate is low at the end."""
    return recipe.schedule in FALLING


def is_told(task: Task, recipe: Recipe) -> bool:
    """The log has more than losses and the rate."""
    return recipe.tells_scores


def _with_a_head(task: Task, recipe: Recipe) -> bool:
    return task.family not in ("matcher",)


def _told_by_all(task: Task, recipe: Recipe) -> bool:
    return task.kind != "views" and without_batch_norm(task, recipe)


SLOW = ("TW102", "TW105", "TW103")
SWINGS = ("TW101", "TW107", "TW103", "TW203")

FAULTS = (
    Planted(
        *("finder-left", HIGH, (30.0,), (1000.0,)),
        plant=finder_left,
        when=(START, MID),
        high_rate=True,
    ),
    Planted("endless-warmup", SLOW, (30.0,), (200.0,), plant=endless_warmup),
    Planted(
        *("impatient", ("TW105", "TW102", "TW103", "TW104"), (0.5,), (0.1,)),
        plant=impatient,
        needs=lambda task, recipe: recipe.evaluations >= 20,
    ),
    Planted(*("returning", ("TW105", "TW101", "TW103", "TW002"), (4.0,), (12.0,)), plant=returning),
    Planted(
        *("head-rate", ("TW101", "TW002", "TW004", "TW103", "TW003"), (30.0,), (300.0,)),
        plant=head_rate,
        needs=_with_a_head,
        high_rate=True,
    ),
    Planted(
        *("body-rate", ("TW307", "TW102", "TW202", "TW103", "TW104"), (0.01,), (1e-4,)),
        plant=body_rate,
        needs=lambda task, recipe: is_told(task, recipe) and _with_a_head(task, recipe),
    ),
    Planted(
        *("betas-swapped", ("TW101", "TW103", "TW102", "TW002"), (0.99,), (0.9,)),
        plant=betas,
        needs=of_optimizer("adam", "adamw", "nadam", "radam"),
        high_rate=True,
    ),
    Planted(*("penalised", ("TW106", "TW202", "TW103", "TW104"), (0.02,), (0.3,)), plant=penalised),
    Planted(
        *("clipped-values", ("TW102", "TW103"), (1e-3,), (1e-5,)),
        plant=clipped_values,
        needs=of_optimizer("sgd"),
    ),
    Planted("first-only", SWINGS, (3.0,), (1.0,), plant=first_only, needs=_told_by_all),
    Planted("drowned", SWINGS, (4.0,), (20.0,), plant=drowned, when=(START, MID)),
    Planted(
        *("old-weights", ("TW105", "TW003", "TW002", "TW102", "TW103"), (0.1,), (0.0,)),
        plant=old_weights,
        when=(MID,),
        needs=falls,
    ),
    Planted(
        *("rounded", ("TW401", "TW102", "TW103"), (0.2,), (0.02,)),
        recipe=rounded,
        needs=is_told,
    ),
)
