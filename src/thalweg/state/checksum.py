"""Checksums of data on disk or in memory, by which a run knows its data again."""

from __future__ import annotations

from pathlib import Path

import xxhash

from thalweg.state.folder import fingerprint


def checksum(data: Path | bytes) -> str:
    """xxh3 of bytes or of a file, 16 hex digits; of a folder, of the names and checksums of all
    files below it that are not hidden.
    """
    if isinstance(data, bytes):
        return xxhash.xxh3_64_hexdigest(data)
    if not data.is_dir():
        return fingerprint(data)
    hasher = xxhash.xxh3_64()
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        name = path.relative_to(data)
        if not any(part.startswith(".") for part in name.parts):
            hasher.update(f"{name.as_posix()} {fingerprint(path)}\n".encode())
    return hasher.hexdigest()
