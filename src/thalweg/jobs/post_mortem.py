"""report --post-mortem: what happened in a run, what was done, what came after its best step."""

from __future__ import annotations

from typing import Any

from thalweg.errors import RunError
from thalweg.health.aftermath import cost, timeline
from thalweg.health.diagnosis import diagnose
from thalweg.health.verdict import verdict_object
from thalweg.record import read
from thalweg.record.as_log import as_log
from thalweg.state.folder import find


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
