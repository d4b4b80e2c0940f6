"""TensorBoard's event files, read without its package.

The data of a frame are an Event of Protocol Buffers, of which the time, the step and the scalars
count: Event{1: wall_time, 2: step, 5: Summary{1: Value{1: tag, 2: simple_value, 8: TensorProto}}}.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from thalweg.errors import DataError
from thalweg.record.foreign.frames import frames
from thalweg.record.foreign.points import Points
from thalweg.record.foreign.protobuf import fields, varint

MARK = "tfevents"
"""In the name of every event file."""

_NUMPY = {1: "<f4", 2: "<f8", 3: "<i4", 4: "<u1", 5: "<i2", 6: "<i1", 9: "<i8", 10: "<u1"}
_NUMPY |= {17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8"}
_BFLOAT16, _HALF = 14, 19
"""TensorProto's dtypes of numbers, as they lie in its tensor_content."""

_VALUES = {5: "<f4", 6: "<f8"}
_WHOLE = {7, 10, 11, 13, 16, 17}
"""TensorProto's fields of floats and doubles, one after the other; and of numbers as varints."""


def read_events(files: Mapping[Path, str]) -> tuple[dict[str, Points], int, list[str]]:
    """The scalars of event files, in the order of these; how many; what was wrong with them.

    files: to each what is put before its tags. Raises DataError for one that cannot be read.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    notes, count = [], 0
    for path, before in files.items():
        whole, wrong = frames(_bytes(path))
        if wrong:
            notes.append(f"{path.name} {wrong}: read up to there")
        for data in whole:
            time, step, scalars = _event(data)
            count += len(scalars)
            for tag, value in scalars:
                found.setdefault(before + tag, []).append((step, value, time))
    return {tag: _points(rows) for tag, rows in found.items()}, count, notes


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _points(rows: Sequence[tuple[float, float, float]]) -> Points:
    columns = np.array(rows, dtype=np.float64)
    clock = columns[:, 2]
    return Points(columns[:, 0], columns[:, 1], clock if (clock > 0).all() else None)


def _event(data: bytes) -> tuple[float, int, list[tuple[str, float]]]:
    time, step, found = 0.0, 0, []
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes) and len(value) == 8:
            (time,) = struct.unpack("<d", value)
        elif number == 2 and isinstance(value, int):
            step = value if value < 1 << 63 else value - (1 << 64)
        elif number == 5 and isinstance(value, bytes):
            for inner, summary in fields(value):
                scalar = _scalar(summary) if inner == 1 and isinstance(summary, bytes) else None
                found += [] if scalar is None else [scalar]
    return time, step, found


def _scalar(data: bytes) -> tuple[str, float] | None:
    """Tag and value; None for what is no single number: a histogram, a picture, a text."""
    tag, number = "", None
    for name, value in fields(data):
        if name == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif name == 2 and isinstance(value, bytes) and len(value) == 4:
            (number,) = struct.unpack("<f", value)
        elif name == 8 and isinstance(value, bytes):
            number = _tensor(value)
    return None if number is None or not tag else (tag, float(number))


def _tensor(data: bytes) -> float | None:
    """The number of a TensorProto that holds just one."""
    dtype, values, rank = 0, np.zeros(0), 0
    for name, value in fields(data):
        if name == 1 and isinstance(value, int):
            dtype = value
        elif name == 2 and isinstance(value, bytes):
            rank = sum(field == 2 for field, _ in fields(value))
        elif name == 4 and isinstance(value, bytes):
            values = _content(dtype, value)
        elif name in _VALUES and isinstance(value, bytes):
            values = np.frombuffer(value, dtype=_VALUES[name])
        elif name in _WHOLE:
            values = _whole(dtype, value)
    return float(values[0]) if len(values) == 1 and rank <= 1 else None


def _content(dtype: int, raw: bytes) -> np.ndarray:
    if dtype == _BFLOAT16 and len(raw) == 2:
        return np.frombuffer(b"\x00\x00" + raw, dtype="<f4")
    known = np.dtype(_NUMPY.get(dtype, "V1"))
    return (
        np.frombuffer(raw, dtype=known)
        if known.kind != "V" and len(raw) >= known.itemsize
        else np.zeros(0)
    )


def _whole(dtype: int, value: int | bytes) -> np.ndarray:
    """Varints, packed or alone: whole numbers, or the bits of halves."""
    number = value if isinstance(value, int) else varint(value, 0)[0]
    if dtype == _HALF:
        return np.array([number], dtype="<u2").view("<f2")
    if dtype == _BFLOAT16:
        return np.array([number << 16], dtype="<u4").view("<f4")
    return np.array([number - (1 << 64) if number >= 1 << 63 and dtype != 23 else number], float)
