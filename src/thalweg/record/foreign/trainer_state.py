"""Hugging Face's trainer_state.json: the log of a Trainer, and the few settings it repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from thalweg.record.foreign.cells import Cells, cells_of

NAME = "trainer_state.json"
_SETTINGS = {"train_batch_size": "batch_size", "max_steps": "steps", "num_train_epochs": "epochs"}
_SETTINGS |= {"logging_steps": "log_every"}


def read_state(text: str) -> tuple[Cells, dict[str, Any]] | None:
    """A line for each entry of its log, and what is known of the settings; None for other JSON."""
    try:
        state = json.loads(text)
    except (ValueError, RecursionError):
        return None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        return None
    rows = [row for row in history if isinstance(row, dict) and "step" in row]
    known = {own: state.get(name) for name, own in _SETTINGS.items()}
    return cells_of(rows), {own: value for own, value in known.items() if value}


def run_of(file: Path) -> Path:
    """The output folder: that of a state in checkpoint-500 is the one above."""
    folder = file.parent
    return folder.parent if folder.name.startswith("checkpoint-") else folder
