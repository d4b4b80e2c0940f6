"""The logs that lie in a folder: one for each run that it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from thalweg.errors import DataError
from thalweg.record.foreign import databases, mlflow, tensorboard, trainer_state, wandb
from thalweg.record.foreign.beside import step_of
from thalweg.record.foreign.events import sets_in
from thalweg.record.foreign.open import STDIN, parsed
from thalweg.record.foreign.parts import Columns
from thalweg.record.foreign.texts import text_of

_TEXTS = (".csv", ".tsv", ".txt", ".log", ".jsonl", ".json", ".ndjson", ".out", ".err")
_DATABASES = (".db", ".sqlite", ".sqlite3")
_HEAD = 1 << 18
"""Bytes of a text that are looked at to tell whether it is a log."""


def find_logs(path: str) -> list[Path]:
    """The path itself where it is a file, else the logs in the folder: event files by their folder,
    of a Hugging Face run the last trainer_state.json, wandb's files, folders of MLflow's runs,
    tables and texts that tell a loss. Of a database each run is one, as a path below it.

    Raises DataError where there is none.
    """
    root = Path(path)
    place = None if path == STDIN else databases.place_of(root)
    if place is not None:
        return [root] if place.run else databases.runs_in(root)
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
            f"{path} holds no log that is known: event files, {trainer_state.NAME}, runs of "
            "MLflow, trackio or wandb, CSV, JSON lines or a text with losses in it"
        )
    return found


def exists(path: str) -> bool:
    """Is it a file or a folder, or a path below a database?"""
    return os.path.exists(path) or databases.place_of(Path(path)) is not None


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
        runs = [folder / each for each in sorted(names) if each.endswith(wandb.SUFFIX)]
        if runs or mlflow.is_run(folder):
            done.add(folder)
            yield from runs or ([folder] if mlflow.has_loss(folder) else [])
            continue
        files = (folder / each for each in sorted(names) if not each.startswith("."))
        for file in files:
            if file.suffix.lower() in _DATABASES and databases.is_database(file):
                yield from _runs_in(file)
            elif file.suffix.lower() in _TEXTS and _is_log(file):
                yield file


def _runs_in(file: Path) -> list[Path]:
    """Those of a tracker; of another database none."""
    try:
        return databases.runs_in(file)
    except DataError:
        return []


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
