"""TensorBoard's event files, read without its package.

A file is a row of frames: the length of the data (uint64), a checksum of that, the data, a checksum
of these. The data are an Event of Protocol Buffers, of which the step and the scalars count:
Event{2: step, 5: Summary{1: Value{1: tag, 2: simple_value, 8: TensorProto}}}.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.record.foreign.rows import Rows

MARK = "tfevents"
"""In the name of every event file."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NUMPY = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
"""TensorProto's dtypes of numbers."""

_VALUES = {5: "<f4", 6: "<f8"}
"""TensorProto's fields of floats and of doubles, one after the other."""

_LONGEST = 1 << 28


def read_events(paths: list[Path]) -> tuple[Rows, list[str]]:
    """The scalars of event files, in the order of these; and what was wrong with them."""
    rows, notes = Rows(), []
    for path in paths:
        count = 0
        raw = path.read_bytes()
        place = 0
        for place, data in _frames(raw):
            count += 1
            step, scalars = _event(data)
            for name, value in scalars:
                rows.add(step, name, value)
        if place < len(raw):
            notes.append(
                f"{path.name} is cut after {count:,} events ({len(raw) - place:,} bytes at its end "
                "are no whole one): read up to there"
            )
    return rows, notes


def _frames(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Each whole frame: where it ends, and its data."""
    place = 0
    while place + 12 <= len(raw):
        (length,) = struct.unpack_from("<Q", raw, place)
        end = place + 12 + length + 4
        if length > _LONGEST or end > len(raw):
            return
        yield end, raw[place + 12 : end - 4]
        place = end


def _event(data: bytes) -> tuple[int, list[tuple[str, float]]]:
    step, found = 0, []
    for number, value in _fields(data):
        if number == 2:
            step = value if value < 1 << 63 else value - (1 << 64)
        elif number == 5 and isinstance(value, bytes):
            for inner, summary in _fields(value):
                scalar = _scalar(summary) if inner == 1 and isinstance(summary, bytes) else None
                found += [] if scalar is None else [scalar]
    return step, found


def _scalar(data: bytes) -> tuple[str, float] | None:
    """Tag and value; None for what is no single number: a histogram, a picture, a text."""
    tag, number = "", None
    for name, value in _fields(data):
        if name == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif name == 2 and isinstance(value, bytes):
            (number,) = struct.unpack("<f", value)
        elif name == 8 and isinstance(value, bytes):
            number = _tensor(value)
    return None if number is None or not tag else (tag, float(number))


def _tensor(data: bytes) -> float | None:
    dtype, values = 0, np.zeros(0)
    for name, value in _fields(data):
        if name == 1 and isinstance(value, int):
            dtype = value
        elif name == 4 and isinstance(value, bytes) and dtype in _NUMPY:
            values = np.frombuffer(value, dtype=_NUMPY[dtype])
        elif name in _VALUES and isinstance(value, bytes):
            values = np.frombuffer(value, dtype=_VALUES[name])
    return float(values[0]) if len(values) == 1 else None


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int of a varint, else the bytes as they stand."""
    place = 0
    while place < len(data):
        head, place = _varint(data, place)
        number, kind = head >> 3, head & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
        elif kind == _BYTES:
            length, place = _varint(data, place)
            value, place = data[place : place + length], place + length
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            value, place = data[place : place + size], place + size
        else:
            return
        yield number, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            break
    return value, place
