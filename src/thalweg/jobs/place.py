"""Where a run is kept: a folder of its own, a folder that is gone on with, or memory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from thalweg.record import Memory, Record
from thalweg.state import folder as files
from thalweg.state.folder import Folder, create, parent_of


@dataclass(slots=True)
class Place:
    """folder: the run's own, or None; is_new: does the run begin here?

    record: where what happens is written, once the descent has begun
    parent: the run and the step that a child started from, as run.toml names them
    """

    folder: Folder | None
    is_new: bool = True
    record: Record | Memory | None = None
    parent: Mapping[str, Any] | None = None

    @property
    def written(self) -> Record | Memory:
        """The record of a descent that has begun."""
        assert self.record is not None
        return self.record


@contextmanager
def opened(
    out: str | None, name: str | None, stem: str, parent: Mapping[str, Any] | None = None
) -> Iterator[Place]:
    """A new place for a run; where it fails before its first step, nothing of it is left behind."""
    if out is None:
        yield Place(None)
        return
    place = Place(create(out, name, stem), parent=parent)
    try:
        yield place
    except BaseException:
        is_empty = not isinstance(place.record, Record) or place.record.is_empty
        if is_empty and place.folder is not None:
            place.folder.remove()
        raise


@contextmanager
def gone_on_with(folder: Folder) -> Iterator[Place]:
    """The place of a run that is resumed."""
    yield Place(folder, is_new=False, parent=parent_of(folder.read_toml(files.SETTINGS)))
