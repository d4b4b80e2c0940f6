"""How far chance may have moved a number: quantiles and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor

from thalweg.tasks.jackknife import error_of, without_each
from thalweg.tasks.mattered.headline import Measure

LEVEL = 0.95
"""Share of intervals that hold what they are about."""
FEW = 10
"""Rows, or parts of them, below which a spread among them says nothing."""

PARTS = 30
"""Of the rows, for a jackknife."""


def level_of_each(level: float, count: int) -> float:
    """The level that each of so many intervals needs for all to hold at once (Bonferroni).

    >>> level_of_each(0.95, 10)
    0.995
    """
    return 1 - (1 - level) / max(1, count)


def reach(level: float, freedom: int | None = None) -> float:
    """Standard errors on either side that an interval of this level reaches (two-sided).

    freedom: degrees of freedom of a standard error that was measured itself, 9 or more (Student's
    t, by its expansion around the normal; Abramowitz and Stegun 26.7.5)

    >>> round(reach(0.95), 3), round(reach(0.95, 9), 2)
    (1.96, 2.26)
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    if freedom is None:
        return z
    n = float(freedom)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def wilson(share: float, count: int, level: float) -> tuple[float, float]:
    """The interval of a share that was counted in so many rows (Wilson, 1927).

    >>> [round(end, 3) for end in wilson(1.0, 10, 0.95)]
    [0.722, 1.0]
    """
    z2 = reach(level) ** 2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * share * (1 - share) / count + z2**2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def around(value: float, without: Sequence[float], level: float) -> tuple[float, float] | None:
    """The interval of a number, from its values without each part of the rows (the jackknife)."""
    error = error_of(without)
    if error is None or not math.isfinite(value):
        return None
    half = reach(level, len(without) - 1) * error
    return value - half, value + half


def interval_of(
    metric: Measure,
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    *,
    level: float,
) -> tuple[float, float] | None:
    """Of a metric of n samples, from parts of them; None where there are fewer than FEW.

    A plain accuracy is a share of rows, and has Wilson's interval however few they are.
    """
    count = len(targets)
    if metric.name == "accuracy" and weights is None:
        return wilson(metric(outputs, targets), count, level)
    if count < FEW:
        return None
    place = torch.arange(count) % min(PARTS, count)
    without = without_each(metric, outputs, targets, weights, place)
    return around(metric(outputs, targets, weights), without, level)
