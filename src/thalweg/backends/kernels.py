"""Generated kernels as files: written once, found again by every later process.

They live in the user's cache folder, under a name that holds a hash of all that they depend on, and
are written by atomic rename, so that any number of processes may do so at once. Where that folder
cannot be used (a read-only home, a folder that others can write) they live in a private temporary
one, for this process only. Compiled code lies beside them (`cpu_object.py`).
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from functools import cache as remember
from pathlib import Path
from types import ModuleType

from thalweg import cache

NAME = "kernels"


def place(name: str, text: str, depends_on: str) -> Path:
    """Where the file of this source lies, or will.

    depends_on: versions and the like; other ones make another file
    """
    key = hashlib.sha256(f"{depends_on}\n{text}".encode()).hexdigest()[:16]
    return folder() / f"{re.sub('[^0-9A-Za-z_]', '_', name)[:80]}_{key}.py"


@remember
def module(path: Path, text: str) -> ModuleType:
    """The module of this source, imported from its file, which is written where it lacks; in a
    folder of this process, where the disk takes no more."""
    if not _holds(path, text):
        try:
            write(path, text.encode())
        except OSError:
            path = _private() / path.name
            write(path, text.encode())
    spec = importlib.util.spec_from_file_location(f"thalweg_{NAME}.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    try:
        spec.loader.exec_module(made)
    except Exception:
        if not _forget_compiled(path):
            raise
        spec.loader.exec_module(made)  # a file was broken; if it was not that, it is told now
    return made


@remember
def folder() -> Path:
    """Where kernels live: in the user's cache, else in a folder of this process."""
    found = cache.folder(NAME)
    if found is not None:
        return found
    return _private()


@remember
def _private() -> Path:
    """A folder of this process alone, gone when it ends."""
    private = Path(tempfile.mkdtemp(prefix="thalweg-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _forget_compiled(path: Path) -> bool:
    """Remove what Python keeps of a kernel's compiled source. Was there any?"""
    found = list((path.parent / "__pycache__").glob(f"{path.stem}.*"))
    for file in found:
        file.unlink(missing_ok=True)
    return bool(found)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def write(path: Path, data: bytes) -> None:
    """Write a file by atomic rename: nobody ever sees a part of it."""
    number, draft = tempfile.mkstemp(dir=path.parent, suffix=".draft")
    try:
        with open(number, "wb") as file:
            file.write(data)
        os.replace(draft, path)
    except OSError:
        os.unlink(draft)
        raise
