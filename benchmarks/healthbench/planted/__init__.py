"""Everything that can be planted in a run, by name: faults, and what makes a healthy run hard."""

from benchmarks.healthbench.planted import (
    descent,
    fresh,
    fresh_hard,
    hard,
    machine,
    nets,
    numbers,
    samples,
    wiring,
)
from benchmarks.healthbench.planted.row import MID, START, Planted

FAULTS = {
    row.name: row
    for module in (numbers, descent, samples, nets, wiring, machine)
    for row in module.FAULTS
}
HARD = {row.name: row for row in hard.HARD}
FRESH_FAULTS = {row.name: row for row in fresh.FAULTS}
FRESH_HARD = {row.name: row for row in fresh_hard.HARD}
"""Planted in unseen tasks alone."""

PLANTED = FAULTS | HARD | FRESH_FAULTS | FRESH_HARD

__all__ = ["FAULTS", "FRESH_FAULTS", "FRESH_HARD", "HARD", "MID", "PLANTED", "START", "Planted"]
