"""MANIFEST.json: which files a checkpoint consists of, and how each can be told from a damaged one.

It is one JSON object whose last line is the checksum of all bytes before that line. This holds for
every format to come: a checkpoint of another one is known for what it is, not taken for damaged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import xxhash

from thalweg.state.careful import counts, of_type, parse, shown, with_keys

MANIFEST = "MANIFEST.json"

FORMAT = 2
"""Of the checkpoints that are written, and the only one that is read."""

MOST_BYTES = 1 << 20

_LAST_LINE = re.compile(rb' "xxh3": "([0-9a-f]{16})"}\n')
_LAST_SIZE = len(b' "xxh3": "0123456789abcdef"}\n')
_XXH3 = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Format, versions of the packages that wrote it, and (size, xxh3) of each file by name."""

    format: int
    versions: Mapping[str, str]
    files: Mapping[str, tuple[int, str]]


def written(manifest: Manifest) -> bytes:
    """The bytes of the file."""
    values = {
        "format": manifest.format,
        "versions": dict(manifest.versions),
        "files": {k: {"size": size, "xxh3": xxh3} for k, (size, xxh3) in manifest.files.items()},
    }
    body = json.dumps(values, indent=1).removesuffix("\n}").encode() + b",\n"
    return body + b' "xxh3": "%s"}\n' % _checksum(body).encode()


def understood(raw: bytes | bytearray) -> Manifest:
    """The manifest in a file's bytes. Raises ValueError where they are not as they were written.

    Of another format, only its number and its versions are looked at.
    """
    body, last = bytes(raw[:-_LAST_SIZE]), bytes(raw[-_LAST_SIZE:])
    found = _LAST_LINE.fullmatch(last)
    if found is None or found[1].decode() != _checksum(body):
        raise ValueError(f"{MANIFEST} is damaged or was cut off")
    values = parse(raw, MANIFEST)
    number = of_type(values.get("format"), int, f"the format in {MANIFEST}")
    versions = of_type(values.get("versions"), dict, f"versions in {MANIFEST}")
    for version in versions.values():
        of_type(version, str, f"a version in {MANIFEST}")
    if number != FORMAT:
        return Manifest(number, versions, {})
    with_keys(values, "format versions files xxh3", MANIFEST)
    files = of_type(values["files"], dict, f"files in {MANIFEST}")
    return Manifest(number, versions, {name: _file(name, row) for name, row in files.items()})


def _file(name: str, row: object) -> tuple[int, str]:
    what = f"{shown(name)} in {MANIFEST}"
    values = with_keys(row, "size xxh3", what)
    (size,) = counts([values["size"]], what)
    xxh3 = of_type(values["xxh3"], str, what)
    if not _XXH3.fullmatch(xxh3):
        raise ValueError(f"{what} has the checksum {shown(xxh3)}")
    return size, xxh3


def _checksum(raw: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(raw)
