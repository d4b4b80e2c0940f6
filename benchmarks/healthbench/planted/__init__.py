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
    third_data,
    third_descent,
    third_hard,
    third_program,
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

THIRD_FAULTS = {
    row.name: row for module in (third_data, third_descent, third_program) for row in module.FAULTS
}
THIRD_HARD = {row.name: row for row in third_hard.HARD}
"""Planted in the third part alone."""

PLANTED = FAULTS | HARD | UNSEEN_FAULTS | UNSEEN_HARD | FRESH_FAULTS | FRESH_HARD
PLANTED |= THIRD_FAULTS | THIRD_HARD

__all__ = [
    "FAULTS",
    "FRESH_FAULTS",
    "FRESH_HARD",
    "HARD",
    "MID",
    "PLANTED",
    "START",
    "THIRD_FAULTS",
    "THIRD_HARD",
    "UNSEEN_FAULTS",
    "UNSEEN_HARD",
    "Planted",
]
