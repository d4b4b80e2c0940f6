"""report --post-mortem: what happened in a run, what was done, what came after its best step."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.errors import RunError
from thalweg.health.diagnosis import diagnose
from thalweg.health.improvement import best_of
from thalweg.jobs.results import verdict_object
from thalweg.record import read
from thalweg.record.as_log import as_log
from thalweg.record.history import History
from thalweg.state.folder import find

MOST = 200
"""Rows of the timeline; of more, the first and last of each kind stay."""


def post_mortem(run: str, *, out: str) -> dict[str, Any]:
    """The object: timeline, verdict, cost. Raises RunError where the run made no step."""
    folder = find(run, out)
    history = read(folder.path)
    if not len(history.steps["number"]):
        raise RunError(f"{folder.path} made no step: there is nothing to look back at")
    verdict = diagnose(as_log(history, str(folder.path)))
    return {
        "schema": 1,
        "command": "report",
        "run": str(folder.path),
        "timeline": timeline(history),
        "verdict": verdict_object(verdict),
        "cost": cost(history),
    }


def timeline(history: History) -> list[dict[str, Any]]:
    """What happened, by step: attempts, events, and the evaluation that was best."""
    rows = [
        {"step": attempt.from_step, "kind": "attempt", "text": f"attempt {attempt.number} began"}
        for attempt in history.attempts
    ]
    rows += [
        {"step": event.number, "kind": event.kind, "text": event.text} for event in history.events
    ]
    best = best_of([row for row in history.evaluations if row.split == "validation"])
    if best is not None:
        text = f"lowest validation loss, {best.values['loss']:.4g}"
        rows.append({"step": best.number, "kind": "lowest", "text": text})
    rows.sort(key=lambda row: row["step"])
    return rows if len(rows) <= MOST else _ends(rows)


def _ends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each kind the first and last few, and how many were left out."""
    kinds = {row["kind"] for row in rows}
    each = max(1, MOST // (2 * len(kinds)))
    kept = []
    for kind in sorted(kinds):
        mine = [row for row in rows if row["kind"] == kind]
        kept += mine if len(mine) <= 2 * each else mine[:each] + mine[-each:]
        if len(mine) > 2 * each:
            text = f"{len(mine) - 2 * each:,} more of kind {kind!r} between"
            kept.append({"step": mine[each]["step"], "kind": kind, "text": text})
    return sorted(kept, key=lambda row: row["step"])


def cost(history: History) -> dict[str, Any]:
    """Steps, samples and seconds of the whole run, and those after its best evaluation."""
    numbers = np.asarray(history.steps["number"].data)
    seconds = np.asarray(history.steps["seconds"].data)
    samples = np.asarray(history.steps["samples"].data)
    best = best_of([row for row in history.evaluations if row.split == "validation"])
    after = numbers > best.number if best is not None else np.zeros(len(numbers), dtype=bool)
    whole = {"steps": len(numbers), "samples": int(samples.max()), "seconds": _sum(seconds)}
    late = {"steps": int(after.sum()), "seconds": _sum(seconds[after])}
    share = late["seconds"] / whole["seconds"] if whole["seconds"] else 0.0
    return {
        **whole,
        "best_step": None if best is None else best.number,
        "after_best": {**late, "share_of_seconds": round(share, 4)},
    }


def _sum(seconds: np.ndarray) -> float:
    return round(float(np.nansum(seconds)), 3)
