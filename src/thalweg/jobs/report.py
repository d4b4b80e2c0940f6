"""report: the page of a run, built anew from its record; needs no torch."""

from __future__ import annotations

from pathlib import Path

from thalweg.draw.report import render
from thalweg.record import read
from thalweg.state import folder as files
from thalweg.state.folder import find


def report(run: str, *, out: str) -> Path:
    """Write the page and return its path. Raises RunError where there is no run with a record."""
    folder = find(run, out)
    if folder.is_finished:
        folder.check(files.RECORD)
    page = render(read(folder.path), title=folder.name)
    folder.write(files.REPORT, page)
    if folder.is_finished:
        folder.reseal(files.REPORT)
    return folder.path / files.REPORT
