"""runs: list and delete runs; needs no torch."""

from __future__ import annotations

import json
from typing import Any

from thalweg.state import folder as files
from thalweg.state.folder import Folder, every, find


def list_runs(out: str) -> dict[str, Any]:
    """The object that `runs --json` prints: every run below `out`, oldest first."""
    return {
        "schema": 1,
        "command": "runs",
        "out": out,
        "runs": [_row(folder) for folder in every(out)],
    }


def delete_run(run: str, *, out: str) -> dict[str, Any]:
    """Delete a run for good; says which, and how many bytes that freed."""
    folder = find(run, out)
    size = folder.size
    folder.remove()
    return {"schema": 1, "command": "runs delete", "run": str(folder.path), "bytes": size}


def _row(folder: Folder) -> dict[str, Any]:
    values = folder.read_toml(files.SETTINGS)
    verdict = folder.path / files.VERDICT
    state = (
        json.loads(verdict.read_text(encoding="utf-8"))["state"]
        if verdict.is_file()
        else "unfinished"
    )
    return {
        "name": folder.name,
        "state": state,
        "data": values.get("data"),
        "optimizer": values["settings"]["optimizer"],
        "bytes": folder.size,
    }
