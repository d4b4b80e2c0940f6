"""The frames of TensorBoard's event files: length (uint64), its checksum, data, their checksum.

A checksum is CRC-32C, turned by 15 bits with a constant added; many frames are checked at once.
"""

from __future__ import annotations

import struct

import numpy as np

_LONGEST_CHECKED = 1 << 14
"""Bytes of data beyond which a frame holds no scalar, and is not checked."""


def _crc_table() -> np.ndarray:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0x82F63B78), crc >> 1)
    return crc


_TABLE = _crc_table()


def frames(raw: bytes) -> tuple[list[bytes], str]:
    """The data of each frame up to the first that is not whole, and what is wrong with that one.

    The text is empty where nothing is wrong.
    """
    starts, lengths, place = [], [], 0
    while place + 12 <= len(raw):
        (length,) = struct.unpack_from("<Q", raw, place)
        if place + 16 + length > len(raw):
            break
        starts.append(place)
        lengths.append(length)
        place += 16 + length
    found = [raw[s + 12 : s + 12 + n] for s, n in zip(starts, lengths, strict=True)]
    bad = _first_bad(raw, np.array(starts, dtype=np.int64), np.array(lengths, dtype=np.int64))
    if bad is not None:
        return found[:bad], f"has a wrong checksum after {bad:,} events"
    if place < len(raw):
        return found, f"is cut after {len(found):,} events"
    return found, ""


def _first_bad(raw: bytes, starts: np.ndarray, lengths: np.ndarray) -> int | None:
    """The first frame whose length or data do not fit their checksums."""
    if not len(starts):
        return None
    octets = np.frombuffer(raw, dtype=np.uint8)
    is_bad = _checksums(octets, starts, np.full(len(starts), 8)) != _stored(octets, starts + 8)
    short = np.flatnonzero(lengths <= _LONGEST_CHECKED)
    data, stored = starts[short] + 12, _stored(octets, starts[short] + 12 + lengths[short])
    is_bad[short] |= _checksums(octets, data, lengths[short]) != stored
    return int(np.argmax(is_bad)) if is_bad.any() else None


def _stored(octets: np.ndarray, at: np.ndarray) -> np.ndarray:
    parts = octets[at[:, None] + np.arange(4)].astype(np.uint32)
    return (parts << np.array([0, 8, 16, 24], dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


def _checksums(octets: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Masked CRC-32C of many stretches, byte by byte of all that are as long."""
    order = np.argsort(-lengths, kind="stable")
    begin, size = starts[order], lengths[order]
    crc = np.full(len(order), 0xFFFFFFFF, dtype=np.uint32)
    for i in range(int(size[0]) if len(size) else 0):
        count = int(np.searchsorted(-size, -i, side="left"))
        now = crc[:count]
        crc[:count] = _TABLE[(now ^ octets[begin[:count] + i]) & 0xFF] ^ (now >> 8)
    crc = ~crc
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)
    found = np.empty_like(masked)
    found[order] = masked
    return found
