"""The record as a log of frames, where SQLite's WAL does not work: network file systems.

After one line that names the format, frame follows frame: 12 bytes (length of the payload, its
CRC-32, CRC-32 of these two; little endian), then the payload, the rows of one commit as JSON.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from contextlib import suppress
from io import FileIO
from pathlib import Path
from struct import Struct
from typing import Any

from thalweg.record.rows import SCHEMA, TABLES, Tables, check_version

_FIRST_LINE = re.compile(rb"thalweg record, version (\d{1,9})\n")
_HEAD, _CHECK = Struct("<II"), Struct("<I")
_NUM_HEAD = _HEAD.size + _CHECK.size


class Log:
    """Appends frames after the first `end` bytes of `path`, and drops what stood behind them."""

    def __init__(self, path: Path, end: int, attempt: int, from_step: int):
        self.attempt = attempt
        self._end = end
        self._file = path.open("r+b", buffering=0)
        try:
            self.write({"attempts": [(attempt, from_step, time.time())]})
        except BaseException:
            self._file.close()
            raise

    def write(self, tables: Tables) -> None:
        frame = _frame(tables)
        try:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            _write_all(self._file, frame)
        except OSError:
            with suppress(OSError):  # else the next write does it
                self._file.truncate(self._end)
            raise
        self._end += len(frame)

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with suppress(OSError):
            self.sync()
        self._file.close()


def create(path: Path) -> Log:
    """A new record. Raises OSError."""
    first = b"thalweg record, version %d\n" % SCHEMA
    with path.open("xb", buffering=0) as file:
        _write_all(file, first)
    log = Log(path, len(first), 1, 0)
    with suppress(OSError):  # some systems do not open folders
        _sync_folder(path.parent)
    return log


def _sync_folder(path: Path) -> None:
    """Let the names in it survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def reopen(path: Path, from_step: int) -> Log:
    """A new attempt, behind the last whole frame. Raises RunError for a record of another version.

    Where damage, not a cut, ended what could be read, an event of the new attempt says so.
    """
    tables, end, damage = _scan(path)
    newest = max((row[0] for row in tables["attempts"]), default=0)
    log = Log(path, end, newest + 1, from_step)
    if damage:
        log.write({"events": [(log.attempt, "main", from_step, "notice", damage, "{}")]})
    return log


def read(path: Path) -> tuple[Tables, str]:
    """All rows of its whole frames, and what damage hides, in one line.

    A last frame that ends too early is no damage: a killed process, or one that is writing.
    """
    tables, _, damage = _scan(path)
    return tables, damage


def _frame(tables: Tables) -> bytes:
    payload = json.dumps({table: list(rows) for table, rows in tables.items()}).encode()
    head = _HEAD.pack(len(payload), zlib.crc32(payload))
    return head + _CHECK.pack(zlib.crc32(head)) + payload


def _write_all(file: FileIO, data: bytes) -> None:
    """One call as a rule; a full disk takes a part."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _scan(path: Path) -> tuple[dict[str, list[tuple[Any, ...]]], int, str]:
    """Rows by table, the end of the last whole frame, and what damage hides."""
    data = path.read_bytes()
    first = _FIRST_LINE.match(data)
    check_version(int(first[1]) if first else 0, path)
    end = first.end() if first else 0
    tables: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
    payload, is_cut = _payload(data, end)
    while payload is not None:
        for table, rows in json.loads(payload).items():
            tables[table].extend(map(tuple, rows))
        end += _NUM_HEAD + len(payload)
        payload, is_cut = _payload(data, end)
    text = f"{path} is damaged at byte {end}: {len(data) - end} bytes from there on were left out"
    return tables, end, "" if is_cut else text


def _payload(data: bytes, start: int) -> tuple[bytes | None, bool]:
    """Of the frame at `start`, and whether the data end before it does."""
    body = start + _NUM_HEAD
    if len(data) < body:
        return None, True
    length, checksum = _HEAD.unpack_from(data, start)
    if _CHECK.pack(zlib.crc32(data[start : start + _HEAD.size])) != data[body - _CHECK.size : body]:
        return None, False
    payload = data[body : body + length]
    if len(payload) < length:
        return None, True
    return (payload, False) if zlib.crc32(payload) == checksum else (None, False)
