"""Tables whose column names picture files: which column it is, and where its files stand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from thalweg.errors import DataError, UsageError
from thalweg.tasks.images.folders import is_picture_name
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.names import names_of
from thalweg.tasks.table.source import is_standard_input, is_stored
from thalweg.tasks.table.values import find_column

IMAGE = "image"
"""The kind of such a column, for --types."""

LOOKED_AT = 50
"""Rows, spread over the table, by which a column is recognised."""


def base_of(data: Any) -> Path:
    """The folder that paths in a table are relative to: its file's."""
    if not is_stored(data) or is_standard_input(data):
        return Path()
    return Path(data) if Path(data).is_dir() else Path(data).parent


def picture_column(frame: pl.DataFrame, asked: Asked, base: Path) -> str | None:
    """The column whose values are picture files: the one asked for, else the one found; None: no.

    Raises DataError for a name that is no column, UsageError where there are several.
    """
    named = [name for name, kind in asked.types.items() if kind == IMAGE]
    if named:
        if len(named) > 1:
            raise UsageError(f"types: {len(named)} columns are to be images, and there can be one")
        return find_column(frame, named[0], "the table")
    taken = {*names_of(asked.target), asked.target, *asked.drop, *asked.types}
    names = [name for name in asked.columns or frame.columns if name not in taken]
    found = [name for name in names if name in frame.columns and _are_files(frame[name], base)]
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} columns name picture files ({', '.join(found)}): say which to learn "
            f"from, --types {found[0]}={IMAGE}, or leave them out, --drop"
        )
    return found[0] if found else None


def paths_of(column: pl.Series, base: Path, source: str) -> tuple[str, ...]:
    """The files that a column names. Raises DataError, with the row, where one is missing."""
    if column.dtype != pl.String:
        raise DataError(
            f"{source}: column {column.name!r} holds {column.dtype}, not paths of pictures"
        )
    if column.null_count():
        row = int(column.is_null().arg_max() or 0) + 1
        raise DataError(
            f"{source}: column {column.name!r} names no picture in {column.null_count():,} rows "
            f"(first: row {row:,}): name one, or remove the rows"
        )
    return tuple(os.path.join(base, text.strip()) for text in column.to_list())


def _are_files(column: pl.Series, base: Path) -> bool:
    """Are most values the names of pictures, and do most of these exist?"""
    if column.dtype != pl.String:
        return False
    known = column.drop_nulls()
    places = np.unique(np.linspace(0, max(0, len(known) - 1), LOOKED_AT).astype(int))
    values = [str(known[int(place)]).strip() for place in places] if len(known) else []
    named = [text for text in values if is_picture_name(text)]
    return 2 * len(named) > len(values) and _exist(named, base)


def _exist(paths: Sequence[str], base: Path) -> bool:
    there = sum(os.path.isfile(os.path.join(base, text)) for text in paths)
    return 2 * there > len(paths)
