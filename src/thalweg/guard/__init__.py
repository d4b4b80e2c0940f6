"""The stability guard: blocks of drained steps in, an action out.

Today it has one rung: a step whose loss or gradient was not finite stops the run. The update of
such a step was never applied (the optimizer's no-op), so the weights are those of the step before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from thalweg.types import Action, Step

GO = Action("go")


def judge(block: Sequence[Step]) -> Action:
    """Go, or stop at the first step of the block whose loss or gradient norm is not finite."""
    for step in block:
        measured = step.measured()
        for name in ("loss", "gradient_norm"):
            value = measured.get(name, 0.0)
            if not math.isfinite(value):
                return _stop(step.number, name, value)
    return GO


def _stop(number: int, name: str, value: float) -> Action:
    words = {"loss": "the loss", "gradient_norm": "the gradient's norm"}[name]
    reason = f"{words} was {value} at step {number}; that update was not applied"
    return Action("stop", number, reason, {"quantity": name, "value": str(value)})
