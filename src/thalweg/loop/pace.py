"""How many steps a budget is worth: counted from sizes or, for a budget of time, measured once."""

from __future__ import annotations

import copy
import time

import torch

from thalweg.loop.batches import Batches, Position
from thalweg.loop.step import take_step
from thalweg.loop.stopping import Pace
from thalweg.optim.updater import updater
from thalweg.tasks.measure import measure
from thalweg.tasks.task import Task

MOST_STEPS, MOST_SECONDS = 20, 1.0
"""The clock runs over so many steps, or for so long; a first step comes before it."""


def pace_of(
    task: Task, optimizer: torch.optim.Optimizer, batches: Batches, seed: int, *, must_time: bool
) -> Pace:
    """The pace of this descent; with `must_time` it is measured on a copy, then thrown away."""
    seconds = _seconds_per_step(task, optimizer, batches, seed) if must_time else None
    return Pace(batches.per_epoch, batches.batch_size, batches.size, seconds)


def _seconds_per_step(
    task: Task, optimizer: torch.optim.Optimizer, batches: Batches, seed: int
) -> float:
    """Wall seconds of a step, its share of one evaluation an epoch included."""
    trial = copy.copy(task)
    trial.model, twin = copy.deepcopy((task.model, optimizer))
    update, device = updater(twin), task.device
    position, start, number = Position(), time.perf_counter(), 0
    while number <= MOST_STEPS and (number < 2 or time.perf_counter() - start < MOST_SECONDS):
        if number == 1:
            start = time.perf_counter()
        batch = batches.at(position)
        number += 1
        step = take_step(trial, batch, update, number=number, seed=seed, device=device)
        float(step["loss"])
        twin.zero_grad()
        position = batch.following
    seconds = (time.perf_counter() - start) / (number - 1)

    if task.validation is None:
        return seconds
    start = time.perf_counter()
    measure(trial, task.validation.to(device))
    return seconds + (time.perf_counter() - start) / batches.per_epoch
