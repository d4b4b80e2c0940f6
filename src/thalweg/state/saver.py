"""Saving in the background: one save at a time, the last ones and the best kept, a failure told."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

import torch

from thalweg.errors import RunError, UsageError
from thalweg.state import durable
from thalweg.state.checkpoint import Content, every, verify, write_content
from thalweg.state.places import name_of, number_of, reason
from thalweg.state.tree import Packed, Tree


class Saver:
    """Writes checkpoints below `root` from one background thread, never two at a time.

    keep: this many of the newest stay, from 1, and the best one besides
    best: number of the best one so far, where a run is resumed
    tell: takes a line of text; called from the thread that trains, in `save`, `poll`, `wait` and
        `close`, of every save that failed and why

    A save that fails leaves what was safe as it was and stops nothing; the next one tries again.
    An older checkpoint is deleted only after a newer one was written and read back, and only where
    it was found whole itself. In a forked process all calls but `save` do nothing, and `save`
    raises UsageError.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder, Saver(folder, tell=print) as saver:
    ...     saver.save(100, {"weight": torch.ones(2)}, {"seed": 0})
    >>> saver.acknowledged
    100
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        keep: int = 2,
        best: int | None = None,
        tell: Callable[[str], object],
    ):
        if keep < 1:
            raise UsageError(f"keep={keep}: at least 1 checkpoint is kept")
        self._root = Path(root)
        self._keep = keep
        self._best = best
        self._tell = tell
        self._messages: deque[str] = deque()  # appended there, taken here: both are atomic
        self._thread: Thread | None = None
        self._owner = os.getpid()
        self._whole: list[int] | None = None  # until the first save, nothing is known
        self._doubtful: set[int] = set()
        self._acknowledged: int | None = None

    @property
    def acknowledged(self) -> int | None:
        """The newest step that was saved here and is certainly safe; None before the first."""
        return self._acknowledged

    def save(
        self, number: int, tree: Tree, facts: Mapping[str, Any], *, is_best: bool = False
    ) -> None:
        """Start saving a state that nobody will change any more; waits for the one under way.

        A tensor on an accelerator costs one wait for that device here, so that what was cloned
        there is complete.
        """
        if self._owner != os.getpid():
            raise UsageError("a forked process saves nothing: save from the one that trains")
        self.wait()
        try:
            content = Content.of(number, tree, facts)
        except UsageError as error:
            self._tell(self._not_saved(number, error))
            return
        _complete(content.packed)
        self._thread = Thread(target=self._run, args=(content, is_best), name="thalweg-saver")
        self._thread.start()

    def poll(self) -> None:
        """Tell what the background had to say so far."""
        while self._owner == os.getpid() and self._messages:
            self._tell(self._messages.popleft())

    def wait(self) -> None:
        """Until no save is under way; then `acknowledged` is the last one that was safe."""
        if self._owner != os.getpid():
            return
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.poll()

    def close(self) -> None:
        """Finish the save under way."""
        self.wait()

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, content: Content, is_best: bool) -> None:
        """One save, in the background; whatever goes wrong there is told and stops nothing."""
        try:
            if self._whole is None:
                self._whole = _whole_below(self._root)
            if content.number not in self._whole:
                self._doubtful.add(content.number)
            write_content(self._root, content)
        except Exception as error:
            self._messages.append(self._not_saved(content.number, error))
            return
        self._acknowledged = content.number
        if is_best:
            self._best = content.number
        self._doubtful.discard(content.number)
        self._whole = [*(n for n in self._whole if n != content.number), content.number]
        self._prune()

    def _prune(self) -> None:
        """Delete what is neither among the newest nor the best; what fails is tried next time.

        And what a save left that failed at the last moment, on a disk that could not undo it.
        """
        whole = self._whole or []
        kept = {*whole[-self._keep :], self._best}
        for number in [*self._doubtful, *(n for n in whole if n not in kept)]:
            try:
                durable.remove(self._root / name_of(number))
            except OSError as error:
                self._messages.append(f"step {number} could not be deleted: {reason(error)}")
                continue
            self._doubtful.discard(number)
            whole[:] = [n for n in whole if n != number]

    def _not_saved(self, number: int, error: Exception) -> str:
        newest = self._acknowledged
        if newest is None and self._whole:
            newest = self._whole[-1]
        safe = "none is safe yet" if newest is None else f"step {newest} is safe"
        return (
            f"step {number} was not saved: {reason(error)}; {safe}, and the next save tries again"
        )


def _whole_below(root: Path) -> list[int]:
    """Numbers of the checkpoints that are as they were written, the newest last."""
    whole = []
    for path in reversed(every(root)):
        with suppress(RunError):
            verify(path)
            whole.append(number_of(path))
    return whole


def _complete(packed: Packed) -> None:
    """Wait for the accelerators: the background's stream knows nothing of the clones' stream."""
    for device in {tensor.device for tensor in packed.tensors.values()}:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
