"""The logs that lie in a folder: one for each run that it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from thalweg.errors import DataError
from thalweg.record.foreign import tensorboard, trainer_state
from thalweg.record.foreign.beside import step_of
from thalweg.record.foreign.events import sets_in
from thalweg.record.foreign.open import STDIN, parsed
from thalweg.record.foreign.parts import Columns
from thalweg.record.foreign.texts import text_of

_TEXTS = (".csv", ".tsv", ".txt", ".log", ".jsonl", ".json", ".ndjson", ".out", ".err")
_HEAD = 1 << 18
"""Bytes of a text that are looked at to tell whether it is a log."""


def find_logs(path: str) -> list[Path]:
    """The path itself where it is a file, else the logs in the folder: event files by their folder,
    of a Hugging Face run the last trainer_state.json, tables and texts that tell a loss.

    Raises DataError where there is none.
    """
    root = Path(path)
    if path == STDIN or root.is_file():
        return [root]
    if not root.exists():
        raise DataError(f"{path} does not exist: check the spelling, or give the full path")
    try:
        found = list(_logs_in(root))
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror}") from None
    if not found:
        raise DataError(
            f"{path} holds no log that is known: event files, {trainer_state.NAME}, CSV, JSON "
            "lines or a text with losses in it"
        )
    return found


def _logs_in(root: Path) -> Iterator[Path]:
    done: set[Path] = set()
    for name, inner, names in os.walk(root):
        folder = Path(name)
        inner[:] = sorted(each for each in inner if not each.startswith("."))
        if any(parent in done for parent in folder.parents) or folder in done:
            continue
        state = _last_state(folder)
        if state is not None:
            done.add(folder)
            yield state
            continue
        sets = sets_in(folder)
        done |= set(sets)
        if sets or any(tensorboard.MARK in each for each in names):
            yield folder
            continue
        files = (folder / each for each in sorted(names) if not each.startswith("."))
        yield from (file for file in files if file.suffix.lower() in _TEXTS and _is_log(file))


def _last_state(folder: Path) -> Path | None:
    """The newest state of a run that wrote into this folder."""
    own = folder / trainer_state.NAME
    if own.is_file():
        return own
    inner = list(folder.glob(f"checkpoint-*/{trainer_state.NAME}"))
    return max(inner, key=lambda file: step_of(file.parent.name) or 0, default=None)


def _is_log(file: Path) -> bool:
    try:
        text = text_of(file, _HEAD)
        return bool(parsed(text, str(file), Columns(), file, strict=True))
    except DataError:
        return False
