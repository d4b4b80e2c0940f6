"""A file system in user space that forgets what was not synced, and can be cut off at any call.

    python lossyfs.py FOLDER        mounts it on FOLDER, until `fusermount -u FOLDER`

Made files of these names below it are orders; the call that makes one fails with EIO, by design:

    .CUT_A          the power is cut now; the letter is the model of `forgetful.py`
    .CUT_A_7        the seventh call from here on that changes or syncs anything is not carried out:
                    the power is cut in its place, and the call fails with EIO
    .CUT_NEVER      the order before is taken back

`.ARMED` exists while a cut is ordered. After a cut one goes on below the same folder, as after a
reboot. os.sync() is not seen, there are no links, everything lives in memory, and one thread
serves all. It needs fusepy, /dev/fuse and fusermount: `unavailable()` says what is missing.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from forgetful import Forgetful

fuse: Any = None
_WHY = ""
try:
    fuse = import_module("fuse")
except (ImportError, OSError) as error:  # OSError: without libfuse
    _WHY = f"{error} (pip install fusepy; apt-get install fuse libfuse2)"

_Operations: Any = fuse.Operations if fuse else object

UNMOUNT = shutil.which("fusermount") or shutil.which("fusermount3")


def unavailable() -> str:
    """Why there is no FUSE here; empty where there is."""
    if fuse is None:
        return f"FUSE is not available: {_WHY}"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "FUSE is not available: /dev/fuse cannot be opened"
    return "" if UNMOUNT else "FUSE is not available: there is no fusermount"


def counted(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call that changes or syncs something: the power may be cut in its place."""

    @wraps(call)
    def counting(self: Lossy, *arguments: Any) -> Any:
        self.count()
        return call(self, *arguments)

    return counting


class Lossy(_Operations):
    """The calls of FUSE over a Forgetful; a file's handle is its number there."""

    def __init__(self) -> None:
        self.disk = Forgetful()
        self._orders: tuple[Any, int] | None = None

    def count(self) -> None:
        if self._orders is None:
            return
        model, left = self._orders
        self._orders = (model, left - 1)
        if left <= 1:
            self._cut(model)

    def _cut(self, model: Any) -> None:
        self._orders = None
        self.disk.cut(model)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _order(self, words: list[str]) -> None:
        if len(words) == 1 and words[0] != "NEVER":
            self._cut(words[0])
        self._orders = (words[0], int(words[1])) if len(words) == 2 else None
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def getattr(self, path: str, handle: Any = None) -> dict[str, int]:
        mine = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        if path == "/.ARMED" and self._orders:
            return mine | {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": 0}
        number = self.disk.find(path)
        if number in self.disk.folders:
            return mine | {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        size = len(self.disk.files[number])
        return mine | {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": size}

    def readdir(self, path: str, handle: Any) -> list[str]:
        return [".", "..", *self.disk.folders[self.disk.find(path)]]

    def create(self, path: str, mode: int, info: Any = None) -> int:
        name = os.path.basename(path)
        if name.startswith(".CUT_"):
            self._order(name.split("_")[1:])
        self.count()
        return self.disk.make_file(path)

    def open(self, path: str, flags: int) -> int:
        number = self.disk.find(path)
        if flags & os.O_TRUNC:
            self.count()
            self.disk.truncate(number, 0)
        return number

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        return bytes(self.disk.bytes_of(handle)[offset : offset + size])

    @counted
    def write(self, path: str, data: bytes, offset: int, handle: int) -> int:
        self.disk.write(handle, data, offset)
        return len(data)

    @counted
    def truncate(self, path: str, size: int, handle: int | None = None) -> None:
        self.disk.truncate(self.disk.find(path), size)

    @counted
    def mkdir(self, path: str, mode: int) -> None:
        self.disk.make_folder(path)

    @counted
    def rmdir(self, path: str) -> None:
        self.disk.remove_folder(path)

    @counted
    def unlink(self, path: str) -> None:
        self.disk.remove_file(path)

    @counted
    def rename(self, old: str, new: str) -> None:
        self.disk.rename(old, new)

    @counted
    def fsync(self, path: str, is_data_only: int, handle: int) -> None:
        self.disk.sync_file(handle)

    @counted
    def fsyncdir(self, path: str, is_data_only: int, handle: int) -> None:
        self.disk.sync_folder(path)

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_blocks": 1 << 20, "f_bavail": 1 << 20, "f_bfree": 1 << 20}

    def utimens(self, path: str, times: Any = None) -> int:
        return 0

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def chown(self, path: str, user: int, group: int) -> int:
        return 0


def order(mount: Path, text: str) -> None:
    """Give an order, such as "A", "B_7" or "NEVER"."""
    with suppress(OSError):
        (mount / f".CUT_{text}").touch()


def is_armed(mount: Path) -> bool:
    return (mount / ".ARMED").exists()


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Inside, the file system is mounted on a folder. Raises OSError where that fails."""
    server = subprocess.Popen([sys.executable, __file__, str(folder)])
    try:
        while not os.path.ismount(folder):
            if server.poll() is not None:
                raise OSError(f"mounting failed with exit code {server.returncode}")
            time.sleep(0.01)
        yield folder
    finally:
        if server.poll() is None and UNMOUNT:
            subprocess.run([UNMOUNT, "-u", str(folder)], check=False)
        server.wait(30)


if __name__ == "__main__":
    if unavailable():
        sys.exit(unavailable())
    options = {"foreground": True, "nothreads": True, "attr_timeout": 0, "entry_timeout": 0}
    fuse.FUSE(Lossy(), sys.argv[1], **options)
