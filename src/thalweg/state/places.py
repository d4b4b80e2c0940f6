"""The places of checkpoints below a folder: their names, and what interrupted saves left there."""

from __future__ import annotations

import re
from pathlib import Path

from thalweg.errors import RunError, ThalwegError
from thalweg.state import durable
from thalweg.state.careful import read_whole
from thalweg.state.manifest import MANIFEST, MOST_BYTES, understood

_STEP = re.compile(r"step-([0-9]{8,18})")
_UNFINISHED = re.compile(r"\.(step-[0-9]{8,18})\.(part|old)")


def name_of(number: int) -> str:
    """The name of a step's checkpoint: step-00001234."""
    return f"step-{number:08d}"


def number_of(path: Path) -> int:
    """The number in a checkpoint's name. Raises ValueError where it is no such name."""
    if not _is_named(path):
        raise ValueError("its name is not that of a checkpoint (step-00001234)")
    return int(path.name.removeprefix("step-"))


def _is_named(path: Path) -> bool:
    """Each number has one name: a ninth digit is no zero."""
    found = _STEP.fullmatch(path.name)
    return found is not None and path.name == name_of(int(found[1]))


def beside(place: Path, kind: str) -> Path:
    """The name that a checkpoint has while it is written (part) or replaced (old)."""
    return place.with_name(f".{place.name}.{kind}")


def settle(root: Path) -> None:
    """Delete what an interrupted `write` left, or bring back what it was about to replace."""
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        found = _UNFINISHED.fullmatch(path.name)
        if found is None:
            continue
        place = root / found[1]
        if found[2] == "old" and has_manifest(path) and not has_manifest(place):
            durable.remove(place)
            durable.rename(path, place)
        else:
            durable.remove(path)


def has_manifest(path: Path) -> bool:
    """Is there a manifest as it was written, of whatever format, or one that cannot be read now?"""
    if path.is_symlink():
        return False
    try:
        understood(read_whole(path / MANIFEST, MOST_BYTES)[0])
    except (ValueError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def folders(root: Path) -> list[Path]:
    """All that is named as a checkpoint, newest first."""
    try:
        paths = [path for path in root.iterdir() if _is_named(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RunError(f"{root} cannot be read: {reason(error)}") from None
    return sorted(paths, key=number_of, reverse=True)


def reason(error: BaseException) -> str:
    """What an exception has to say, on one line."""
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{Path(error.filename).name} is missing"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    is_ours = isinstance(error, ThalwegError | ValueError)
    return text if is_ours else f"{type(error).__name__} {text}".strip()
