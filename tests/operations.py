"""The module `os` with eyes: what is called can be counted, made to fail, and copied elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forgetful import Forgetful

CALLS = (
    *("mkdir", "rmdir", "unlink", "rename", "listdir", "lstat"),
    *("open", "posix_fallocate", "write", "fsync", "close", "fstat"),
)
"""What a save asks of the system."""


class WatchedOs:
    """Stands in for `os` in a module: everything is done as ever, the CALLS through `around`.

    `around(name, call, arguments)` makes the call, or does not.
    """

    def __init__(self, around: Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]):
        for name in CALLS:
            setattr(self, name, lambda *a, _n=name: around(_n, getattr(os, _n), a))

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class Faults:
    """Lets the n-th call from `arm` on fail, or that and all after it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._nth, self._errno, self._is_lasting = 0, 0, False

    def arm(self, nth: int, errno: int, is_lasting: bool = False) -> None:
        self.calls = []
        self._nth, self._errno, self._is_lasting = nth, errno, is_lasting

    def disarm(self) -> bool:
        """Was a call hit?"""
        is_hit = 0 < self._nth <= len(self.calls)
        self._nth = 0
        return is_hit

    def __call__(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.calls.append(name)
        number = len(self.calls)
        is_due = number >= self._nth if self._is_lasting else number == self._nth
        if not self._nth or not is_due:
            return None if name == "fsync" else call(*arguments)  # no power is cut here: be quick
        if name == "close":
            call(*arguments)  # the system closes it, and fails all the same
        raise OSError(self._errno, os.strerror(self._errno))


class Mirror:
    """Does everything for real, and what lies below a folder again in a Forgetful.

    `after` is called with that after every call: there the power may be cut. Files are taken to be
    written from front to back.
    """

    def __init__(self, folder: Path, after: Callable[[Forgetful], None]):
        self.disk = Forgetful()
        self._folder = os.path.realpath(folder)
        self._after = after
        self._at: dict[int, str] = {}
        self._written: dict[int, int] = {}

    def __call__(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        result = call(*arguments)
        mirror = getattr(self, f"on_{name}", None)
        if mirror is not None:
            mirror(result, *arguments)
            self._after(self.disk)
        return result

    def _inner(self, path: Any) -> str:
        """The path as the mirror has it; empty for what lies outside."""
        inner = os.path.relpath(os.path.realpath(path), self._folder)
        return "" if inner.startswith("..") else os.path.normpath(f"/{inner}")

    def on_mkdir(self, _: None, path: Path) -> None:
        self.disk.make_folder(self._inner(path))

    def on_rmdir(self, _: None, path: Path) -> None:
        self.disk.remove_folder(self._inner(path))

    def on_unlink(self, _: None, path: Path) -> None:
        self.disk.remove_file(self._inner(path))

    def on_rename(self, _: None, old: Path, new: Path) -> None:
        self.disk.rename(self._inner(old), self._inner(new))

    def on_open(self, descriptor: int, path: Path, flags: int, mode: int = 0) -> None:
        self._at[descriptor] = self._inner(path)
        self._written[descriptor] = 0
        if flags & os.O_CREAT:
            self.disk.make_file(self._inner(path))

    def on_posix_fallocate(self, _: None, descriptor: int, start: int, size: int) -> None:
        self.disk.truncate(self.disk.find(self._at[descriptor]), start + size)

    def on_write(self, count: int, descriptor: int, data: memoryview) -> None:
        number = self.disk.find(self._at[descriptor])
        self.disk.write(number, bytes(data[:count]), self._written[descriptor])
        self._written[descriptor] += count

    def on_fsync(self, _: None, descriptor: int) -> None:
        path = self._at[descriptor]
        if not path:
            return
        if self.disk.find(path) in self.disk.folders:
            self.disk.sync_folder(path)
        else:
            self.disk.sync_file(self.disk.find(path))
