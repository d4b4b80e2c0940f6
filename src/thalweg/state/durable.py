"""The file operations of a save, one by one: between them a power cut or a full disk can come.

Whatever changes something on the disk, or makes it last, is called here, through this module's
`os`, so that tests can let each call fail. On macOS fsync reaches the drive but may stop at its
cache; Windows has no fsync of a folder, and a save there is as durable as its file system makes a
rename.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import xxhash

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

_BLOCK = 1 << 22
"""Bytes hashed and then written, while they are still in the cache."""

_NOT_OFFERED = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}
"""What a file system answers that cannot reserve space, or cannot sync folders."""


def make_folder(path: Path) -> None:
    """Make a new folder."""
    os.mkdir(path)


def make_folders(path: Path) -> None:
    """Make a folder with those above it where missing, and make all their names last.

    The names are synced up to the mount point even where the folders existed: whoever made them a
    moment ago may not have, and what lies in a folder is lost with its name.
    """
    path = Path(os.path.realpath(path))
    if not os.path.isdir(path):
        make_folders(path.parent)
        os.mkdir(path)
    while not os.path.ismount(path):
        path = path.parent
        with suppress(PermissionError):  # of another user, who made it long ago
            sync_folder(path)


def write_file(path: Path, pieces: Iterable[bytes | memoryview], size: int) -> str:
    """Write a new file of `size` bytes through to the disk; returns its xxh3, 16 hex digits.

    The space is reserved before the first byte is written, so that a full disk is found early.
    """
    hasher = xxhash.xxh3_64()
    file = os.open(path, _NEW, 0o666)
    try:
        _reserve(file, size)
        for piece in pieces:
            for start in range(0, len(piece), _BLOCK):
                block = memoryview(piece)[start : start + _BLOCK]
                hasher.update(block)
                _write(file, block)
        os.fsync(file)
    finally:
        os.close(file)
    return hasher.hexdigest()


def _reserve(file: int, size: int) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise


def _write(file: int, block: memoryview) -> None:
    while block:
        block = block[os.write(file, block) :]


def rename(old: Path, new: Path) -> None:
    """Give a file or folder another name, at which nothing stands."""
    os.rename(old, new)


def sync_folder(path: Path) -> None:
    """Make the names in a folder last: the files made, renamed and deleted there."""
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; a link itself; nothing where none is.

    In the order of the names, so that a checkpoint loses MANIFEST.json first and is at no moment
    one that looks whole.
    """
    try:
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        os.unlink(path)
        return
    for name in sorted(os.listdir(path)):
        remove(path / name)
    os.rmdir(path)
