"""The .wandb file of a local run of Weights & Biases, read without its package.

A head of 7 bytes, then blocks of 32 KiB that hold frames as LevelDB's log does: a checksum, a
length, and whether the frame is a whole record, or its first, middle or last part. A record is a
message of Protocol Buffers:

Record{2: History{1: Item, 2: Step{1: number}}, 17: Run{4: Config{1: Item, 2: removed}}}
Item{1: key, 2: part of a nested key, 16: value as JSON; 5, 6: a whole number, a float}
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

from thalweg.errors import DataError
from thalweg.record.foreign.nested import flat
from thalweg.record.foreign.protobuf import fields, varint
from thalweg.record.foreign.tracked import Gathered, Tracked

SUFFIX = ".wandb"
_MAGIC = b":W&B"
_HEAD, _BLOCK = 7, 1 << 15
_FRAME = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_SEED = {kind: zlib.crc32(bytes([kind])) for kind in (_FULL, _FIRST, _MIDDLE, _LAST)}

_HISTORY, _CONFIG, _RUN = 2, 5, 17
_CONFIG_OF_RUN = 4
_KEY, _PART, _WHOLE, _FLOAT, _JSON = 1, 2, 5, 6, 16
"""Numbers of fields: of a Record, of a Run, of an Item."""

_ROW = b"\x12"
_NUMBERED = re.compile(rb"\x08[\x80-\xff]*[\x00-\x7f]([\x12\x1a])", re.DOTALL)
"""The head of most records: their number, then a History or a Summary."""

FILES = "files"
"""The folder beside it in which a run keeps what it saves."""

_KINDS, _BYTES, _LONG = 7, 2, 1 << 7
"""The bits of a field's head that tell its kind; that of bytes; heads of two bytes and more."""

_ITEM, _NAMES, _VALUE = 0x0A, (0x0A, 0x12), b"\x82\x01"
"""How fields begin: an Item; its key; its value as JSON."""


def read_wandb(path: Path) -> Tracked:
    """The run of a file, up to the first frame that is not whole.

    Raises DataError for what is no such file, or holds no history.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not raw.startswith(_MAGIC):
        raise DataError(f"{path} is no log of wandb: it does not begin as one")
    gathered, settings = Gathered(), {}
    records, wrong = _records(raw)
    for record in records:
        row = _history(record)
        if row is not None:
            gathered.row(row)
        elif not _NUMBERED.match(record):
            settings |= _settings(record)
    if not gathered.num_rows:
        raise DataError(f"{path} holds no history" + (f": it {wrong}" if wrong else ""))
    notes = (f"{path.name} {wrong}: read up to there",) if wrong else ()
    return Tracked("wandb", gathered.cells(), settings, notes, path.parent / FILES)


def _records(raw: bytes) -> tuple[list[bytes], str]:
    """The records up to the first that is not whole, and what is wrong with that one, if any."""
    found: list[bytes] = []
    place, parts = _HEAD, None
    while place + _FRAME.size <= len(raw):
        left = _BLOCK - place % _BLOCK
        checksum, length, kind = _FRAME.unpack_from(raw, place)
        if left < _FRAME.size or (kind == 0 and length == 0):
            place += left
            continue
        begin = place + _FRAME.size
        place = begin + length
        if place > len(raw):
            return found, f"is cut after {len(found):,} records"
        data = raw[begin:place]
        if kind not in _SEED or zlib.crc32(data, _SEED[kind]) != checksum:
            return found, f"has a wrong checksum after {len(found):,} records"
        parts = data if kind in (_FULL, _FIRST) else (parts or b"") + data
        if kind in (_FULL, _LAST):
            found.append(parts)
            parts = None
    is_cut = place < len(raw) or parts is not None
    return found, f"is cut after {len(found):,} records" if is_cut else ""


def _history(record: bytes) -> dict[str, Any] | None:
    """The values of a row of the history; None for a record of another kind."""
    head = _NUMBERED.match(record)
    if head is None:
        row = next((value for number, value in fields(record) if number == _HISTORY), b"")
        return _items(row, 0, len(row)) if isinstance(row, bytes) and row else None
    if head[1] != _ROW:
        return None
    length, place = varint(record, head.end())
    return _items(record, place, place + length)


def _items(data: bytes, place: int, end: int) -> dict[str, Any]:
    """The items from one place to another; most have a short key and a short value as JSON."""
    values: dict[str, Any] = {}
    end = min(end, len(data))
    while place < end:
        kind = data[place]
        if kind & _KINDS != _BYTES:
            break
        after = place + 1 if kind < _LONG else varint(data, place)[1]
        length, begin = varint(data, after)
        place = begin + length
        if kind != _ITEM:
            continue
        item = data[begin:place]
        middle = 2 + item[1] if length > 1 and item[0] in _NAMES else length
        if item[middle : middle + 2] == _VALUE and length == middle + 3 + item[middle + 2]:
            try:
                values[item[2:middle].decode()] = float(item[middle + 3 :])
                continue
            except ValueError:
                pass
        _add(values, item)
    return values


def _add(values: dict[str, Any], item: bytes) -> None:
    """One value under its key, or under the parts of a nested one with points between."""
    key, value = _any(item)
    if isinstance(value, dict):
        values |= flat(value, f"{key}.") if "_type" not in value else {}
    elif key and not isinstance(value, list):
        values[key] = value


def _any(item: bytes) -> tuple[str, Any]:
    parts, value = [], None
    for number, given in fields(item):
        if number in (_KEY, _PART) and isinstance(given, bytes):
            parts.append(given.decode("utf-8", "replace"))
        elif number == _JSON and isinstance(given, bytes):
            value = _loaded(given)
        elif number == _FLOAT and isinstance(given, bytes) and len(given) == 8:
            (value,) = struct.unpack("<d", given)
        elif number == _WHOLE and isinstance(given, int):
            value = (given >> 1) ^ -(given & 1)
    return ".".join(parts), value


def _loaded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _settings(record: bytes) -> dict[str, Any]:
    """What a record tells of the run's settings."""
    found: dict[str, Any] = {}
    for number, value in fields(record):
        configs = fields(value) if number == _RUN and isinstance(value, bytes) else ()
        inner = [config for name, config in configs if name == _CONFIG_OF_RUN]
        for config in [value] if number == _CONFIG else inner:
            for name, item in fields(config) if isinstance(config, bytes) else ():
                if name == 1 and isinstance(item, bytes):
                    _add(found, item)
    return {name: value for name, value in found.items() if not name.startswith("_wandb")}
