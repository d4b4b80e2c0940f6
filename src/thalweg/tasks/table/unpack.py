"""Compressed files, known by their first bytes, whatever their names say."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable

import polars as pl
from polars.exceptions import PolarsError

from thalweg.errors import DataError
from thalweg.tasks.table.source import Part

_ZIP = b"PK\x03\x04"
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, PolarsError)


def unpacked(part: Part) -> tuple[Part, str | None]:
    """The file without its compression, and what that was. Raises DataError for a damaged one."""
    head = part.head
    if head.startswith(_ZIP):
        raise DataError(
            f"{part.name} is a zip archive or an Excel workbook: save the table in it as CSV"
        )
    for mark, (name, unpack) in _KINDS.items():
        if head.startswith(mark):
            return _unpacked(part, name, unpack), name
    return part, None


def _unpacked(part: Part, name: str, unpack: Callable[[bytes], bytes]) -> Part:
    try:
        return Part(part.name, unpack(part.whole()))
    except UnicodeError as error:
        raise DataError(
            f"{part.name} is compressed ({name}), and what it holds is {error}: unpack it first, "
            "with zstd -d"
        ) from None
    except _DAMAGE as error:
        raise DataError(
            f"{part.name} is compressed ({name}) and cut short or damaged ({error}): write it again"
        ) from None


def _unzstd(raw: bytes) -> bytes:
    """Text out of zstd, which Python itself cannot unpack, but polars can.

    Raises UnicodeError for what is no UTF-8: the bytes that it was are lost then.
    """
    lines = pl.read_csv(
        raw,
        has_header=False,
        separator="\x1f",
        quote_char=None,
        schema={"line": pl.String},
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
    ).get_column("line")
    text = "\n".join(lines.fill_null("").to_list())
    if "\x00" in text or "\ufffd" in text:
        raise UnicodeError("no UTF-8 text")
    return text.encode()


_KINDS: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"\x28\xb5\x2f\xfd": ("zstd", _unzstd),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\x00": ("xz", lzma.decompress),
}
"""First bytes, the name of the compression, and what undoes it."""
