"""How many CPU threads torch computes with during a run; put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean, median

import torch

from thalweg.scale.choice import Choice
from thalweg.scale.work import Measure, Work, seconds, trial_step

BUDGET = 0.05
"""Seconds for the whole check; the trial that runs when they are over is the last."""

PIECE = 2e8
"""Floating-point operations of one trial, a few milliseconds."""

MOST_TRIALS = 200
MARGIN = 1.1
"""How many times faster all threads must be: their gain is small beside what they may cost."""

ALL_TO_ONE = 3
"""Trials with all threads for each with one: theirs is the time that has a long tail."""


def choose(work: Work, *, measure: Measure = seconds) -> Choice:
    """All of torch's threads where they are clearly faster on work like a step, else one.

    One thread's median is compared with the mean of all threads, because what they lose on a busy
    machine, waiting for each other, they lose in a few steps that take fifty times as long. For
    the same reason nothing is kept for the next run: how busy the machine is changes.
    """
    most = torch.get_num_threads()
    if most == 1:
        return Choice(1, "torch has no more")
    if work.is_tiny:
        return Choice(1, f"{work.size} is too small for more")

    one, many = _timed(work, most, measure)
    if not one or not many:
        return Choice(1, f"a trial with {most} took longer than {1e3 * BUDGET:g} ms")
    found = f"a trial took {1e3 * median(one):.2g} ms with one, {1e3 * mean(many):.2g} with {most}"
    return Choice(most if mean(many) * MARGIN < median(one) else 1, found)


def unchanged(why: str) -> Choice:
    """As many as torch has already."""
    return Choice(torch.get_num_threads(), why)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch computes with `count` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(work: Work, most: int, measure: Measure) -> tuple[list[float], list[float]]:
    """Seconds of each trial with one thread and with all; the first of either only warms up."""
    run = trial_step(work.cut(PIECE))
    taken: dict[int, list[float]] = {1: [], most: []}
    left = BUDGET
    for number in range(MOST_TRIALS):
        count = most if number % (1 + ALL_TO_ONE) else 1
        with threads(count):
            taken[count].append(measure(run))
        left -= taken[count][-1]
        if left < 0:
            break
    return taken[1][1:], taken[most][1:]
