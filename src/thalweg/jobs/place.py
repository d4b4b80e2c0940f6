"""Where a run is kept: a folder of its own, a folder that is gone on with, or memory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from thalweg.record import Memory, Record
from thalweg.state.folder import Folder, create


@dataclass(slots=True)
class Place:
    """folder: the run's own, or None; is_new: does the run begin here?

    record: where what happens is written, once the descent has begun
    origin: tables of run.toml that say where its settings come from: `parent`, the run and the step
    that a child started from; `longer`, the step after which it was trained longer, and how
    """

    folder: Folder | None
    is_new: bool = True
    record: Record | Memory | None = None
    origin: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def written(self) -> Record | Memory:
        """The record of a descent that has begun."""
        assert self.record is not None
        return self.record


@contextmanager
def opened(
    out: str | None, name: str | None, stem: str, origin: Mapping[str, Any] | None = None
) -> Iterator[Place]:
    """A new place for a run; where it fails before its first step, nothing of it is left behind."""
    if out is None:
        yield Place(None)
        return
    place = Place(create(out, name, stem), origin=origin or {})
    try:
        yield place
    except BaseException:
        is_empty = not isinstance(place.record, Record) or place.record.is_empty
        if is_empty and place.folder is not None:
            place.folder.withdraw()
        raise


@contextmanager
def gone_on_with(folder: Folder, origin: Mapping[str, Any]) -> Iterator[Place]:
    """The place of a run that is resumed."""
    yield Place(folder, is_new=False, origin=origin)
