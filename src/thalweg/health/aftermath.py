"""Looking back at a run of ours: what happened, by step, and what came after its best step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np

from thalweg.health.improvement import best_of
from thalweg.record.history import History

MOST = 200
"""Rows of a timeline; of more, the first and last of each kind stay."""

ALIKE = 3
"""So many rows that say the same of steps one after the other become one."""


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
    rows = together(sorted(rows, key=lambda row: row["step"]))
    return rows if len(rows) <= MOST else _ends(rows)


def together(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened alike at several steps, one after the other, once: the first, and how often."""
    found: list[dict[str, Any]] = []
    for (kind, _), group in groupby(rows, key=lambda row: (row["kind"], _without_numbers(row))):
        alike = list(group)
        if len(alike) < ALIKE or kind == "attempt":
            found += alike
            continue
        text = f"{alike[0]['text']}; {len(alike) - 1:,} more like it, to step {alike[-1]['step']:,}"
        found.append({**alike[0], "text": text})
    return found


def _without_numbers(row: Mapping[str, Any]) -> str:
    return re.sub(r"[-+]?\d[\d.,e+-]*", "", row["text"])


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
