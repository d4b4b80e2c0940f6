"""Where runs are kept, one compressed file each, and how they are read again as logs.

A file holds three tables (every step, every evaluation, every twenty steps) as float32, and what is
known of the run as JSON. Steps are counted from 1.

    for meta, log in load(part="tuning"):
        log.get("loss"), log.settings["batch_size"], meta["status"], meta["codes"]
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import cache
from benchmarks.healthbench.judge import judged
from benchmarks.healthbench.loop import Columns
from benchmarks.healthbench.portions import PORTIONS
from benchmarks.healthbench.recipes import TASKS
from thalweg.record.foreign.log import Log, Series

TABLES = ("steps", "evaluations", "inside")
UNSCORED = ("loss", "lr", "seconds", "validation_loss")
"""Columns of a log that holds little."""

SETTINGS = (
    *("optimizer", "lr", "schedule", "batch_size", "steps", "weight_decay", "clip", "precision"),
    *("accumulate", "label_smoothing"),
)
"""Of a recipe what a configuration file tells, in our words; and a few more, see `settings_of`."""


def folder(task: str) -> Path:
    """Of a task's runs; those of some parts lie apart: nothing looks at them by chance."""
    return cache() / PORTIONS[TASKS[task].part].folder / task


def path_of(task: str, name: str) -> Path:
    """Of a run's file."""
    return folder(task) / f"{name}.npz"


def save(meta: dict[str, Any], columns: Columns) -> None:
    """Whole or not at all."""
    path = path_of(meta["run"]["task"], meta["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays, names = {}, {}
    for table in TABLES:
        rows = getattr(columns, table)
        names[table] = list(rows[0])
        arrays[table] = np.array([[row.get(n, np.nan) for n in names[table]] for row in rows])
    text = json.dumps(meta | {"columns": names})

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        whole = Path(scratch) / path.name
        with np.errstate(over="ignore"):
            kept = {table: array.astype(np.float32) for table, array in arrays.items()}
        np.savez_compressed(whole, meta=np.frombuffer(text.encode(), np.uint8), **kept)
        whole.rename(path)


def metas(task: str) -> list[dict[str, Any]]:
    """Of all runs of a task that are there, judged, by name."""
    found = []
    for path in sorted(folder(task).glob("*.npz")):
        with np.load(path) as file:
            found.append(json.loads(file["meta"].tobytes()))
    return judged(found)


def load(
    tasks: Collection[str] = (), *, part: str | None = None, only: Collection[str] = ()
) -> Iterator[tuple[dict[str, Any], Log]]:
    """Runs with their logs. part: of the bench (`portions`); only: statuses (`judge`), such
    as "healthy" and "fault"; empty: all
    """
    for task, row in sorted(TASKS.items()):
        if (tasks and task not in tasks) or part not in (None, row.part):
            continue
        for meta in metas(task):
            if not only or meta["status"] in only:
                yield meta, log_of(meta, path_of(task, meta["name"]))


def log_of(meta: dict[str, Any], path: Path) -> Log:
    """A run's columns by name, and its settings; nothing of what was planted."""
    series: dict[str, Series] = {}
    with np.load(path) as file:
        for table in TABLES:
            values = file[table].astype(np.float64)
            for i, name in enumerate(meta["columns"][table][1:], 1):
                if not meta["recipe"].get("tells_scores", True) and name not in UNSCORED:
                    continue
                series[name] = Series(name, values[:, 0], values[:, i])
        num_rows = len(file["steps"])
    return Log("run", "bench", series=series, settings=settings_of(meta), rows=num_rows)


def log_of_columns(columns: Columns, settings: dict[str, Any]) -> Log:
    """Of a run that is under way."""
    series: dict[str, Series] = {}
    for table in TABLES:
        rows = getattr(columns, table)
        steps = np.array([row["step"] for row in rows], np.float64)
        for name in dict.fromkeys(name for row in rows for name in row if name != "step"):
            values = np.array([row.get(name, np.nan) for row in rows], np.float64)
            series[name] = Series(name, steps, values)
    return Log("run", "bench", series=series, settings=settings, rows=len(columns.steps))


def settings_of(meta: dict[str, Any]) -> dict[str, Any]:
    """What a configuration file would tell of the run."""
    recipe = meta["recipe"]
    found = {name: recipe[name] for name in SETTINGS if recipe[name] is not None}
    found["warmup"] = round(recipe["warmup"] * recipe["steps"])
    found["epochs"] = recipe["steps"] * recipe["accumulate"] / meta["steps_per_epoch"]
    found["dropout"] = recipe["shape"]["dropout"]
    if recipe["precision"] == "bf16":
        found["precision"] = "bf16-weights"  # as `fit` calls it: the weights, too
    if meta["num_classes"] is not None:
        found["num_classes"] = meta["num_classes"]
    return found


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many runs there are by status."""
    statuses = [row["status"] for row in rows]
    return {status: statuses.count(status) for status in sorted(set(statuses))}
