"""The text of a log's file, in whatever letters it was written."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from thalweg.errors import DataError


class NoLog(DataError):
    """What is no log at all, or empty, as many files of a folder are."""


def unnamed(source: str, names: Iterable[str]) -> NoLog:
    """What to say of a log none of whose columns is a loss by its name."""
    names = [name for name in names if name]
    shown = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    text = f"none of its columns names a loss: --loss-column can, of {shown}"
    return NoLog(f"{source} is no log that is known: {text}")


MOST_NAMED = 12
"""Columns that are named where none is a loss."""

MOST_BYTES = 1 << 30
_WIDE = (b"\xff\xfe", b"\xfe\xff")


def text_of(path: Path, most: int = MOST_BYTES) -> str:
    """A file's text, its first bytes where only `most` are asked for.

    Raises DataError for what is missing, empty, binary, or larger than 1 GB.
    """
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder without event files: name a log in it")
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} has more than 1 GB: give a part of it")
        with path.open("rb") as file:
            raw = file.read(most)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not raw.strip():
        raise NoLog(f"{path} is empty: there is nothing in it")
    return decoded(raw, str(path))


def standard_input() -> str:
    """All of it."""
    inner = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read() if inner is None else decoded(inner.read(), "standard input")


def decoded(raw: bytes, source: str) -> str:
    """UTF-8, else UTF-16 as Windows' shells write it, else Latin letters. Raises DataError."""
    head = raw[:65_536]
    if raw.startswith(_WIDE):
        return raw.decode("utf-16", errors="replace")
    if b"\x00" in head:
        if head[1::2].count(0) > 0.9 * len(head[1::2]):
            return raw.decode("utf-16-le", errors="replace")
        raise DataError(f"{source} is binary, and no event file: name the log of a run")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start >= len(raw) - 4:
            return raw.decode("utf-8-sig", errors="replace")
    control = sum(byte < 9 or 13 < byte < 27 for byte in head)
    if control > 0.05 * len(head):
        raise DataError(f"{source} is binary, and no event file: name the log of a run")
    return raw.decode("cp1252", errors="replace")
