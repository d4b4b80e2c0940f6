"""The per-user cache folder: findings about this machine that may be lost at any time."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

CHECKS = "checks"
"""The sub-folder of what start-up checks found, a small file each."""

_OWNER_ONLY = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def folder(name: str) -> Path | None:
    """The sub-folder `name` of the user's thalweg cache, made where missing; None if unusable.

    It stands under $XDG_CACHE_HOME (an absolute path), else under ~/.cache. It and the `thalweg`
    folder around it must be real folders of this user that nobody else can write, because what
    lies in them is trusted; a home that cannot be written means None as well.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
        base.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        whole = base / "thalweg"
        for place in (whole, whole / name):
            place.mkdir(mode=_OWNER_ONLY, exist_ok=True)
            if not _is_ours(place):
                return None
    except (OSError, RuntimeError):  # RuntimeError: the user has no home at all
        return None
    return whole / name if os.access(whole / name, os.W_OK | os.X_OK) else None


def recall(key: Mapping[str, Any]) -> Any:
    """What was remembered under this key; None where there is nothing, or nothing readable."""
    place = folder(CHECKS)
    if place is None:
        return None
    try:
        found = json.loads((place / _name(key)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_whole = isinstance(found, dict) and found.get("key") == key
    return found.get("value") if is_whole else None


def remember(key: Mapping[str, Any], value: Any) -> None:
    """Keep a JSON value under this key, as a whole or not at all."""
    place = folder(CHECKS)
    if place is None:
        return
    with suppress(OSError):
        number, draft = tempfile.mkstemp(dir=place, suffix=".draft")
        try:
            with open(number, "w", encoding="utf-8") as file:
                json.dump({"key": key, "value": value}, file)
            os.replace(draft, place / _name(key))
        except OSError:
            os.unlink(draft)
            raise


def processor() -> str:
    """The processor's model and how many cores this process may use."""
    listing = Path("/proc/cpuinfo")
    try:
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = named[0] if named else platform.processor() or platform.machine()
    return f"{name}, {_num_cores()} cores"


def _num_cores() -> int:
    is_told = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    return len(os.sched_getaffinity(0)) if is_told else os.cpu_count() or 1


def _name(key: Mapping[str, Any]) -> str:
    text = json.dumps(key, sort_keys=True).encode()
    return f"{hashlib.sha256(text).hexdigest()[:20]}.json"


def _is_ours(place: Path) -> bool:
    """A folder (not a link to one) of this user that nobody else can write."""
    if not hasattr(os, "getuid"):
        return place.is_dir() and not place.is_symlink()  # Windows: the profile is private
    found = place.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & _OTHERS_WRITE
    )
