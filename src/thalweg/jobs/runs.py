"""runs: list and delete runs; needs no torch."""

from __future__ import annotations

from typing import Any

from thalweg.errors import RunError
from thalweg.state import folder as files
from thalweg.state.folder import Folder, every, find, origin_of


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
    try:
        values = folder.read_toml(files.SETTINGS)
        state = folder.read_json(files.VERDICT)["state"] if folder.is_finished else "unfinished"
        found = {"data": values.get("data"), "optimizer": values["settings"]["optimizer"]}
        found["parent"] = origin_of(values).get("parent")
    except (RunError, LookupError, TypeError):
        state, found = "damaged", {"data": None, "optimizer": None, "parent": None}
    return {"name": folder.name, "state": state, **found, "bytes": folder.size}
