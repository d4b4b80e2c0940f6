"""A file system as a value, which knows what a power cut leaves of it.

Files and folders have numbers. What is seen now lives in `files` and `folders`; what is certain
lives in `synced_files` and `synced_folders`: a file's bytes as of its last fsync, a folder's names
as of the last fsync of that folder. A cut leaves, by its model,

    A   names as far as they were synced, bytes as far as they were synced
    B   all names, bytes as far as they were synced (delayed allocation: a file that was renamed
        but not synced is there and empty)
    C   all names, and of bytes that were not synced the first half (a torn write)
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

Model = Literal["A", "B", "C"]
MODELS: tuple[Model, ...] = ("A", "B", "C")

Names = dict[str, int]
Tree = dict[str, "Tree | bytes"]

ROOT = 1


class Forgetful:
    """Paths begin with "/" and stand below one root. Raises OSError as a file system does."""

    def __init__(self) -> None:
        self.folders: dict[int, Names] = {ROOT: {}}
        self.synced_folders: dict[int, Names] = {ROOT: {}}
        self.files: dict[int, bytearray] = {}
        self.synced_files: dict[int, bytes] = {}
        self._last = ROOT

    def find(self, path: str) -> int:
        """The number of what stands at a path."""
        number = ROOT
        for name in path.split("/"):
            if name:
                number = self.folders.get(number, {}).get(name, 0)
            if not number:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return number

    def around(self, path: str) -> tuple[Names, str]:
        """The names of the folder that a path stands in, and its own name."""
        above, name = os.path.split(path)
        return self.folders[self.find(above)], name

    def make_folder(self, path: str) -> None:
        names, name = self.around(path)
        names[name] = self._new()
        self.folders[names[name]] = {}

    def make_file(self, path: str) -> int:
        names, name = self.around(path)
        names[name] = self._new()
        self.files[names[name]] = bytearray()
        return names[name]

    def write(self, number: int, data: bytes, offset: int) -> None:
        held = self.bytes_of(number)
        held.extend(bytes(max(0, offset - len(held))))
        held[offset : offset + len(data)] = data

    def truncate(self, number: int, size: int) -> None:
        held = self.bytes_of(number)
        del held[size:]
        held.extend(bytes(size - len(held)))

    def bytes_of(self, number: int) -> bytearray:
        """What a file holds. One that was opened before a cut is gone: EIO."""
        if number not in self.files:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.files[number]

    def rename(self, old: str, new: str) -> None:
        (names, name), (new_names, new_name) = self.around(old), self.around(new)
        if self.folders.get(new_names.get(new_name, 0)):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), new)
        new_names[new_name] = names.pop(name)

    def remove_file(self, path: str) -> None:
        names, name = self.around(path)
        del names[name]

    def remove_folder(self, path: str) -> None:
        if self.folders[self.find(path)]:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        self.remove_file(path)

    def sync_file(self, number: int) -> None:
        self.synced_files[number] = bytes(self.bytes_of(number))

    def sync_folder(self, path: str) -> None:
        number = self.find(path)
        self.synced_folders[number] = dict(self.folders[number])

    def tree(self) -> Tree:
        """All that is seen now."""
        return self._tree(ROOT, self.folders, {k: bytes(v) for k, v in self.files.items()})

    def left(self, model: Model) -> Tree:
        """All that would be left by a power cut now."""
        files = dict(self.synced_files)
        if model == "C":
            for number, held in self.files.items():
                if files.get(number) != held:
                    files[number] = bytes(held[: len(held) // 2])
        return self._tree(ROOT, self.synced_folders if model == "A" else self.folders, files)

    def cut(self, model: Model) -> None:
        """The power cut: go on with what is left; what was open is lost."""
        left = self.left(model)
        self.folders, self.files = {ROOT: {}}, {}
        self._restore(ROOT, left)
        self.synced_folders = {number: dict(names) for number, names in self.folders.items()}
        self.synced_files = {number: bytes(data) for number, data in self.files.items()}

    def _new(self) -> int:
        self._last += 1
        return self._last

    def _tree(self, number: int, folders: dict[int, Names], files: dict[int, bytes]) -> Tree:
        """A folder that was made and synced, but whose own names never were, is empty."""
        return {
            name: self._tree(inner, folders, files)
            if inner in self.folders or inner in self.synced_folders
            else files.get(inner, b"")
            for name, inner in folders.get(number, {}).items()
        }

    def _restore(self, number: int, tree: Tree) -> None:
        for name, value in tree.items():
            inner = self.folders[number][name] = self._new()
            if isinstance(value, bytes):
                self.files[inner] = bytearray(value)
            else:
                self.folders[inner] = {}
                self._restore(inner, value)


def dump(tree: Tree, folder: Path) -> None:
    """Write a tree to a folder that is there."""
    for name, value in tree.items():
        if isinstance(value, bytes):
            (folder / name).write_bytes(value)
        else:
            (folder / name).mkdir()
            dump(value, folder / name)


def seen(folder: Path) -> Tree:
    """A folder as a tree."""
    return {p.name: seen(p) if p.is_dir() else p.read_bytes() for p in sorted(folder.iterdir())}
