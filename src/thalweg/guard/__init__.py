"""The stability guard: blocks of drained steps in, an action out.

Today it has one rung: a step whose loss or gradient was not finite stops the run, and so does an
evaluation. The update of such a step was never applied and batch norm's statistics were put back,
so that no NaN stands in the model. On a GPU the steps up to the next drain are still taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from thalweg.types import Action, Evaluation, Step

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


def judge_evaluation(evaluation: Evaluation) -> Action:
    """Go, or stop where the validation loss is not finite."""
    loss = evaluation.values["loss"]
    if math.isfinite(loss):
        return GO
    reason = f"the loss on the {evaluation.split} set was {loss} after step {evaluation.number}"
    evidence = {"quantity": f"{evaluation.split} loss", "value": str(loss)}
    return Action("stop", evaluation.number, reason, evidence)


def _stop(number: int, name: str, value: float) -> Action:
    words = {"loss": "the loss", "gradient_norm": "the gradient's norm"}[name]
    reason = f"{words} was {value} at step {number}; that update was not applied"
    return Action("stop", number, reason, {"quantity": name, "value": str(value)})
