"""A table from a file, a folder, standard input or a frame, or one line that says what is wrong
with it, and where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from thalweg.errors import DataError
from thalweg.tasks.table.delimited import Delimited, delimited
from thalweg.tasks.table.frames import frame_of
from thalweg.tasks.table.join import joined
from thalweg.tasks.table.source import Part, is_stored, name_of, parts_of
from thalweg.tasks.table.text import text_of
from thalweg.tasks.table.tidy import tidied
from thalweg.tasks.table.typed import Typed, json_lines, typed
from thalweg.tasks.table.unpack import unpacked


@dataclass(frozen=True, slots=True)
class Table:
    """frame; name: what to call it in messages

    notices: a line for each thing that was done to read it; doubts: those of them that could have
    been meant otherwise, or that lost something
    """

    frame: pl.DataFrame
    name: str
    notices: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A part that is known: what reads it, and what was found on the way."""

    file: Delimited | Typed
    facts: tuple[str, ...]
    doubts: tuple[str, ...]


def read_table(data: Any, *, texts: Collection[str] = (), numbers: Collection[str] = ()) -> Table:
    """A table from a path, "-" for standard input, or a polars, pandas or other frame.

    A file is CSV of any common delimiter, encoding and notation of numbers, JSON lines, Parquet or
    Arrow, compressed or not, known by its content; a folder holds files with the same columns.
    texts: columns to be read as text, whatever they look like
    numbers: columns in which numbers are read as such even where texts stand among them
    Raises DataError: no such file, empty, binary, truncated, ragged, duplicate column names.
    """
    name = name_of(data)
    if not is_stored(data):
        return Table(frame_of(data), name)
    opened = [_opened(part) for part in parts_of(data)]
    files = [row.file for row in opened]
    frame = joined(files, texts, name)
    if frame.height == 0:
        has = "a header" if isinstance(files[0], Delimited) else "columns"
        raise DataError(f"{name} has {has} but no rows")
    notices, doubts = _facts(opened, name), [line for row in opened for line in row.doubts]
    texts_of = [file for file in files if isinstance(file, Delimited)]
    if texts_of:
        tidy = tidied(
            frame,
            texts=texts,
            numbers=numbers,
            delimiter=texts_of[0].delimiter,
            reread=lambda names: joined(files, {*texts, *names}, name),
        )
        frame = tidy.frame
        notices += tidy.notices
        doubts += [f"{name}, {line}" for line in tidy.doubts]
    return Table(frame, name, (*notices, *doubts), tuple(doubts))


def _opened(part: Part) -> Opened:
    """What a file is, by its content."""
    bare, packing = unpacked(part)
    facts = (packing,) if packing else ()
    found = typed(bare)
    if found is not None:
        return Opened(found, facts, ())
    text = text_of(bare)
    file = json_lines(text.part) or delimited(text.part)
    return Opened(file, (*facts, *text.facts, *file.facts), text.doubts)


def _facts(opened: list[Opened], name: str) -> list[str]:
    """How the files are read, where that is worth a word; alike ones together."""
    lines = []
    if len(opened) > 1:
        first, last = (Path(row.file.part.name).name for row in (opened[0], opened[-1]))
        lines.append(f"{name} is {len(opened):,} files, {first} to {last}")
    for facts, count in Counter(row.facts for row in opened if row.facts).items():
        which = name if count == len(opened) else f"{count:,} files of {name}"
        lines.append(f"recognised in {which}: {', '.join(facts)}")
    return lines
