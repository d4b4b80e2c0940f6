"""Everything that can be planted in a run, by name: faults, and what makes a healthy run hard."""

from benchmarks.healthbench.planted import (
    descent,
    fresh_data,
    fresh_descent,
    fresh_hard,
    fresh_program,
    hard,
    machine,
    nets,
    numbers,
    samples,
    unseen,
    unseen_hard,
    wiring,
)
from benchmarks.healthbench.planted.row import MID, START, Planted

FAULTS = {
    row.name: row
    for module in (numbers, descent, samples, nets, wiring, machine)
    for row in module.FAULTS
}
HARD = {row.name: row for row in hard.HARD}
UNSEEN_FAULTS = {row.name: row for row in unseen.FAULTS}
UNSEEN_HARD = {row.name: row for row in unseen_hard.HARD}
"""Planted in unseen tasks alone."""

FRESH_FAULTS = {
    row.name: row for module in (fresh_data, fresh_descent, fresh_program) for row in module.FAULTS
}
FRESH_HARD = {row.name: row for row in fresh_hard.HARD}
"""Planted in fresh tasks alone."""

PLANTED = FAULTS | HARD | UNSEEN_FAULTS | UNSEEN_HARD | FRESH_FAULTS | FRESH_HARD

__all__ = [
    "FAULTS",
    "FRESH_FAULTS",
    "FRESH_HARD",
    "HARD",
    "MID",
    "PLANTED",
    "START",
    "UNSEEN_FAULTS",
    "UNSEEN_HARD",
    "Planted",
]
