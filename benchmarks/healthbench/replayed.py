"""What a stored run's samples say: its batches and evaluations are made again, without the model.

Generators are asked in the order in which `loop.py` asks them, so that batches are the same.
"""

from __future__ import annotations

from benchmarks.healthbench.program import Program
from thalweg.health.data import in_samples
from thalweg.loop.seen import Seen
from thalweg.types import Finding

LOOKS = 100
"""Steps between two looks."""


def sample_findings(program: Program) -> list[Finding]:
    """Of a program that was just built and is left as it was, oldest first; a code once, an act
    before a warning.
    """
    state = program.random.bit_generator.state
    try:
        return _replayed(program)
    finally:
        program.random.bit_generator.state = state


def _replayed(program: Program) -> list[Finding]:
    seen = Seen()
    found: dict[str, Finding] = {}
    accumulate = program.recipe.accumulate
    for step in range(1, program.end + 1):
        for part in range(accumulate):
            batch = program.data.train.rows(program.order((step - 1) * accumulate + part + 1))
            x, y = batch.x, batch.y
            for change in program.changes:
                x, y = change(step, x, y)
            seen.trained(step, [x], y)
        if step % program.evaluates_every == 0 or step == program.end:
            seen.evaluated(step, [program.data.validation.x])
            seen.told(step)
        if step % LOOKS == 0 or step == program.end:
            for each in in_samples(seen.facts()):
                if each.code not in found or found[each.code].severity == "warn":
                    found[each.code] = each
    return list(found.values())
