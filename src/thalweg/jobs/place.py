"""Where a run is kept: a folder with its record, or memory alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from thalweg.errors import UsageError
from thalweg.record import Memory, Record
from thalweg.state.folder import Folder, create


@dataclass(frozen=True, slots=True)
class Place:
    """folder: the run's own, or None; record: what happens is written there."""

    folder: Folder | None
    record: Record | Memory


@contextmanager
def opened(out: str | None, name: str | None, stem: str) -> Iterator[Place]:
    """A new place for a run; where it fails before its first step, nothing of it is left behind."""
    if out is None:
        yield Place(None, Memory())
        return
    folder = create(out, name, stem)
    try:
        record = Record(folder.path)
    except BaseException:
        folder.remove()
        raise
    try:
        yield Place(folder, record)
    except BaseException:
        with suppress(UsageError):
            record.close()
        if record.is_empty:
            folder.remove()
        raise
