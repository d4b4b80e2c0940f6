"""What a training_args.bin says, without running it: the strings and numbers of its pickle.

Hugging Face's Trainer keeps its arguments nowhere else. The file is a zip with a pickle inside;
its opcodes are looked at one by one, and none is carried out: a name that is followed by a plain
value is a setting.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

NAME = "training_args.bin"
_LARGEST = 1 << 22
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_STORE = ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT")
_FETCH = ("BINGET", "LONG_BINGET", "GET")
_PASSED = (*_STORE, "TUPLE1", "REDUCE", "GLOBAL", "STACK_GLOBAL", "MARK")
"""What stands between a name and its value where that is a word of an enumeration."""


def read_pickled(file: Path) -> dict[str, Any]:
    """Settings by name; empty where the file is none of its kind."""
    try:
        with zipfile.ZipFile(file) as archive:
            name = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
            if name is None or archive.getinfo(name).file_size > _LARGEST:
                return {}
            return _settings(archive.read(name))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return {}


def _settings(pickled: bytes) -> dict[str, Any]:
    """To each text the plain value that follows it."""
    found: dict[str, Any] = {}
    memo: dict[Any, Any] = {}
    last: Any = None
    for code, argument, _ in pickletools.genops(pickled):
        if code.name in _STORE:
            memo[len(memo) if argument is None else argument] = last
        if code.name in _PASSED:
            continue
        value = memo.get(argument) if code.name in _FETCH else _CONSTANTS.get(code.name, argument)
        is_plain = code.name in _CONSTANTS or isinstance(value, str | int | float)
        if isinstance(last, str) and last.isidentifier() and is_plain:
            found.setdefault(last, value)
        last = value if is_plain else None
    return found
