"""A run of ours as a log: the same value that the readers of other tools' logs make."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.record.foreign.log import LOSS, LR, NORM, VALIDATION, Log, Series
from thalweg.record.history import History
from thalweg.types import TRIALS

_OWN = {LOSS: "loss", LR: "lr", NORM: "gradient_norm"}
_MORE = ("update_norm", "parameter_norm", "loss_scale", "clip_factor")


def as_log(history: History, source: str) -> Log:
    """Series by role; settings as they were asked for. What was not measured is left out.

    The environment names the tool, where another one's loop was recorded.
    """
    tool = str(history.environment.get("tool", "thalweg"))
    log = Log(source, "thalweg", tool=tool, rows=len(history.steps["number"]))
    numbers = np.asarray(history.steps["number"].data, dtype=np.float64)
    for role, name in {**_OWN, **{name: name for name in _MORE}}.items():
        column = history.steps[name]
        is_there = ~np.ma.getmaskarray(column)
        if is_there.any():
            log.series[role] = Series(name, numbers[is_there], column.data[is_there])
    seconds = np.asarray(history.steps["seconds"].data, dtype=np.float64)
    log.series["seconds"] = Series("seconds", numbers, seconds)
    for split in dict.fromkeys(row.split for row in history.evaluations):
        rows = [row for row in history.evaluations if row.split == split]
        for name in rows[0].values:
            points = [(row.number, row.values[name]) for row in rows if name in row.values]
            is_main = split == "validation" and name == "loss"
            log.series[VALIDATION if is_main else f"{split}_{name}"] = Series.of(name, points)
    log.settings = _settings_of(history)
    log.split = history.results.get("summary", {}).get("split") or {}
    made = [row for row in history.events if row.kind == TRIALS and row.data]
    log.trials = {"from_step": made[-1].number, **made[-1].data} if made else {}
    if history.damage:
        log.notes.append(history.damage)
    if history.num_thinned:
        log.notes.append(f"{history.num_thinned:,} points were left out by the record")
    return log


def _settings_of(history: History) -> dict[str, Any]:
    """As they were asked for, with the planned steps and the number of classes; the optimizer's own
    apart from its name, as other tools log them.
    """
    found = {name: value for name, value in history.settings.items() if value is not None}
    found |= _of_optimizer(found.get("optimizer"))
    if found.get("precision") == "bf16-weights" and "tool" not in history.environment:
        found["master_weights"] = "float32"  # our optimizers keep them beside the model's
    number, epoch = history.steps["number"], history.steps["epoch"]
    epochs = found.get("epochs")
    is_open = "steps" not in found and len(number) > 0 and float(epoch[-1]) > 0
    if is_open and isinstance(epochs, int | float):
        found["steps"] = round(epochs * float(number[-1]) / float(epoch[-1]))
    classes = str(history.environment.get("classes", ""))
    if classes.isdigit():
        found["num_classes"] = int(classes)
    return found


def _of_optimizer(text: Any) -> dict[str, Any]:
    """Name and numbers of a text such as "adamw:weight_decay=0.1"; empty where it has none."""
    if not isinstance(text, str) or ":" not in text:
        return {}
    name, _, rest = text.partition(":")
    pairs = (part.split("=", 1) for part in rest.split(",") if "=" in part)
    return {"optimizer": name, **{key.strip(): _number(value) for key, value in pairs}}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()
