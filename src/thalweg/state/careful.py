"""Reading what may be damaged or made by an enemy: files, JSON, and names that go into messages.

Whatever is wrong raises ValueError (an OSError where the system said it) with the reason; who
called adds which checkpoint it is about.
"""

from __future__ import annotations

import io
import json
import os
import reprlib
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

MOST_SHOWN = 120
"""Letters of a name or value in a message."""

MOST_JSON = 1 << 25
"""Bytes of a JSON file or header, for some 200,000 tensors; they are parsed in seconds at most."""

_FLAGS = os.O_RDONLY + sum(
    getattr(os, name, 0)  # NONBLOCK: to open a pipe would wait for ever
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)

_BLOCK = 1 << 22

_KINDS = {dict: "an object", list: "a list", str: "text", int: "an integer"}


def shown(value: Any) -> str:
    """A value on one line, whatever it holds, and no longer than can be read.

    >>> shown("a\\nb"), shown([1, 2]), shown(10**5000)
    ("'a\\\\nb'", '[1, 2]', 'an integer beyond 64 bits')
    """
    if isinstance(value, int) and value.bit_length() > 64:
        return "an integer beyond 64 bits"
    text = value if isinstance(value, str) else reprlib.repr(value)
    short = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return ascii(short) if isinstance(value, str) else ascii(short)[1:-1]


def parse(raw: bytes | bytearray | memoryview, what: str) -> dict[str, Any]:
    """A JSON object; no key twice, no NaN, nothing that JSON has no letter for."""
    if len(raw) > MOST_JSON:
        raise ValueError(f"{what} has {len(raw)} bytes of JSON: at most {MOST_JSON} are read")
    try:
        value = json.loads(
            str(raw, "utf-8"), object_pairs_hook=_without_twins, parse_constant=_refuse
        )
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{what} is not JSON as checkpoints hold it: {error}") from None
    return of_type(value, dict, what)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twin)} stands there twice")
    return made


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def of_type(value: Any, kind: type, what: str) -> Any:
    """The value, of exactly this type: True is no int here."""
    if type(value) is not kind:
        raise ValueError(f"{what} holds {shown(value)} in place of {_KINDS[kind]}")
    return value


def with_keys(value: Any, keys: str, what: str) -> dict[str, Any]:
    """The dict, with exactly these keys (names with blanks between)."""
    found, wanted = of_type(value, dict, what).keys(), set(keys.split())
    for name in sorted(found ^ wanted):
        is_extra = name in found
        raise ValueError(f"{what} {'has the unknown key' if is_extra else 'lacks'} {shown(name)}")
    return value


def counts(value: Any, what: str) -> list[int]:
    """The list of integers from 0 to 2**63 - 1."""
    for item in of_type(value, list, what):
        if type(item) is not int or not 0 <= item < 1 << 63:
            raise ValueError(f"{what} holds {shown(item)} in place of a count")
    return value


class Source:
    """An open file that is read once, front to back, and hashed on the way."""

    def __init__(self, file: io.FileIO, name: str, size: int):
        self.size = size
        self._file = file
        self._name = name
        self._hasher = xxhash.xxh3_64()

    def take(self, count: int) -> bytearray:
        """The next bytes, as many as are asked for; the caller has compared them with `size`."""
        held = bytearray(count)
        self.fill(memoryview(held))
        return held

    def fill(self, place: memoryview) -> None:
        """Read the next bytes to a place, and fill it."""
        while place:
            count = self._file.readinto(place[:_BLOCK])
            if not count:
                raise ValueError(f"{self._name} became shorter while it was read")
            self._hasher.update(place[:count])
            place = place[count:]

    def xxh3(self) -> str:
        """The checksum of what was read so far."""
        return self._hasher.hexdigest()


@contextmanager
def about(name: str) -> Iterator[None]:
    """Inside, a ValueError says which file it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@contextmanager
def opened(path: Path, most: int, size: int | None = None) -> Iterator[Source]:
    """A file to be read, of at most `most` bytes, and of `size` where that is given.

    No link is followed, and nothing but a file is opened for long.
    """
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link, and links are not followed")
    descriptor = os.open(path, _FLAGS)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path.name} is no file")
        if size is not None and found.st_size != size:
            raise ValueError(f"{path.name} has {found.st_size} bytes where {size} were written")
        if found.st_size > most:
            raise ValueError(f"{path.name} has {found.st_size} bytes: at most {most} are read")
        with io.FileIO(descriptor, closefd=False) as file:
            yield Source(file, path.name, found.st_size)
    finally:
        os.close(descriptor)


def read_whole(path: Path, most: int, size: int | None = None) -> tuple[bytearray, str]:
    """A file's bytes, and their xxh3; limits as of `opened`."""
    with opened(path, most, size) as source:
        return source.take(source.size), source.xxh3()


def digest(path: Path, size: int) -> str:
    """The xxh3 of a file of this size, whose bytes are not kept."""
    block = memoryview(bytearray(_BLOCK))
    with opened(path, sys.maxsize, size) as source:
        for start in range(0, source.size, _BLOCK):
            source.fill(block[: source.size - start])
        return source.xxh3()


def memory() -> int:
    """Bytes of this machine's memory: a larger file cannot be held, and is not tried."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize
