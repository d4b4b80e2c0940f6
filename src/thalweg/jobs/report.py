"""report: the page of a run, built anew from its record; needs no torch."""

from __future__ import annotations

from thalweg.draw.report import render
from thalweg.record import read
from thalweg.state import folder as files
from thalweg.state.folder import find


def report(run: str, *, out: str) -> dict[str, str | int]:
    """Write the page; the object that says where. Raises RunError where there is no record."""
    folder = find(run, out)
    if folder.is_finished:
        folder.check(files.RECORD)
    page = render(read(folder.path), title=folder.name)
    folder.write(files.REPORT, page)
    if folder.is_finished:
        folder.reseal(files.REPORT)
    page_path = str(folder.path / files.REPORT)
    return {"schema": 1, "command": "report", "run": str(folder.path), "report": page_path}
