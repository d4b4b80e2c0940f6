"""Schedules as a picture: the learning rate over the steps of a run, SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np

from thalweg.draw.curves import MAX_POINTS, thin
from thalweg.errors import UsageError
from thalweg.schedules import Evaluations, Schedule
from thalweg.schedules.schedule import check_schedule

SUFFIXES = (".svg", ".png")
WIDTH, HEIGHT, LINE = 8.0, 4.0, 0.22
"""Of the picture, and what each further schedule adds to its height, in inches of 100 dots."""


def draw_schedule(
    schedules: Schedule | Sequence[Schedule],
    to: str | Path,
    *,
    horizon: int,
    lr: float | None = None,
    evaluations: Evaluations = (),
) -> Path:
    """Draw the rate of every step of a schedule, or of several to compare; returns the file.

    to: a file that ends in .svg or .png; written anew if it exists
    horizon: number of steps drawn, and planned; lr: to multiply with; by default the factor alone
    evaluations: (step, loss), for a schedule with a plateau
    Raises UsageError for another ending, and where there is nothing to draw.

    >>> import tempfile
    >>> from thalweg import cosine, draw_schedule, warmup
    >>> folder = tempfile.mkdtemp()
    >>> draw_schedule(warmup(100) >> cosine(), f"{folder}/lr.svg", horizon=1000, lr=3e-4).name
    'lr.svg'
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path, several = Path(to), [schedules] if isinstance(schedules, Schedule) else schedules
    if not isinstance(several, Sequence) or isinstance(several, str):
        raise UsageError(f"schedules is {several!r}: give a schedule such as cosine(), or several")
    if not isinstance(horizon, Integral) or horizon < 1 or not several:
        raise UsageError("nothing to draw: give a schedule, and a horizon of 1 step or more")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"to is {str(to)!r}: it must end in {' or '.join(SUFFIXES)}")

    figure = Figure(figsize=(WIDTH, HEIGHT + LINE * len(several)), layout="constrained")
    axes = figure.add_subplot()
    for schedule in several:
        check_schedule(schedule)
        factors = [schedule(step, horizon, evaluations) for step in range(1, horizon + 1)]
        rates = np.array(factors) * (1.0 if lr is None else lr)
        kept = thin(rates, MAX_POINTS)
        axes.plot(kept + 1, rates[kept], label=str(schedule))
    axes.set(xlabel="step", ylabel="factor of the learning rate" if lr is None else "learning rate")
    axes.margins(x=0.01)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", frameon=False)

    with rc_context({"svg.hashsalt": "thalweg"}):
        figure.savefig(path, dpi=100, metadata=_UNDATED[path.suffix.lower()])
    return path


_UNDATED = {".svg": {"Date": None}, ".png": {}}
"""So that one schedule makes one file, byte by byte."""
