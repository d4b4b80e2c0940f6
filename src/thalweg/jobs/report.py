"""report: the page of a run, built anew from its record; needs no torch."""

from __future__ import annotations

from thalweg.draw.folds import render_folds
from thalweg.draw.report import render
from thalweg.errors import RunError
from thalweg.record import read
from thalweg.state import folder as files
from thalweg.state.folder import Folder, find


def schema_text(run: str, *, out: str) -> dict[str, str | int]:
    """The object that holds a run's whole schema. Raises RunError where there is none yet."""
    folder = find(run, out)
    if folder.is_finished:
        folder.check(files.SCHEMA)
    try:
        text = (folder.path / files.SCHEMA).read_text(encoding="utf-8")
    except OSError:
        raise RunError(
            f"{folder.path} holds no {files.SCHEMA}: it has not begun to train"
        ) from None
    return {"schema": 1, "command": "report", "run": str(folder.path), "columns": text}


def report(run: str, *, out: str) -> dict[str, str | int]:
    """Write the page; the object that says where. Raises RunError where there is no record."""
    folder = find(run, out)
    if folder.is_folds:
        return _of_folds(folder)
    if folder.is_finished:
        folder.check(files.RECORD)
    page = render(read(folder.path), title=folder.name)
    folder.write(files.REPORT, page)
    if folder.is_finished:
        folder.reseal(files.REPORT)
    return _said(folder)


def _of_folds(folder: Folder) -> dict[str, str | int]:
    if not folder.is_finished:
        raise RunError(f"{folder.path} is not finished: go on with thalweg resume {folder.path}")
    folder.check(files.FOLDS)
    folder.write(files.REPORT, render_folds(folder.read_json(files.FOLDS), title=folder.name))
    folder.reseal(files.REPORT)
    return _said(folder)


def _said(folder: Folder) -> dict[str, str | int]:
    page_path = str(folder.path / files.REPORT)
    return {"schema": 1, "command": "report", "run": str(folder.path), "report": page_path}
