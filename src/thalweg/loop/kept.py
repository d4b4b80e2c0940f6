"""What a descent leaves on disk: its record and its checkpoints; and finding them again.

folder/  record.sqlite  checkpoints/step-00000500/ ...
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.loop.every import Every
from thalweg.loop.found import Found
from thalweg.record import Memory, Record
from thalweg.state import checkpoint
from thalweg.state.checkpoint import Saved
from thalweg.state.folder import CHECKPOINTS, Folder
from thalweg.state.saver import Saver
from thalweg.state.state import State
from thalweg.state.tree import clone
from thalweg.types import Recorder

MINUTE = Every(seconds=60.0)


@dataclass(slots=True)
class Kept:
    """Where a descent writes.

    record: of all that happens; saver: of checkpoints, or None where none are kept
    saved: the state to go on from, or None at the start; is_new: does the record begin here?
    every: how often a state is saved
    facts: what a checkpoint says of its run; a resume compares them
    """

    record: Recorder
    saver: Saver | None = None
    saved: Saved | None = None
    every: Every = MINUTE
    is_new: bool = True
    facts: dict[str, Any] = field(default_factory=dict)
    _saved_at: int = 0
    _saved_when: float = field(default_factory=time.perf_counter)

    def is_due(self, number: int) -> bool:
        """Is it time to save again, after step `number`? A clock decides nothing but this."""
        if self.saver is None or number == self._saved_at:
            return False
        if self.every.steps is not None:
            return number % self.every.steps == 0
        return time.perf_counter() - self._saved_when >= (self.every.seconds or 0.0)

    def save(self, state: State, *, is_best: bool) -> None:
        """Copy a state and save it in the background, the record before it."""
        if self.saver is None or state.number == self._saved_at:
            return
        tree = clone(state.to_tree())
        self.record.flush()
        self.saver.save(state.number, tree, self.facts, is_best=is_best)
        self._saved_at, self._saved_when = state.number, time.perf_counter()

    def wait(self) -> None:
        """Until what was saved is safe."""
        if self.saver is not None:
            self.saver.wait()

    def went_on_from(self, number: int) -> None:
        """The state of this step stands on disk already."""
        self._saved_at = number

    def close(self) -> None:
        """Finish the save under way, then the record.

        Of a folder whose disk is full the run is not ended: what could not be written is warned of.
        """
        try:
            if self.saver is not None:
                self.saver.close()
        finally:
            self._close_record()

    def _close_record(self) -> None:
        try:
            self.record.close()
        except UsageError as error:
            if self.saver is None:
                raise
            warnings.warn(str(error), stacklevel=4)


def in_memory(record: Recorder | None = None) -> Kept:
    """No checkpoints; the record is that which is given, or the memory."""
    return Kept(Memory() if record is None else record)


def in_folder(
    folder: str | os.PathLike[str],
    *,
    found: Found | None,
    every: Every = MINUTE,
    keep: int = 2,
    tell: Callable[[str], None],
) -> Kept:
    """A folder with a record and checkpoints: one that is there, where that was found, or new.

    found: the state to go on from, of this folder or of a parent's
    tell: hears, in a line each, of checkpoints that were left out and of what could not be written
    Raises UsageError where the place cannot be used, RunError where a run still writes it, or its
    record is damaged.
    """
    folder = Path(folder)
    root = folder / CHECKPOINTS
    saved = None if found is None else found.saved
    if found is None or found.folder != folder:
        record = Record(folder, on_error=tell)
        return Kept(record, Saver(root, keep=keep, tell=tell), saved, every)
    number = 0 if saved is None else saved.number
    with Folder(folder).gone_on_with():
        record = Record.reopen(folder, from_step=number, on_error=tell)
    checkpoint.clean(root)
    for line in found.refused:
        tell(f"{line}; the one before it, of step {number:,}, is used")
    best = None if saved is None else best_of(saved.tree)
    return Kept(record, Saver(root, keep=keep, best=best, tell=tell), saved, every, is_new=False)


def best_of(tree: Mapping[str, Any]) -> int | None:
    """The step of the best weights that a state holds."""
    looks = tree.get("looks") or {}
    return looks["best"]["number"] if looks.get("best") else None
