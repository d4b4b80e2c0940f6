"""Which evaluations improved, beyond their own noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from thalweg.types import Evaluation


def improvements(evaluations: Sequence[Evaluation]) -> list[bool]:
    """For each evaluation: was its loss below that of the last improvement by more than its noise?

    Slow progress adds up, because the comparison is always with the last counted improvement. A
    loss that is not finite never counts as one.
    """
    marks: list[bool] = []
    best = math.inf
    for evaluation in evaluations:
        loss = evaluation.values["loss"]
        is_better = math.isfinite(loss) and loss < best - (evaluation.noise or 0.0)
        best = loss if is_better else best
        marks.append(is_better)
    return marks


def num_without_improvement(evaluations: Sequence[Evaluation]) -> int:
    """How many evaluations have passed since the last one that improved."""
    count = 0
    for is_better in improvements(evaluations):
        count = 0 if is_better else count + 1
    return count


def lowest(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation of the lowest finite loss; None where there is none."""
    finite = [row for row in evaluations if math.isfinite(row.values["loss"])]
    return min(finite, key=lambda row: row.values["loss"], default=None)
