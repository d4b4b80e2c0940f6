"""Which evaluations improved, beyond their own noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from thalweg.types import LOSS, Evaluation, Watched


def improvements(evaluations: Sequence[Evaluation], watched: Watched = LOSS) -> list[bool]:
    """For each evaluation: was it better than the last improvement by more than its noise?

    watched: what counts, by default the loss
    Slow progress adds up, because the comparison is always with the last counted improvement. A
    number that is not finite never counts as one.
    """
    marks: list[bool] = []
    best = math.inf
    for evaluation in evaluations:
        cost = watched.cost(evaluation.values)
        is_better = math.isfinite(cost) and cost < best - watched.noise(evaluation)
        best = cost if is_better else best
        marks.append(is_better)
    return marks


def num_without_improvement(evaluations: Sequence[Evaluation], watched: Watched = LOSS) -> int:
    """How many evaluations have passed since the last one that improved."""
    count = 0
    for is_better in improvements(evaluations, watched):
        count = 0 if is_better else count + 1
    return count


def best_of(evaluations: Sequence[Evaluation], watched: Watched = LOSS) -> Evaluation | None:
    """The first of the best evaluations whose measure is finite; None where there is none."""
    finite = [row for row in evaluations if math.isfinite(watched.cost(row.values))]
    return min(finite, key=lambda row: watched.cost(row.values), default=None)
