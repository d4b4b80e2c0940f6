"""Pictures in folders: a folder for each class, in parts of their own or not.

What is hidden is skipped, and so is what is no picture by its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.errors import DataError
from thalweg.tasks.table.source import is_stored

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".jp2", ".avif"),
)
"""Names of pictures end so, in small letters or large ones."""

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Folders that are parts of the data, where one of them is to train on."""

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Listed:
    """Pictures of one part, with the class of each.

    others: files that are no pictures by their name; empty: folders without pictures
    """

    paths: tuple[str, ...]
    classes: tuple[str, ...]
    others: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What was passed over, a line each."""
        lines = []
        if self.others:
            many = "1 file is" if len(self.others) == 1 else f"{len(self.others):,} files are"
            lines.append(f"{many} no picture by name and left out: {_shown(self.others)}")
        if self.empty:
            many = "folder holds" if len(self.empty) == 1 else "folders hold"
            lines.append(
                f"{len(self.empty):,} {many} no picture and no class: {_shown(self.empty)}"
            )
        return tuple(lines)


def is_picture_name(path: str) -> bool:
    """Does a file's name end as a picture's?"""
    return path.lower().endswith(SUFFIXES)


def are_folders(data: Any) -> bool:
    """Is it a folder that holds folders or pictures, and no table?"""
    if not is_stored(data) or not os.path.isdir(data):
        return False
    try:
        entries = [row for row in os.scandir(data) if not row.name.startswith((".", "_"))]
    except OSError:
        return False
    if any(os.path.isdir(row.path) for row in entries):  # False for a link to itself
        return any(is_picture_name(path) for path in _below(Path(data)))
    return 2 * sum(is_picture_name(row.name) for row in entries) > len(entries)


def parts_in(root: Path) -> dict[str, Listed]:
    """The parts of a folder, train always among them. Raises DataError where it is no such folder.

    A folder for each class, or folders train, val and test with these inside.
    """
    inner = {PARTS[row.name.lower()]: row for row in _folders(root) if row.name.lower() in PARTS}
    if "train" not in inner or not any(_folders(inner["train"])):
        return {"train": listed(root)}
    found = {name: listed(row) for name, row in inner.items()}
    rest = [row.name for row in _folders(root) if row.name.lower() not in PARTS]
    if rest:
        found["train"] = Listed(
            found["train"].paths, found["train"].classes, found["train"].others, tuple(rest)
        )
    return found


def listed(root: Path) -> Listed:
    """The pictures in a folder with a folder for each class.

    Raises DataError where there is none, or it holds no pictures.
    """
    paths, classes, empty = [], [], []
    others = [row.name for row in _entries(root) if not row.is_dir()]
    loose = [name for name in others if is_picture_name(name)]
    for row in _folders(root):
        files = list(_below(row))
        own = [path for path in files if is_picture_name(path)]
        others += [path for path in files if not is_picture_name(path)]
        paths += own
        classes += [row.name] * len(own)
        empty += [] if own else [row.name]
    if not paths:
        what = f"{len(loose):,} pictures but no folders" if loose else "no pictures in its folders"
        raise DataError(
            f"{root} holds {what}: give a folder that holds a folder of pictures for each class, "
            "or a table with a column of their paths, thalweg fit FILE.csv --target COL"
        )
    return Listed(tuple(paths), tuple(classes), tuple(others), tuple(empty))


def all_below(root: Path) -> list[str]:
    """Every picture in a folder and in those below it."""
    return [path for path in _below(root) if is_picture_name(path)]


def _below(root: Path) -> Iterator[str]:
    """The files below a folder, in the order of their names."""
    for where, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(where, name)


def _folders(root: Path) -> list[Path]:
    return [row for row in _entries(root) if row.is_dir()]


def _entries(root: Path) -> list[Path]:
    try:
        return sorted(row for row in root.iterdir() if not row.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}") from None


def _shown(names: tuple[str, ...]) -> str:
    more = ", ..." if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
