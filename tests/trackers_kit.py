"""What the tests of experiment trackers share: their genuine files, and others made by hand."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from shutil import copyfile
from typing import Any

from foreign_kit import GENUINE

TRACKERS = GENUINE / "trackers"
MLFLOW, TRACKIO = TRACKERS / "mlflow.db", TRACKERS / "trackio.db"
WANDB = TRACKERS / "wandb/offline-run-steady/run-steady.wandb"
BLOCK = 1 << 15


def copied(file: Path, folder: Path) -> Path:
    """A copy that may be written."""
    return Path(copyfile(file, folder / file.name))


def changed(file: Path, folder: Path, *statements: str) -> Path:
    """A copy of a database in which these were executed."""
    path = copied(file, folder)
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, value: bytes | int) -> bytes:
    """A field of Protocol Buffers: bytes, or a whole number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def item(key: str | tuple[str, ...], value: Any) -> bytes:
    """A value of a history or a config under a key, or under the parts of a nested one."""
    parts = [(1, key)] if isinstance(key, str) else [(2, part) for part in key]
    names = b"".join(field(number, part.encode()) for number, part in parts)
    return field(1, names + field(16, json.dumps(value).encode()))


def row(number: int, *items: bytes) -> bytes:
    """A record with a row of the history."""
    return field(1, number) + field(2, b"".join(items))


def frames(records: Iterable[bytes]) -> bytes:
    """A .wandb file of these records."""
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for record in records:
        rest, is_first = record, True
        while rest or is_first:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += bytes(left)
                left = BLOCK
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (2 if rest else 1) if is_first else (3 if rest else 4)
            checksum = zlib.crc32(part, zlib.crc32(bytes([kind])))
            out += struct.pack("<IHB", checksum, len(part), kind) + part
            is_first = False
    return bytes(out)
