"""Part files as one table: the same columns in each, and one type for each column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import polars as pl
from polars.exceptions import PolarsError

from thalweg.errors import DataError, first_line
from thalweg.tasks.table.source import Part


class File(Protocol):
    """A part with what reads it; texts: columns to be read as text."""

    @property
    def part(self) -> Part: ...

    def read(self, texts: Collection[str]) -> pl.DataFrame: ...


def joined(files: Sequence[File], texts: Collection[str], name: str) -> pl.DataFrame:
    """All rows of all files, in their order. Raises DataError with the name of a file whose columns
    are others, or of other types.
    """
    frames = [file.read(texts) for file in files]
    if len(frames) == 1:
        return frames[0]
    for file, frame in zip(files, frames, strict=True):
        _check_columns(frame, frames[0], file.part.name, files[0].part.name)
    mixed = _texts_in_some(frames) - set(texts)
    if mixed:
        frames = [file.read({*texts, *mixed}) for file in files]
    try:
        return pl.concat(
            [frame.select(frames[0].columns) for frame in _without_empty(frames)],
            how="vertical_relaxed",
        )
    except PolarsError as error:
        raise DataError(
            f"{name}: its files hold values of different types: {first_line(error)}"
        ) from None


def _check_columns(frame: pl.DataFrame, first: pl.DataFrame, name: str, other: str) -> None:
    """Raise DataError where a file lacks a column of the first, or has one more."""
    lacking = [column for column in first.columns if column not in frame.columns]
    added = [column for column in frame.columns if column not in first.columns]
    if lacking or added:
        words = f"it lacks {lacking[0]!r}" if lacking else f"it has {added[0]!r} besides"
        raise DataError(
            f"{name} has other columns than {other} ({words}): part files need the same; take it "
            "out of the folder, or mend it"
        )


def _texts_in_some(frames: Sequence[pl.DataFrame]) -> set[str]:
    """Columns that hold text in one file and something else in another: 07 in one, A7 in the next.

    They are text in all, and no file's 07 is to become 7.
    """
    found: dict[str, set[bool]] = {}
    for frame in frames:
        for column in frame.iter_columns():
            if column.null_count() < len(column):
                found.setdefault(column.name, set()).add(column.dtype == pl.String)
    return {name for name, is_text in found.items() if len(is_text) == 2}


def _without_empty(frames: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Columns without a value fit any type, and so do files without a row."""
    filled = [frame for frame in frames if frame.height] or list(frames[:1])
    return [
        frame.with_columns(
            column.cast(pl.Null) for column in frame if column.null_count() == len(column)
        )
        if len(filled) > 1
        else frame
        for frame in filled
    ]
