"""Pictures decoded from their files, several at once; what could not be read is noted by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from stat import S_ISREG

import numpy as np

from thalweg.errors import DataError
from thalweg.tasks.images.form import Shape
from thalweg.tasks.images.read import picture_of, quiet

MOST_THREADS = 8

MOST_BROKEN = 0.05
"""Share of the files that may be broken: they are left out; above it the data is refused."""

MOST_NAMED = 3


class Files:
    """Decodes the pictures at `paths` whenever they are asked for.

    threads: that decode; 0: as many as there are processors
    reasons: why a file could not be read, by its place; keys: a number of each file's content, by
    its place, of those that were read
    """

    def __init__(self, paths: Sequence[str], shape: Shape, *, threads: int = 0):
        self.paths = paths
        self.shape = shape
        self.threads = threads or min(MOST_THREADS, os.cpu_count() or 1)
        self.reasons: dict[int, str] = {}
        self.keys: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, places: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels); black where a file is broken."""
        found = np.zeros((len(places), *self.shape.stored), dtype=np.uint8)

        def fill(i: int) -> None:
            self._fill(found[i], int(places[i]))

        with quiet():
            if self.threads == 1 or len(places) == 1:
                for i in range(len(places)):
                    fill(i)
            else:
                with ThreadPoolExecutor(self.threads) as pool:
                    list(pool.map(fill, range(len(places))))
        return found

    def _fill(self, picture: np.ndarray, place: int) -> None:
        try:
            content = content_of(self.paths[place])
            picture[:] = picture_of(content, self.shape)
        except DataError as error:
            self.reasons[place] = str(error)
            return
        self.keys[place] = int.from_bytes(blake2b(content, digest_size=8).digest())


def content_of(path: str) -> bytes:
    """The bytes of a file. Raises DataError where it cannot be read."""
    try:
        if not S_ISREG(os.stat(path).st_mode):  # to read from a pipe may last for ever
            raise DataError("it is a folder, a pipe or a device")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError("it does not exist") from None
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror or error}") from None


def checked_broken(reasons: Sequence[tuple[str, str]], count: int, source: str) -> tuple[str, ...]:
    """A line about broken files, (path, why), which are left out; none where there are none.

    count: of all files
    Raises DataError where there are too many of them.
    """
    if not reasons:
        return ()
    named = "; ".join(f"{path}: {why}" for path, why in reasons[:MOST_NAMED])
    more = len(reasons) - MOST_NAMED
    named += f"; and {more:,} more" if more > 0 else ""
    many = f"{len(reasons):,} of {count:,} pictures cannot be read"
    if len(reasons) > MOST_BROKEN * count:
        raise DataError(
            f"{source}: {many}, and at most {MOST_BROKEN:.0%} may be left out ({named}): mend or "
            "remove them"
        )
    return (f"{many} and are left out: {named}",)
