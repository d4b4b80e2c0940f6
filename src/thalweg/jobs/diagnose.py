"""diagnose: what is wrong with a run of ours, or with the run of another tool's log; no torch."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thalweg.draw.diagnosis import as_brief, as_post_mortem, as_text
from thalweg.errors import DataError, RunError
from thalweg.health.against import differing, partings, sentence
from thalweg.health.diagnosis import diagnose
from thalweg.health.tried import tried_again, tried_object
from thalweg.health.verdict import verdict_object
from thalweg.record import read
from thalweg.record.as_log import as_log
from thalweg.record.foreign import Columns, Log, exists, find_logs, read_logs
from thalweg.record.foreign.log import LOSS, VALIDATION
from thalweg.record.foreign.open import STDIN
from thalweg.state import folder as files
from thalweg.state.folder import find
from thalweg.types import Verdict

__all__ = ["Columns", "as_brief", "as_post_mortem", "as_text", "diagnose_path", "logs_of"]

GONE_WRONG = ("TW001", "TW002", "TW003", "TW004", "TW201")
"""Findings with a time before which the weights were better."""

MOST_LISTED = 60
"""Logs of a folder that are listed by name."""


def diagnose_path(
    path: str, columns: Columns, *, out: str, every: bool, against: str | None = None
) -> list[dict[str, Any]]:
    """An object for each run that `path` holds.

    every: all of them; else it must be one; against: a good log of the same, to say where they part
    Raises DataError for what is no log and for a folder that holds several, RunError for a run of
    ours that cannot be read.
    """
    good = None if against is None else next(logs_of(against, columns, out=out, every=False))
    logs = logs_of(path, columns, out=out, every=every)
    return [{**said_of(log, diagnose(log)), **_beside(log, good)} for log in logs]


def _beside(log: Log, good: Log | None) -> dict[str, Any]:
    """Where a log parts from a good one."""
    if good is None:
        return {}
    parts = partings(log, good)
    differ = differing(log.settings, good.settings)
    said = {
        "path": good.source,
        "sentence": sentence(parts, good),
        "partings": [dataclasses.asdict(part) for part in parts],
        "settings": {name: list(pair) for name, pair in differ.items()},
    }
    return {"against": said}


def logs_of(path: str, columns: Columns, *, out: str, every: bool) -> Iterator[Log]:
    """The logs of a run of ours, of a file, a folder or standard input."""
    own = None if path == STDIN else _own(path, out)
    if own is not None:
        yield own
        return
    found = find_logs(path)
    if len(found) > 1 and not every:
        raise DataError(_several(path, found))
    logs = []
    for file in found:
        try:
            logs += _logs_in(file, path if len(found) == 1 else str(file), columns)
        except (DataError, RunError) as error:
            if len(found) == 1:
                raise
            warnings.warn(f"passed over: {error}", stacklevel=2)
    if not logs:
        raise DataError(f"{path} holds {len(found)} logs, and none of them can be read")
    if len(logs) > 1 and not every:
        raise DataError(
            f"{path} holds {len(logs)} runs, one in each column: diagnose each with --all, or name "
            f"one with --loss-column, of {_columns_of(logs)}"
        )
    yield from logs


def _own(path: str, out: str) -> Log | None:
    """A run of ours; None where the path is none."""
    try:
        folder = find(path, out)
    except RunError:
        if exists(path):
            return None
        raise DataError(
            f"{path} does not exist: it is neither a run, here or in {out}, nor a log"
        ) from None
    if not (folder.path / files.RECORD).exists():
        return None
    return as_log(read(folder.path), str(folder.path))


def _logs_in(file: Path, source: str, columns: Columns) -> list[Log]:
    """Those of a file, or of a run of ours in its folder."""
    if (file / files.RECORD).exists():
        return [as_log(read(file), str(file))]
    return read_logs(file, source, columns)


def _columns_of(logs: list[Log]) -> str:
    names = [log.source.rpartition(", column ")[2] for log in logs[:MOST_LISTED]]
    return ", ".join(names) + (", ..." if len(logs) > MOST_LISTED else "")


def _several(path: str, found: list[Path]) -> str:
    is_file = Path(path).is_file()
    names = [str(file if is_file else file.relative_to(path)) for file in found[:MOST_LISTED]]
    more = f" and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    kind = "runs" if is_file else "logs"
    return (
        f"{path} holds {len(found)} {kind}: diagnose each with --all, or name one of "
        f"{', '.join(names)}{more}"
    )


def curves_of(log: Log) -> dict[str, list[list[float]]]:
    """The losses as points to draw: [step, value], at most some 200, extremes kept."""
    return {
        role: series.thinned()
        for role in (LOSS, VALIDATION)
        if (series := log.get(role)) is not None
    }


def said_of(log: Log, verdict: Verdict) -> dict[str, Any]:
    """The object of a log: its source and the verdict on it."""
    return {
        "schema": 1,
        "command": "diagnose",
        "source": {
            "path": log.source,
            "format": log.format,
            "tool": log.tool or None,
            "rows": log.rows,
            "unit": log.unit,
            "columns": {role: series.name for role, series in log.series.items()},
            "settings": dict(log.settings),
            "notes": list(log.notes),
        },
        "verdict": verdict_object(verdict),
        "curves": curves_of(log),
        **trials_object(log),
        **_last_good(log, verdict),
    }


def _last_good(log: Log, verdict: Verdict) -> dict[str, Any]:
    """The last checkpoint beside the log from before things went wrong, where there is one."""
    wrong = [each.since_step for each in verdict.findings if each.code in GONE_WRONG]
    good = [step for step in log.checkpoints if wrong and step < min(wrong)]
    if not good:
        return {}
    return {"last_good_checkpoint": {"step": max(good), "path": log.checkpoints[max(good)]}}


def trials_object(log: Log) -> dict[str, Any]:
    """The trials that were made in a run of ours, as they stand in JSON; empty where none were."""
    if not log.trials:
        return {}
    made = tried_object(tried_again(log.trials))
    return {"trials": {"from_step": log.trials["from_step"], **made}}
