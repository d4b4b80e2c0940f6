"""Everything that can be planted in a run, by name: faults, and what makes a healthy run hard."""

from benchmarks.healthbench.planted import descent, hard, machine, nets, numbers, samples, wiring
from benchmarks.healthbench.planted.row import MID, START, Planted

FAULTS = {
    row.name: row
    for module in (numbers, descent, samples, nets, wiring, machine)
    for row in module.FAULTS
}
HARD = {row.name: row for row in hard.HARD}

__all__ = ["FAULTS", "HARD", "MID", "START", "Planted"]
