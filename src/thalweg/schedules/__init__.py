"""Schedules: a factor of the learning rate as a pure function of (step, horizon).

    warmup(100) >> cosine()        rises over 100 steps, then falls along half a cosine to the end

A step is counted from 1; the horizon is the number of steps that the run is planned for.
"""

from __future__ import annotations

from thalweg.schedules.cycles import one_cycle, restarts
from thalweg.schedules.falling import cosine, exponential, linear, polynomial, step, wsd
from thalweg.schedules.lasting import constant, inverse_sqrt, warmup
from thalweg.schedules.plateau import plateau
from thalweg.schedules.schedule import BUILDERS, Evaluations, Schedule
from thalweg.schedules.text import parse

__all__ = [
    "BUILDERS",
    "Evaluations",
    "Schedule",
    "constant",
    "cosine",
    "exponential",
    "inverse_sqrt",
    "linear",
    "one_cycle",
    "parse",
    "plateau",
    "polynomial",
    "restarts",
    "step",
    "warmup",
    "wsd",
]
