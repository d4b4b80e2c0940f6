"""evaluate: the scores of a run on labelled new rows."""

from __future__ import annotations

from typing import Any

from thalweg.jobs.load import load


def evaluate(run: str, data: Any, *, out: str) -> dict[str, Any]:
    """The object that `evaluate --json` prints; raises what load and Run.evaluate raise."""
    loaded = load(run, out=out)
    rows = loaded.read(data)
    scores = loaded.evaluate(rows)
    return {
        "schema": 1,
        "command": "evaluate",
        "run": str(loaded.folder),
        "task": {"kind": loaded.result["task"]["kind"], "rows": scores.pop("rows")},
        "scores": scores,
        "drift": [row.to_dict() for row in loaded.drift(rows)],
        "test": loaded.result["test"],
    }
