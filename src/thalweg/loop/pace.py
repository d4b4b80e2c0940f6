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

WARM_UP, TIMED = 3, 20
"""Steps that are taken before the clock starts, and while it runs."""


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
    update = updater(twin)
    position = Position()
    start = 0.0
    for number in range(1, WARM_UP + TIMED + 1):
        if number == WARM_UP + 1:
            start = time.perf_counter()
        batch = batches.at(position)
        loss, _ = take_step(trial, batch, update, number=number, seed=seed, device=task.device)
        loss.item()
        twin.zero_grad()
        position = batch.following
    step = (time.perf_counter() - start) / TIMED

    if task.validation is None:
        return step
    start = time.perf_counter()
    measure(trial, task.validation)
    return step + (time.perf_counter() - start) / batches.per_epoch
