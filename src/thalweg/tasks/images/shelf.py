"""Decoded pictures, kept so that each file is decoded once: in the user's cache folder, else in
memory, else not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from thalweg.cache import folder
from thalweg.errors import DataError
from thalweg.tasks.images.files import Files
from thalweg.tasks.images.form import Shape

NAME = "pictures"
"""Of the folder in the user's cache."""

VERSION = 1
"""Of what is kept there: another way of decoding is another number."""

BLOCK = 256
"""Pictures that are decoded between two writes."""

MOST_IN_MEMORY = 2 << 30
MOST_ON_DISK = 32 << 30
ROOM = 0.5
"""Bytes of decoded pictures above which they are not kept in memory, or on disk; and the share of
the disk's free space that they may take.
"""

OLD = 30 * 24 * 3600.0
"""Seconds after which what nobody used is removed from the cache."""

EVERY = 10.0
"""Seconds between two lines of progress."""

Tell = Callable[[str], None]


class Pictures(Protocol):
    """Decoded pictures by place."""

    def take(self, places: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels)."""
        ...


class Kept:
    """Decoded pictures in memory, or in a file that is mapped into it, also by data workers."""

    def __init__(self, shape: tuple[int, ...], data: np.ndarray | Path):
        self.shape = shape
        self.data = data
        self._array: np.ndarray | None = None

    def take(self, places: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels)."""
        return self.array[places]

    @property
    def array(self) -> np.ndarray:
        """All of them. Raises DataError where the file is gone."""
        if self._array is None:
            self._array = self.data if isinstance(self.data, np.ndarray) else self._mapped()
        return self._array

    def _mapped(self) -> np.ndarray:
        try:
            return np.asarray(np.memmap(str(self.data), np.uint8, "r", shape=self.shape))
        except (OSError, ValueError) as error:
            raise DataError(
                f"the decoded pictures in {self.data} are gone ({error}): go on with thalweg "
                "resume, which decodes them anew"
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


@dataclass(frozen=True, slots=True)
class Shelf:
    """pictures: by the place of their file; reasons: of files that could not be read; keys: uint64,
    alike for files of the same content; where: they are kept, in words
    """

    pictures: Pictures
    reasons: dict[int, str]
    keys: np.ndarray
    where: str


def shelved(paths: Sequence[str], shape: Shape, *, threads: int, tell: Tell) -> Shelf:
    """All pictures, decoded now unless they are in the cache already. tell: hears of progress."""
    files = Files(paths, shape, threads=threads)
    size = len(paths) * int(np.prod(shape.stored))
    place = folder(NAME)
    if place is not None and size <= MOST_ON_DISK:
        path = place / f"{_name_of(paths, shape)}.bytes"
        found = _found(path, files)
        if found is not None:
            return found
        if size <= ROOM * shutil.disk_usage(place).free:
            with suppress(OSError):
                return _written(path, files, tell)
    if size <= MOST_IN_MEMORY:
        blocks = np.concatenate(list(_decoded(files, tell)))
        return _shelf(Kept(blocks.shape, blocks), files, "in memory")
    for _ in _decoded(files, tell):
        pass
    return _shelf(Files(paths, shape, threads=1), files, "nowhere: each is decoded anew")


def _shelf(pictures: Pictures, files: Files, where: str) -> Shelf:
    keys = np.zeros(len(files), dtype=np.uint64)
    keys[list(files.keys)] = np.array(list(files.keys.values()), dtype=np.uint64)
    return Shelf(pictures, files.reasons, keys, where)


def _decoded(files: Files, tell: Tell) -> Iterator[np.ndarray]:
    """All pictures, a block at a time."""
    said = time.monotonic()
    for start in range(0, len(files), BLOCK):
        yield files.take(np.arange(start, min(start + BLOCK, len(files))))
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            tell(f"decoded {start + BLOCK:,} of {len(files):,} pictures")


def _name_of(paths: Sequence[str], shape: Shape) -> str:
    """A name for these files, as they are now, at this size."""
    hasher = blake2b(f"{VERSION} {version('pillow')} {shape}".encode(), digest_size=16)
    for path in paths:
        try:
            found = os.stat(path)
            text = f"{os.path.abspath(path)}\0{found.st_size}\0{found.st_mtime_ns}\n"
        except OSError:
            text = f"{os.path.abspath(path)}\0\n"
        hasher.update(text.encode(errors="surrogateescape"))
    return hasher.hexdigest()


def _found(path: Path, files: Files) -> Shelf | None:
    """What an earlier run left; None where there is nothing, or not all of it."""
    shape = (len(files), *files.shape.stored)
    try:
        known = json.loads(path.with_suffix(".json").read_text())
        if path.stat().st_size != int(np.prod(shape)) or len(known["keys"]) != len(files):
            return None
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    files.keys = dict(enumerate(known["keys"]))
    files.reasons = {int(place): why for place, why in known["reasons"].items()}
    return _shelf(Kept(shape, path), files, str(path.parent))


def _written(path: Path, files: Files, tell: Tell) -> Shelf:
    """Decode into the cache: the notes last, whose presence says that all is there."""
    _clear(path.parent)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            for block in _decoded(files, tell):
                file.write(block.data)
        os.replace(part, path)
        keys = [files.keys.get(place, 0) for place in range(len(files))]
        part.write_text(json.dumps({"keys": keys, "reasons": files.reasons}))
        os.replace(part, path.with_suffix(".json"))
    finally:
        part.unlink(missing_ok=True)
    return _shelf(Kept((len(files), *files.shape.stored), path), files, str(path.parent))


def _clear(place: Path) -> None:
    """Remove what was not used for long; a run that has it open keeps it."""
    now = time.time()
    for path in place.iterdir():
        with suppress(OSError):
            if path.suffix in (".bytes", ".part") and now - path.stat().st_mtime > OLD:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink()
