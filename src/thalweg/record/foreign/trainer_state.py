"""Hugging Face's trainer_state.json; the NaN that its filter hides is uncovered.

With `logging_nan_inf_filter`, which is on by default, a step whose loss is NaN or infinite counts
as 0 in the mean that is logged: where all of them are, the log says that the loss is 0.0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thalweg.record.foreign.rows import Rows

NAME = "trainer_state.json"


def read_state(path: Path) -> tuple[Rows, dict[str, Any], list[str]] | None:
    """Values, what is known of the settings, and what was uncovered; None for other JSON."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        return None
    rows = Rows()
    for row in history:
        step = row.get("step") if isinstance(row, dict) else None
        if not isinstance(step, int | float):
            continue
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                rows.add(float(step), name, float(value))
    hidden = hidden_from(rows)
    notes = []
    if hidden is not None:
        notes.append(uncover(rows, hidden))
    known = {
        "batch_size": state.get("train_batch_size"),
        "steps": state.get("max_steps"),
        "epochs": state.get("num_train_epochs"),
        "log_every": state.get("logging_steps"),
    }
    return rows, {name: value for name, value in known.items() if value}, notes


def hidden_from(rows: Rows) -> float | None:
    """The step from which on the logged loss is 0.0 because no loss was finite; None: it is not.

    A loss of exactly 0 that comes after a larger one, and stays to the end, is no loss that was
    measured: neither cross-entropy nor a squared error ends on it to the last digit. Beside it the
    gradient's norm is NaN where it is logged.
    """
    losses = rows.series("loss") if "loss" in rows.points else None
    if losses is None or len(losses) < 2:
        return None
    norms = dict(rows.points.get("grad_norm", []))
    zero = losses.values == 0.0
    count = 0
    for is_zero in zero[::-1]:
        if not is_zero:
            break
        count += 1
    if count == 0 or count == len(zero):
        return _told_by(norms) if count else None
    before = losses.values[: len(zero) - count]
    first = float(losses.steps[len(zero) - count])
    beside = [norms[step] for step in losses.steps[len(zero) - count :] if step in norms]
    if beside:
        return first if all(not math.isfinite(norm) or norm == 0.0 for norm in beside) else None
    return first if _falls_from(before) else None


def _told_by(norms: Mapping[float, float]) -> float | None:
    bad = [step for step, norm in norms.items() if not math.isfinite(norm)]
    return min(bad) if bad else None


def _falls_from(before: Sequence[float]) -> bool:
    """Was the loss nowhere near 0 before? From 0.3 to 0.0 at once nothing trains."""
    last = float(before[-1])
    return math.isfinite(last) and last > 1e-3


def uncover(rows: Rows, first: float) -> str:
    """Make the zeros what they were; returns what is to be said."""
    points = rows.points["loss"]
    hidden = sum(step >= first for step, _ in points)
    rows.points["loss"] = [(s, math.nan if s >= first else value) for s, value in points]
    return (
        f"the loss is logged as 0.0 from step {first:,.0f} on ({hidden:,} times), which is what "
        "logging_nan_inf_filter makes of NaN: it is read as NaN"
    )
