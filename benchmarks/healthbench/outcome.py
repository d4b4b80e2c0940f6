"""How a run went, in a few numbers: what the judge needs of its columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.healthbench.loop import Columns

NUM_LAST = 3
"""Evaluations whose median is the end of a run."""

SPIKE_RATIO, NUM_BEFORE = 3.0, 30
"""A planted spike is seen where the loss is so many times the median of the steps before it."""


def outcome(columns: Columns, notes: dict[str, Any], floor: float = 0.0) -> dict[str, Any]:
    """Losses and errors (1 - accuracy, 1 - r2): final, least, honest; units, missed classes.

    Losses are those above the floor, which is not zero where they may be negative.

    NaN where there is no finite number.
    """
    losses = np.array([row["loss"] for row in columns.steps]) - floor
    ends = dict(columns.ends)
    ends["honest_loss"] = ends["honest_loss"] - floor
    seen = {name: _column(columns.evaluations, name) for name in columns.evaluations[0]}
    right = seen.get("validation_accuracy", seen.get("validation_r2"))
    assert right is not None
    num_last = max(5, len(losses) // 10)
    return {
        **_ends_of("loss", seen["validation_loss"] - floor),
        **_ends_of("error", 1 - right),
        "is_finite": bool(np.isfinite(losses).all()),
        "first_loss": float(np.median(losses[:5])),
        "end_loss": float(np.median(losses[-num_last:])),
        "largest_loss": float(np.nanmax(np.abs(losses))) if np.isfinite(losses).any() else np.nan,
        "train_eval_loss": float(np.median(seen["train_eval_loss"][-NUM_LAST:]) - floor),
        "dead": _mean_of("dead:", columns),
        "saturated": _mean_of("saturated:", columns),
        "earlier_drop": _drop(seen.get("validation_accuracy:earlier")),
        "spikes_seen": _spikes_seen(columns, notes.get("spike_steps", []), floor),
        **ends,
    }


def _column(rows: list[dict[str, float]], name: str) -> np.ndarray:
    return np.array([row.get(name, np.nan) for row in rows])


def _ends_of(name: str, values: np.ndarray) -> dict[str, float]:
    """The median of the last three, and the least such median of the run."""
    windows = np.lib.stride_tricks.sliding_window_view(values, min(NUM_LAST, len(values)))
    medians = np.median(windows, axis=1)
    least = np.min(medians, where=np.isfinite(medians), initial=np.inf)
    return {f"final_{name}": float(medians[-1]), f"least_{name}": float(least)}


def _mean_of(prefix: str, columns: Columns) -> float:
    """Over the modules, at the end."""
    last = columns.inside[-1]
    found = [value for name, value in last.items() if name.startswith(prefix)]
    return float(np.mean(found)) if found else 0.0


def _drop(accuracies: np.ndarray | None) -> float:
    return 0.0 if accuracies is None else float(accuracies[0] - np.median(accuracies[-NUM_LAST:]))


def _spikes_seen(columns: Columns, steps: list[int], floor: float) -> int:
    losses = {int(row["step"]): row["loss"] - floor for row in columns.steps}
    num = 0
    for step in steps:
        before = [losses[s] for s in range(step - NUM_BEFORE, step) if s in losses]
        num += not losses[step] < SPIKE_RATIO * float(np.median(before))
    return num
