"""One writer a record: a lock that the operating system takes back when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_held: dict[Path, tuple[int, object]] = {}
"""By lock file the process that holds it: a lock does not bind the process that has it."""


class Lock:
    """Hold `path`, a file made for this, until `release` or until this process ends.

    It is a POSIX record lock (`fcntl.lockf`), not `flock`: that one belongs to the open file, so a
    forked data worker that outlives its killed parent would keep it, closed on exec or not. This
    one belongs to the process: the kernel drops it when the process ends, however it ends, and no
    child inherits it. It knows nothing within one process; there a table says who holds what. It
    is lost if the process opens and closes the lock file elsewhere, so nobody else touches it.

    Where the file system has no locks (some network mounts) and on Windows, nothing is held: two
    writers are then refused within one process only.

    Raises BlockingIOError where somebody holds it, OSError where the file cannot be made.
    """

    def __init__(self, path: Path):
        self.path = path.resolve()
        self._process = os.getpid()
        claim = (self._process, object())
        known = _held.setdefault(self.path, claim)
        if known is not claim:
            if known[0] == self._process:
                raise BlockingIOError(errno.EAGAIN, "held by this process", str(path))
            _held[self.path] = claim  # a parent's, from before this process was forked
        try:
            self._file = _locked(self.path)
        except OSError:
            del _held[self.path]
            raise

    def release(self) -> None:
        """In a forked child nothing: it holds nothing. Twice is fine."""
        if self._process != os.getpid() or self._file is None:
            return
        with suppress(OSError):  # the folder may be gone
            if _is_at(self._file, self.path):
                self.path.unlink()
        os.close(self._file)
        self._file = None
        del _held[self.path]


def _locked(path: Path) -> int | None:
    """The open file, locked; who held it before may have deleted it while we opened it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(errno.EAGAIN, "held by another process") from None


def _is_at(file: int, path: Path) -> bool:
    """Is the open file still the one of this name?"""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False
