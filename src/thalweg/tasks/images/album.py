"""From what was given to albums: pictures with their targets, in folders or named by a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from thalweg.errors import DataError, UsageError
from thalweg.tasks.images.column import base_of, paths_of
from thalweg.tasks.images.folders import Listed, are_folders, parts_in
from thalweg.tasks.images.wish import Album
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.read import read_table
from thalweg.tasks.table.source import is_stored, name_of

CLASS = "class"
"""What the target is called where folders are the classes."""


def album_of_folder(data: Any, asked: Asked) -> Album:
    """A folder for each class. Raises DataError where it is none, UsageError for a part that is
    given twice.
    """
    parts = parts_in(Path(data))
    albums = {name: _listed(row, asked.target) for name, row in parts.items()}
    lines = [line for row in parts.values() for line in row.notices]
    if len(parts) > 1:
        sizes = ", ".join(f"{len(row.paths):,} {name}" for name, row in parts.items())
        lines.insert(0, f"{data} is shared out by its folders: {sizes}")
    own = albums.pop("train")
    _check_classes(parts["train"], data, asked.target)
    for name, given in (("validation", asked.validation), ("test", asked.test)):
        if given is not None and name in albums:
            raise UsageError(
                f"{data} has a folder for {name} of its own, and {name} was given: leave out one"
            )
        if given is not None:
            albums[name] = _given(given, own, asked, name)
    return replace(own, **albums, notices=tuple(lines))


def _check_classes(found: Listed, data: Any, target: str) -> None:
    """Raise DataError where all pictures lie in one folder."""
    (first, *others) = dict.fromkeys(found.classes)
    if not others:
        raise DataError(
            f"{data}: the target {target!r} has only one value, {first!r}, the one folder that "
            f"holds pictures ({len(found.paths):,}): give a folder of pictures for each class"
        )


def album_of_table(frame: pl.DataFrame, column: str, data: Any, asked: Asked) -> Album:
    """A table whose column names the files."""
    own = _named(frame, column, data)
    given = {"validation": asked.validation, "test": asked.test}
    held = {
        name: _given(rows, own, asked, name) for name, rows in given.items() if rows is not None
    }
    return replace(own, **held)


def album_to_score(data: Any, target: str, column: str, texts: list[str]) -> Album:
    """Pictures with their targets, as a run was trained on. Raises DataError for anything else."""
    if are_folders(data):
        parts = parts_in(Path(data))
        if len(parts) > 1:
            raise DataError(
                f"{data} holds parts ({', '.join(parts)}): name the folder of one of them"
            )
        return _listed(parts["train"], target)
    frame = read_table(data, texts=texts).frame
    if column not in frame.columns:
        raise DataError(
            f"{name_of(data)} lacks the column {column or 'of paths'!r}, which names the pictures"
        )
    return _named(frame, column, data)


def _given(data: Any, own: Album, asked: Asked, part: str) -> Album:
    """Pictures of their own, to validate or to test: a folder, or a table with the same columns."""
    if are_folders(data):
        found = parts_in(Path(data))
        if len(found) > 1:
            raise DataError(f"{part} {data} holds parts itself ({', '.join(found)}): name one")
        return _listed(found["train"], asked.target)
    source = f"{part} {data}" if is_stored(data) else f"the {part} data"
    texts = [name for name, dtype in own.frame.schema.items() if dtype == pl.String]
    if not own.column:
        raise DataError(f"{source} is no folder that holds a folder of pictures for each class")
    frame = read_table(data, texts=texts).frame
    if own.column not in frame.columns:
        raise DataError(f"{source} lacks the column {own.column!r}, which names the pictures")
    return _named(frame, own.column, data)


def _listed(found: Listed, target: str) -> Album:
    return Album(frame=pl.DataFrame({target: list(found.classes)}), paths=found.paths)


def _named(frame: pl.DataFrame, column: str, data: Any) -> Album:
    source = name_of(data)
    paths = paths_of(frame.get_column(column), base_of(data), source)
    return Album(frame=frame.drop(column), paths=paths, column=column)
