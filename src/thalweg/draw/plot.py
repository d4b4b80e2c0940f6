"""A curve of a few lines of text, with marks below it: for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
    is_log = low > 0 and high > 10 * low
    begin, end = points[0][0], max(step for step, _ in points)
    columns: list[list[float]] = [[] for _ in range(width)]
    for step, value in points:
        columns[_place(step, begin, end, width)].append(value)
    grid = [[" "] * width for _ in range(HEIGHT)]
    last: int | None = None
    for x, column in enumerate(columns):
        spots = {_spot(value, low, high, is_log) for value in column if math.isfinite(value)}
        if not spots:
            grid[0][x] = "!" if column else " "
            continue
        reach = spots | ({last} if last is not None else set())
        for spot in range(min(reach), max(reach) + 1):
            _dot(grid, x, spot)
        last = _spot([value for value in column if math.isfinite(value)][-1], low, high, is_log)
    names = {HEIGHT - 1: f"{high:.3g}", 0: f"{low:.3g}"}
    lines = [
        f"{names.get(level, ''):>9} │{''.join(grid[level])}".rstrip()
        for level in reversed(range(HEIGHT))
    ]
    lines.append(f"{'log scale' if is_log else '':>9} └{_marked(marks, begin, end, width)}")
    lines.append(f"{'':>9}  {begin:<{width - 12},.10g}{end:>12,.10g}")
    return lines


def _spot(value: float, low: float, high: float, is_log: bool) -> int:
    """How high it stands, in halves of a line."""
    if high <= low:
        return HEIGHT
    share = (value - low) / (high - low)
    if is_log:
        share = math.log(value / low) / math.log(high / low)
    return min(2 * HEIGHT - 1, int(share * 2 * HEIGHT))


def _dot(grid: list[list[str]], x: int, spot: int) -> None:
    """Fill half a cell."""
    half = "▀" if spot % 2 else "▄"
    cell = grid[spot // 2][x]
    grid[spot // 2][x] = half if cell in (" ", half) else "█"


def _place(step: float, begin: float, end: float, width: int) -> int:
    share = (step - begin) / (end - begin) if end > begin else 0.0
    return min(width - 1, max(0, int(share * width)))


def _marked(marks: Mapping[float, str], begin: float, end: float, width: int) -> str:
    """The axis, with a letter below the steps that are marked."""
    axis = ["─"] * width
    for step, mark in marks.items():
        axis[_place(step, begin, end, width)] = mark
    return "".join(axis)
