"""Where a table's bytes come from: a file, standard input, or a folder of part files."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from thalweg.errors import DataError

STANDARD_INPUT = ("-", "/dev/stdin")
"""Data of these names is read from standard input; a file called - is ./-"""

HEAD = 65_536
"""So many first bytes say what a file is."""

_BLOCK = 1 << 20
_ONE_FILE = "give one CSV or Parquet file, or a folder of part files"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a table, by its path, or as bytes where it is not on disk or was unpacked.

    name: what to call it in messages
    """

    name: str
    content: Path | bytes

    @property
    def head(self) -> bytes:
        """Up to 65,536 bytes. Raises DataError where it cannot be read, or is empty."""
        raw = self.content[:HEAD] if isinstance(self.content, bytes) else _first(self.content)
        if not raw.removeprefix(BOM_UTF8).strip():
            raise DataError(f"{self.name} is empty: there is nothing in it")
        return raw

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower()

    def blocks(self) -> Iterator[bytes]:
        """All bytes, a million at a time."""
        if isinstance(self.content, bytes):
            yield from (self.content[i : i + _BLOCK] for i in range(0, len(self.content), _BLOCK))
        else:
            with self.content.open("rb") as file:
                while block := file.read(_BLOCK):
                    yield block

    def whole(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def is_stored(data: Any) -> bool:
    """Is data named, by a path or as standard input, rather than given as an object?"""
    return isinstance(data, str | Path)


def is_standard_input(data: Any) -> bool:
    """Is it to be read from standard input?"""
    return is_stored(data) and str(data) in STANDARD_INPUT


def name_of(data: Any) -> str:
    """What to call data in messages."""
    if not is_stored(data):
        return "the data"
    return "standard input" if is_standard_input(data) else str(data)


def parts_of(data: str | Path) -> list[Part]:
    """The file, or the files of the folder, in the order of their names.

    Raises DataError where there is none, or one cannot be read or is empty.
    """
    if is_standard_input(data):
        parts = [Part(name_of(data), standard_input())]
    else:
        parts = [Part(str(path), path) for path in files_of(Path(data))]
    for part in parts:
        assert part.head
    return parts


def files_of(path: Path) -> list[Path]:
    """The file itself, or those of the folder; hidden ones and `_SUCCESS` are no part of a table.

    Raises DataError where there is none, or the folder holds folders.
    """
    try:
        if not path.exists():
            raise DataError(f"{path} does not exist: check the spelling, or give the full path")
        if not path.is_dir():
            return [path]
        found = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")))
        inner = [entry.name for entry in found if entry.is_dir()]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if inner:
        raise DataError(
            f"{path} is a folder that holds folders ({inner[0]!r}): {_ONE_FILE}; or, of pictures, "
            "a folder of them for each class"
        )
    if not found:
        raise DataError(f"{path} is a folder without files: {_ONE_FILE}")
    return found


def standard_input() -> bytes:
    """All of it, however often it is asked for. Raises DataError for a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError("standard input is a terminal: pipe a table into it, or name a file")
    return _all_of(sys.stdin)


@lru_cache(maxsize=1)
def _all_of(stream: Any) -> bytes:
    return stream.buffer.read()


def _first(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise DataError(
                f"{path} is a pipe or a device: save the data to a file first, or give - and pipe "
                "them into standard input"
            )
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
