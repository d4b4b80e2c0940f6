"""A curve of a few lines of text, with marks below it: for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

BARS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 60, 6

Points = Sequence[Sequence[float]]


def plot(points: Points, marks: Mapping[float, str], *, width: int = WIDTH) -> list[str]:
    """Lines of text: the curve of [step, value], the scale at its left, and marks at their steps.

    A value that is not finite is drawn as "!"; where values lie orders apart, on a log scale, which
    the left edge says.
    """
    finite = [value for _, value in points if math.isfinite(value)]
    if not finite or len(points) < 2:
        return []
    low, high = min(finite), max(finite)
    is_log = low > 0 and high > 30 * low
    begin, end = points[0][0], max(step for step, _ in points)
    columns: list[list[float]] = [[] for _ in range(width)]
    for step, value in points:
        columns[_place(step, begin, end, width)].append(value)
    heights = [_height(column, low, high, is_log) for column in columns]
    names = {HEIGHT - 1: f"{high:.3g}", 0: f"{low:.3g}"}
    lines = []
    for level in reversed(range(HEIGHT)):
        cells = "".join(_cell(height, level) for height in heights)
        lines.append(f"{names.get(level, ''):>9} │{cells}".rstrip())
    lines.append(f"{'log scale' if is_log else '':>9} └{_marked(marks, begin, end, width)}")
    lines.append(f"{'':>9}  {begin:<{width - 12},.10g}{end:>12,.10g}")
    return lines


def _place(step: float, begin: float, end: float, width: int) -> int:
    share = (step - begin) / (end - begin) if end > begin else 0.0
    return min(width - 1, max(0, int(share * width)))


def _height(column: Sequence[float], low: float, high: float, is_log: bool) -> float | None:
    """In eighths of a line; NaN where a value is not finite; None where there is nothing."""
    if not column:
        return None
    if not all(math.isfinite(value) for value in column):
        return math.nan
    value = max(column)
    if high <= low:
        return 4.0
    share = (value - low) / (high - low)
    if is_log:
        share = math.log(value / low) / math.log(high / low)
    return 1 + share * (8 * HEIGHT - 1)


def _cell(height: float | None, level: int) -> str:
    if height is None:
        return " "
    if math.isnan(height):
        return "!"
    return BARS[min(8, max(0, round(height - 8 * level)))]


def _marked(marks: Mapping[float, str], begin: float, end: float, width: int) -> str:
    """The axis, with a letter below the steps that are marked."""
    axis = ["─"] * width
    for step, mark in marks.items():
        axis[_place(step, begin, end, width)] = mark
    return "".join(axis)
