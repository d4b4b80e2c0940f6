"""Which file holds a record: made anew, opened for another attempt, read."""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import RunError, UsageError
from thalweg.record import log, sqlite
from thalweg.record.history import History
from thalweg.record.lock import Lock
from thalweg.record.rows import Store, history_of

SQLITE, LOG, LOCK = "record.sqlite", "record.log", "record.lock"

_SHARED = {"9p", "afs", "beegfs", "cifs", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "nfs"}
_SHARED |= {"nfs4", "smb3", "smbfs", "virtiofs"}
"""File systems that other machines may mount: what one maps as memory, the others do not see."""

_UNREADABLE = (sqlite3.DatabaseError, ValueError, AttributeError, LookupError, TypeError)
"""What a damaged record provokes: in SQLite, or in the values read from it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A record that this process alone may write."""

    path: Path
    lock: Lock
    store: Store


def find(folder: Path) -> Path | None:
    """The file of the record in a folder, if there is one."""
    return next((folder / name for name in (SQLITE, LOG) if (folder / name).is_file()), None)


def create(folder: Path) -> Opened:
    """A new record; the folder is made where it is missing.

    SQLite where its WAL works, else a log of frames. Raises UsageError where the place cannot be
    written or holds a record already; nothing half-made is left then.
    """
    path = folder / SQLITE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / LOCK)
    except BlockingIOError:
        raise UsageError(f"{path} exists already: choose another folder") from None
    except FileExistsError as error:
        raise UsageError(f"{error.filename} exists already: choose another folder") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    try:
        known = find(folder)
        if known:
            raise UsageError(f"{known} exists already: choose another folder")
        return Opened(*_create(folder, lock))
    except BaseException:
        lock.release()
        raise


def _create(folder: Path, lock: Lock) -> tuple[Path, Lock, Store]:
    made = folder / SQLITE
    try:
        store = None if is_shared(folder) else sqlite.create(made)
        if store is None:
            _remove(made)
            made = folder / LOG
            store = log.create(made)
        return made, lock, store
    except (OSError, sqlite3.Error) as error:
        _remove(made)
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{made} cannot be written: {why}") from None


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def is_shared(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Does the folder lie on a network's file system? False where that cannot be known.

    SQLite's trial passes there as a rule, and readers on other machines break the WAL later.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    kinds = {_unescaped(point): kind for _, point, kind, *_ in map(str.split, lines)}
    where = folder.resolve()
    kind = next((kinds[str(p)] for p in (where, *where.parents) if str(p) in kinds), "")
    return kind in _SHARED


def _unescaped(text: str) -> str:
    """Of a mount's name: blanks stand there as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def reopen(folder: Path, from_step: int) -> Opened:
    """The record of a run that has stopped, for a new attempt.

    Raises RunError where there is none, somebody still writes it, or it cannot be continued.
    """
    path = find(folder)
    if path is None:
        raise RunError(f"{folder / SQLITE} does not exist: this is not the folder of a run")
    try:
        lock = Lock(folder / LOCK)
    except BlockingIOError:
        raise RunError(
            f"{path} is still being written by a run: wait until it has ended, or stop it"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be continued: {error.strerror}") from None
    try:
        module = sqlite if path.name == SQLITE else log
        return Opened(path, lock, module.reopen(path, from_step))
    except BaseException as error:
        lock.release()
        raise _refusal(path, error, "continued") from None


def read(path: str | os.PathLike[str], *, phase: str = "main") -> History:
    """The history in a record, its file or its folder, while it is written or afterwards.

    phase: whose rows, where a run has several
    Raises RunError where there is none, or one that cannot be read.
    """
    given = Path(path)
    file = find(given) or given / SQLITE if given.is_dir() else given
    if not file.is_file():
        raise RunError(f"{file} does not exist: this is not the folder of a run")
    try:
        if file.suffix != ".log":
            return history_of(sqlite.read(file), phase)
        tables, damage = log.read(file)
        history = history_of(tables, phase)
        history.damage = damage
        return history
    except Exception as error:
        raise _refusal(file, error, "read") from None


def _refusal(path: Path, error: BaseException, what: str) -> BaseException:
    """The error in a user's words; what is no fault of the record stays as it is."""
    if isinstance(error, RunError):
        return error
    if isinstance(error, OSError):
        return RunError(f"{path} cannot be {what}: {error.strerror}")
    if isinstance(error, sqlite3.OperationalError):
        return RunError(f"{path} cannot be {what}: {error}")
    if isinstance(error, _UNREADABLE):
        return RunError(f"{path} is not a record that thalweg wrote: {error}")
    return error
