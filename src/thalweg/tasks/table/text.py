"""Text as plain UTF-8 with ordinary line ends, whatever it was, and what was done for it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass

from thalweg.errors import DataError
from thalweg.tasks.table.source import HEAD, Part

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""

_CONTROLS = bytes({*range(32)} - {*b"\t\n\v\f\r\x1a\x1b"})
_MOST_CONTROLS = 1 / 1000
"""A file with more control characters among its bytes is no text."""

_LONGEST_RUN, _FEWEST_BYTES = 2.0, 20
"""Accents stand alone in Western text; other alphabets bring runs of bytes beyond ASCII."""

_LOST = "\ufffd"
_LOST_UTF8 = _LOST.encode()


@dataclass(frozen=True, slots=True)
class Text:
    """part: UTF-8 with ordinary line ends; facts: what it was, where that is worth a word

    doubts: what could not be read, with its count
    """

    part: Part
    facts: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def text_of(part: Part) -> Text:
    """A file as text. Raises DataError for binary data and for encodings that cannot be known."""
    head = part.head
    text = Text(part) if _is_plain(part.blocks()) else _decoded(part, head)
    head = text.part.head
    if b"\r" not in head or b"\n" in head:
        return text
    lines = text.part.whole().replace(b"\r", b"\n")
    return Text(Part(part.name, lines), (*text.facts, "lines that end in CR"), text.doubts)


def _is_plain(blocks: Iterable[bytes]) -> bool:
    """Is it UTF-8 without a NUL?"""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in blocks:
            if b"\x00" in block:
                return False
            if not block.isascii() or decoder.getstate()[0]:
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(part: Part, head: bytes) -> Text:
    wide = _wide_encoding(head)
    if wide is not None:
        return _of_wide(part, wide)
    _check_no_binary(part.name, head)
    raw = part.whole()
    text = raw.decode("utf-8", errors="replace")
    num_bad = text.count(_LOST) - raw.count(_LOST_UTF8)
    num_good = len(text) - text.count(_LOST) - len(text.encode("ascii", errors="ignore"))
    if num_bad <= num_good:
        return _mended(part, raw, text, num_bad)
    western = _western(raw)
    if western is None:
        raise _unknown(part.name, raw)
    content = Part(part.name, western.replace("\x00", _LOST).encode())
    return Text(content, ("Windows-1252 text (it is not UTF-8)",), _nuls(part.name, raw))


def _mended(part: Part, raw: bytes, text: str, num_bad: int) -> Text:
    """UTF-8 with a few bytes that are none."""
    doubts = _nuls(part.name, raw)
    if num_bad:
        line = _line_of_bad_byte(raw)[0]
        places = "place" if num_bad == 1 else "places"
        doubts = (
            f"{part.name} is UTF-8 text but for {num_bad:,} {places}, the first in line {line:,}: "
            f"each is read as {_LOST!r}",
            *doubts,
        )
    return Text(Part(part.name, text.replace("\x00", _LOST).encode()), (), doubts)


def _nuls(name: str, raw: bytes) -> tuple[str, ...]:
    count = raw.count(b"\x00")
    if count == 0:
        return ()
    line = raw.count(b"\n", 0, raw.index(b"\x00")) + 1
    bytes_ = "NUL byte" if count == 1 else "NUL bytes"
    return (f"{name} holds {count:,} {bytes_}, the first in line {line:,}: read as {_LOST!r}",)


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark, or by the NULs between Western letters."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    evens, odds = head[0::2].count(0), head[1::2].count(0)
    if min(evens, odds) == 0 and max(evens, odds) > len(head) / 4:
        return "utf-16-le" if odds else "utf-16-be"
    return None


def _of_wide(part: Part, encoding: str) -> Text:
    name = encoding[:6].upper()
    try:
        text = part.whole().decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{part.name} is {name} text that is cut short or damaged at byte {error.start:,}: "
            "write it again"
        ) from None
    content = text.encode()
    _check_no_binary(part.name, content[:HEAD])
    return Text(Part(part.name, content), (f"{name} text",))


def _check_no_binary(name: str, head: bytes) -> None:
    num_controls = len(head) - len(head.translate(None, _CONTROLS))
    if num_controls > _MOST_CONTROLS * len(head):
        what = "a NUL byte" if b"\x00" in head else "control characters"
        raise DataError(
            f"{name} holds binary data ({what}), so it is neither CSV nor Parquet: "
            "save the table as one of these"
        )


def _western(raw: bytes) -> str | None:
    """As Windows-1252, which is Latin-1 and more; None where it is hardly that."""
    runs = re.findall(rb"[\x80-\xff]+", raw[: 16 * HEAD])
    count = sum(map(len, runs))
    if count >= _FEWEST_BYTES and count > _LONGEST_RUN * len(runs):
        return None
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return None


def _unknown(name: str, raw: bytes) -> DataError:
    line, byte = _line_of_bad_byte(raw)
    return DataError(
        f"{name}, line {line:,}: byte 0x{byte:02x} is neither UTF-8 nor Western text; save the "
        "file as UTF-8 (for example: iconv -f ENCODING -t utf-8 OLD > NEW)"
    )


def _line_of_bad_byte(raw: bytes) -> tuple[int, int]:
    """The line of the first byte that is not UTF-8, and that byte."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return raw.count(b"\n", 0, error.start) + 1, raw[error.start]
    return 0, 0
