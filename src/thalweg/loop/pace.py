"""How many steps a budget is worth: counted from sizes or, for a budget of time, measured once."""

from __future__ import annotations

import time

from thalweg.loop.batches import Feed, Position, put_back
from thalweg.loop.step import Stepper
from thalweg.loop.stopping import Pace
from thalweg.tasks.measure import measure

MOST_STEPS, MOST_SECONDS = 20, 1.0
"""The clock runs over so many steps, or for so long; a first step comes before it."""


def pace_of(stepper: Stepper, feed: Feed, *, must_time: bool) -> Pace:
    """The pace of this descent; with `must_time` it is measured on a copy, then thrown away."""
    seconds = None
    if must_time:
        with put_back(feed):
            seconds = _seconds_per_step(stepper, feed)
    return Pace(feed.per_epoch, feed.batch_size, feed.size, seconds, feed.counts_samples)


def _seconds_per_step(stepper: Stepper, feed: Feed) -> float:
    """Wall seconds of a step, its share of one evaluation an epoch included."""
    trial = stepper.twin()
    position, start, number = Position(), time.perf_counter(), 0
    while number <= MOST_STEPS and (number < 2 or time.perf_counter() - start < MOST_SECONDS):
        if number == 1:
            start = time.perf_counter()
        batch = feed.at(position)
        number += 1
        float(trial(batch, number)["loss"])
        position = batch.following
    seconds = (time.perf_counter() - start) / (number - 1)

    validation, per_epoch = trial.task.validation, feed.per_epoch
    if validation is None or per_epoch is None:
        return seconds
    start = time.perf_counter()
    measure(trial.task, validation.to(trial.device))
    return seconds + (time.perf_counter() - start) / per_epoch
