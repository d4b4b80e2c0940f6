"""The log of a folder's event files, with those of its train/ and validation/: they are one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thalweg.errors import DataError
from thalweg.record.foreign.log import LOSS, VALIDATION, Log, Series
from thalweg.record.foreign.names import EPOCHS, HELD, TEST, TRAIN, named
from thalweg.record.foreign.parts import Columns, fill
from thalweg.record.foreign.tensorboard import MARK, read_events
from thalweg.record.foreign.tools import tool_of


def log_of_events(path: Path, source: str, columns: Columns) -> Log:
    """The run of an event file, or of a folder of them. Raises DataError without scalars."""
    files = {path: ""} if path.is_file() else _files(path)
    points, count, notes = read_events(files)
    if not points:
        why = f": {notes[0]}" if notes else ""
        raise DataError(f"{source} holds no scalars{why}")
    log = Log(source, "tensorboard", rows=count, notes=notes)
    log.tool = tool_of("tensorboard", points, path)
    fill(log, points, columns)
    main = log.get(LOSS) or log.get(VALIDATION)
    if log.tool == "keras" and main is not None and named(main.name).has(EPOCHS):
        log.unit = "epoch"
    _align(log)
    _one_set(log)
    return log


def _one_set(log: Log) -> None:
    """A loss that has the very values of the validation loss is that loss, under another name."""
    loss, held = log.get(LOSS), log.get(VALIDATION)
    if (
        loss is None
        or held is None
        or len(loss) < 2
        or not np.array_equal(loss.values, held.values)
    ):
        return
    log.series[VALIDATION] = log.series.pop(LOSS)
    log.notes.append(f"{loss.name!r} and {held.name!r} are the same values: a validation loss")


def _files(folder: Path) -> dict[Path, str]:
    """To each file what is put before its tags: the name of the set's folder."""
    own = {file: "" for file in sorted(folder.glob(f"*{MARK}*")) if file.is_file()}
    for inner in sets_in(folder):
        own |= dict.fromkeys(sorted(inner.glob(f"*{MARK}*")), f"{inner.name}/")
    return own


def sets_in(folder: Path) -> list[Path]:
    """Folders inside that hold the events of one set: train, validation, Loss_val."""
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    sets = TRAIN | HELD | TEST
    return [path for path in inner if named(path.name).has(sets) and any(path.glob(f"*{MARK}*"))]


def _align(log: Log) -> None:
    """A validation loss that is counted in epochs, beside a loss that is counted in steps."""
    loss, held = log.get(LOSS), log.get(VALIDATION)
    if loss is None or held is None or len(held) < 3 or not len(loss):
        return
    is_counted = np.array_equal(np.diff(held.steps), np.ones(len(held) - 1))
    if not is_counted or held.steps[0] > 1 or loss.steps[-1] < 10 * max(held.steps[-1], 1):
        return
    epochs = np.arange(1, len(held) + 1)
    steps = epochs * (loss.steps[-1] / len(held))
    for role in [name for name in log.series if name.startswith("validation_")]:
        series = log.series[role]
        if np.array_equal(series.steps, held.steps):
            log.series[role] = Series(series.name, steps, series.values)
    log.notes.append(
        f"{held.name!r} is counted in epochs and {loss.name!r} in steps: its {len(held):,} values "
        "are spread evenly over the steps"
    )
