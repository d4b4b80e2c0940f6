"""Faults of the third part that lie in the descent: rates, schedules, decay, batches, a resume."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.healthbench.planted.descent import HIGH
from benchmarks.healthbench.planted.fresh_descent import of_optimizer
from benchmarks.healthbench.planted.row import MID, START, Planted, without_batch_norm
from benchmarks.healthbench.program import Program, loss_of, shuffled
from benchmarks.healthbench.recipes import Recipe, Task

FALLING = ("milestones", "cosine", "triangle", "linear", "one_cycle", "wsd", "stairs")
ADAMS = of_optimizer("adam", "adamw", "nadam")


def gamma_of_ten(program: Program, times: float) -> None:
    """At a milestone the rate is multiplied by what it should be divided by."""
    program.rates_from_onset(lambda step, usual: usual * times)


def summed_loss(program: Program, _: float) -> None:
    """`reduction="sum"`, at a rate that was found for the mean; a mean is logged."""
    usual, size = loss_of(program.data), program.recipe.batch_size
    program.criterion = lambda outputs, y: size * usual(outputs, y)
    program.shown = lambda loss: loss / size


def falls_at_each_rise(program: Program, gamma: float) -> None:
    """A schedule that waits for a plateau is asked at every step, with the loss of one batch."""
    usual, rate = program.criterion, program.rate
    least, now = [float("inf")], [1.0]

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        loss = usual(outputs, y)
        if outputs.requires_grad:
            now[0] *= gamma if float(loss.detach()) > least[0] else 1.0
            least[0] = min(least[0], float(loss.detach()))
        return loss

    program.criterion = criterion
    program.rate = lambda step: rate(step) * max(now[0], 1e-6)


def peak_again(program: Program, times: float) -> None:
    """A resume, late, at the rate that the command line names: it had long fallen."""
    program.onset = int(0.8 * program.end)
    peak = times * program.recipe.lr
    program.rates_from_onset(lambda step, usual: peak)


def step_size_in_batches(program: Program, num_falls: float) -> None:
    """A tenth at every so many epochs was meant; the schedule is moved on at every batch."""
    size = max(1, int(program.end / num_falls))
    program.rates_from_onset(lambda step, usual: usual * max(0.1 ** (step // size), 1e-6))


def lasso(program: Program, amount: float) -> None:
    """The sum of all weights' sizes joins the loss, at a factor meant for their mean."""
    usual = program.criterion

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        loss = usual(outputs, y)
        if not outputs.requires_grad:
            return loss
        return loss + amount * sum(p.abs().sum() for p in program.model.parameters())

    program.criterion = criterion


def decays_once_more(program: Program, share: float) -> None:
    """A line left over in the loop takes this share of all weights away at every step."""

    @torch.no_grad()
    def then(step: int) -> None:
        if step >= program.onset:
            for p in program.model.parameters():
                p.mul_(1 - share)

    program.after.insert(0, then)


def small_after_resume(program: Program, size: float) -> None:
    """A resume on a smaller machine: batches of one or two, at the rate of before."""
    usual, small = program.order, shuffled(len(program.data.train), int(size), seed=3)
    program.order = lambda step: small(step) if step >= program.onset else usual(step)


def short_memory(program: Program, beta: float) -> None:
    """The mean of the squares was given the other's length: steps are signs, or more than that."""
    for group in program.optimizer.param_groups:
        group["betas"] = (group["betas"][0], beta)


def cast_to_half(recipe: Recipe, share: float) -> Recipe:
    """`model.bfloat16()` to save memory, with a rate for fine-tuning."""
    return replace(recipe, precision="bf16", lr=recipe.lr * share)


def nan_rate(program: Program, _: float) -> None:
    """From its last planned step on the schedule divides nothing by nothing."""
    program.rates_from_onset(lambda step, usual: float("nan"))


def _falls(task: Task, recipe: Recipe) -> bool:
    return recipe.schedule in FALLING


def _bare_sgd(task: Task, recipe: Recipe) -> bool:
    return recipe.optimizer == "sgd" and recipe.clip is None


LATE = ("TW105", "TW102", "TW103")
DECAYED = ("TW106", "TW202", "TW103", "TW104")
NOISY = ("TW107", "TW101", "TW103")

FAULTS = (
    Planted(
        *("gamma-of-ten", (*HIGH, "TW105"), (10.0,), (100.0,)),
        plant=gamma_of_ten,
        when=(MID,),
        high_rate=True,
    ),
    Planted(
        *("summed-loss", (*HIGH, "TW004"), (1.0,)),
        plant=summed_loss,
        needs=_bare_sgd,
        high_rate=True,
    ),
    Planted("falls-at-each-rise", LATE, (0.98,), (0.9,), plant=falls_at_each_rise),
    Planted(
        *("peak-again", ("TW105", "TW101", "TW003", "TW002"), (1.0,), (4.0,)),
        plant=peak_again,
        when=(MID,),
        needs=_falls,
    ),
    Planted("step-size-in-batches", LATE, (8.0,), (20.0,), plant=step_size_in_batches, num=2),
    Planted("lasso", DECAYED, (2e-3,), (2e-2,), plant=lasso),
    Planted(
        "decays-once-more", DECAYED, (0.01,), (0.1,), plant=decays_once_more, when=(START, MID)
    ),
    Planted(
        *("small-after-resume", NOISY, (2.0,), (1.0,)),
        plant=small_after_resume,
        when=(MID,),
        needs=without_batch_norm,
        num=2,
    ),
    Planted(
        *("short-memory", ("TW101", "TW103", "TW107", "TW002"), (0.5,), (0.0,)),
        plant=short_memory,
        needs=ADAMS,
        high_rate=True,
    ),
    Planted(
        "cast-to-half", ("TW401", "TW102", "TW103"), (0.1,), (0.01,), recipe=cast_to_half, num=2
    ),
    Planted("nan-rate", ("TW001", "TW105"), plant=nan_rate, when=(MID,), rule="nonfinite"),
)
