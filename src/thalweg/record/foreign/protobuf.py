"""Messages of Protocol Buffers as fields, read without its package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int of a varint, else the bytes as they stand.

    >>> list(fields(b"\\x08\\x96\\x01\\x12\\x02hi"))
    [(1, 150), (2, b'hi')]
    """
    place = 0
    while place < len(data):
        head, place = varint(data, place)
        number, kind = head >> 3, head & 7
        if kind == _VARINT:
            value, place = varint(data, place)
        elif kind == _BYTES:
            length, place = varint(data, place)
            value, place = data[place : place + length], place + length
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            value, place = data[place : place + size], place + size
        else:
            return
        yield number, value


def varint(data: bytes, place: int) -> tuple[int, int]:
    """The whole number that begins at a place, and the place after it."""
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            break
    return value, place
