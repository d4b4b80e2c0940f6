"""The logs that lie in a folder: one for each run that it holds."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from thalweg.errors import DataError
from thalweg.record.files import SQLITE
from thalweg.record.foreign import databases, mlflow, tensorboard, trainer_state, wandb
from thalweg.record.foreign.beside import step_of
from thalweg.record.foreign.events import sets_in
from thalweg.record.foreign.open import STDIN, parsed
from thalweg.record.foreign.parts import Columns
from thalweg.record.foreign.texts import NoLog, text_of

_TEXTS = (".csv", ".tsv", ".txt", ".log", ".jsonl", ".json", ".ndjson", ".out", ".err")
_DATABASES = (".db", ".sqlite", ".sqlite3")
MOST_TOLD = 4
"""Files that are passed over and named."""

_HEAD = 1 << 18
"""Bytes of a text that are looked at to tell whether it is a log."""


def find_logs(path: str) -> list[Path]:
    """The path itself where it is a file, else the logs in the folder: runs of ours and event files
    by their folder, of a Hugging Face run the last trainer_state.json, wandb's files, folders of
    MLflow's runs, tables and texts that tell a loss. Of a database each run is one, as a path below
    it.

    Logs that cannot be read are passed over with a warning that names them. Raises DataError where
    there is none.
    """
    root = Path(path)
    place = None if path == STDIN else databases.place_of(root)
    if place is not None:
        return [root] if place.run else databases.runs_in(root)
    if path == STDIN or root.is_file():
        return [root]
    if not root.exists():
        raise DataError(f"{path} does not exist: check the spelling, or give the full path")
    passed: list[str] = []
    try:
        found = list(_logs_in(root, passed))
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror}") from None
    if passed:
        warnings.warn(_passed_over(passed), stacklevel=2)
    if not found:
        raise DataError(
            f"{path} holds no log that is known: runs of ours, event files, {trainer_state.NAME}, "
            "runs of MLflow, trackio or wandb, CSV, JSON lines or a text with losses in it"
        )
    return found


def exists(path: str) -> bool:
    """Is it a file or a folder, or a path below a database?"""
    return os.path.exists(path) or databases.place_of(Path(path)) is not None


def _passed_over(why: list[str]) -> str:
    """A line for those that were passed over, with why."""
    more = f"; and {len(why) - MOST_TOLD} more" if len(why) > MOST_TOLD else ""
    count = "1 file is" if len(why) == 1 else f"{len(why)} files are"
    return f"{count} passed over: {'; '.join(why[:MOST_TOLD])}{more}"


def _logs_in(root: Path, passed: list[str]) -> Iterator[Path]:
    done: set[Path] = set()
    for name, inner, names in os.walk(root):
        folder = Path(name)
        inner[:] = sorted(each for each in inner if not each.startswith("."))
        if any(parent in done for parent in folder.parents) or folder in done:
            continue
        if SQLITE in names:
            done.add(folder)
            yield folder
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
                yield from _or_passed(databases.runs_in, file, passed)
            elif file.suffix.lower() in _TEXTS:
                yield from _or_passed(_if_log, file, passed)


def _or_passed(runs_in: Callable[[Path], list[Path]], file: Path, passed: list[str]) -> list[Path]:
    """The runs in a file; none of what is no log, or cannot be read, which is noted."""
    try:
        return runs_in(file)
    except NoLog:
        return []
    except DataError as error:
        passed.append(str(error))
        return []


def _last_state(folder: Path) -> Path | None:
    """The newest state of a run that wrote into this folder."""
    own = folder / trainer_state.NAME
    if own.is_file():
        return own
    inner = list(folder.glob(f"checkpoint-*/{trainer_state.NAME}"))
    return max(inner, key=lambda file: step_of(file.parent.name) or 0, default=None)


def _if_log(file: Path) -> list[Path]:
    """The file itself. Raises NoLog where it is none, DataError where it cannot be read."""
    return [file] if parsed(text_of(file, _HEAD), str(file), Columns(), file, strict=True) else []
