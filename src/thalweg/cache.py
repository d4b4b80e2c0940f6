"""The per-user cache folder: what may be lost at any time, and is trusted while it is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

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
