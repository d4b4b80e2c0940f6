"""The parts of the bench: which tasks are for what, where their runs lie, what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Portion:
    """text: for the command line; folder: of its runs; seeds: healthy runs of a recipe

    finds_all: a healthy run names every class at least once
    again: of what is planted in the ten tasks, the share that each of its tasks is given as well
    own: of the faults that are planted in it alone, the share of runs that are made
    """

    text: str
    folder: str
    seeds: int
    finds_all: bool = False
    again: float = 1.0
    own: float = 1.0


TUNING = "tuning"

PORTIONS = {
    TUNING: Portion("five tasks", "faultbench", 5),
    "held-out": Portion("the other five tasks", "faultbench", 5),
    "unseen": Portion(
        *("eleven tasks that no detector was looked at on", "faultbench-unseen", 3),
        finds_all=True,
        again=0.35,
    ),
    "fresh": Portion(
        *("eight more, of other networks and losses", "faultbench-fresh", 3),
        finds_all=True,
        again=0.0,
        own=0.6,
    ),
    "third": Portion(
        *("five more, ordinary ones", "faultbench-third", 3), finds_all=True, again=0.8, own=0.5
    ),
}
"""Runs of a part with a folder of its own are looked at where the part is asked for."""
