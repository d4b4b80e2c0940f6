"""Reads a log, whoever wrote it, as the series of a run; needs nothing but NumPy."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import DataError
from thalweg.record.foreign import (
    databases,
    mlflow,
    plain,
    printed,
    table,
    tensorboard,
    trainer_state,
    wandb,
)
from thalweg.record.foreign.beside import checkpoints_in, settings_beside
from thalweg.record.foreign.blanks import lost_rows
from thalweg.record.foreign.cells import Cells
from thalweg.record.foreign.counting import by_rows, counted, one_run
from thalweg.record.foreign.events import log_of_events
from thalweg.record.foreign.filtered import uncover
from thalweg.record.foreign.log import LOSS, TRAIN, VALIDATION, Log, Series
from thalweg.record.foreign.names import is_told, named
from thalweg.record.foreign.nested import read_arguments
from thalweg.record.foreign.parts import Columns, column_named, fill, roles_in
from thalweg.record.foreign.points import Points
from thalweg.record.foreign.sets import by_set
from thalweg.record.foreign.texts import NoLog, standard_input, text_of, unnamed
from thalweg.record.foreign.tools import tool_of
from thalweg.record.foreign.tracked import Tracked
from thalweg.record.foreign.wide import Part, parts_of_table
from thalweg.record.foreign.words import in_our_words

STDIN = "-"

_HEAD = 1 << 20
"""Letters at the head of a text in which its tool and its settings stand."""

_READERS: tuple[tuple[str, Callable[[str], Cells | None]], ...] = (
    ("jsonl", table.read_json),
    ("csv", table.read_delimited),
    ("text", printed.read_printed),
    ("text", plain.read_lines),
)


def read_logs(path: Path, source: str, columns: Columns) -> list[Log]:
    """The runs of one log; a wide table holds one in each column.

    Raises DataError for what is empty, is no log, or lacks a column that was named.
    """
    if str(path) == STDIN:
        return read_text(standard_input(), "standard input", columns)
    run = _tracked(path)
    if run is not None:
        log = _log(
            source, run.format, run.cells, columns, tool_of(run.format, run.cells.names, None)
        )
        log.settings = in_our_words(run.settings)
        log.notes += run.notes
        if run.files is not None:
            log.checkpoints = checkpoints_in(run.files, log.unit)
        uncover(log)
        return [log]
    is_folder = path.is_dir()
    if tensorboard.MARK in path.name or (is_folder and any(path.rglob(f"*{tensorboard.MARK}*"))):
        logs = [log_of_events(path, source, columns)]
    else:
        logs = parsed(text_of(path), source, columns, path)
    folder = path if is_folder else path.parent
    if logs[0].format == "trainer_state":
        folder = trainer_state.run_of(path)
    beside = settings_beside(folder)
    for log in logs:
        log.settings = {**beside, **log.settings}
        log.checkpoints = checkpoints_in(folder, log.unit)
        uncover(log)
    return logs


def _tracked(path: Path) -> Tracked | None:
    """The run of an experiment tracker; None where the path is none."""
    place = databases.place_of(path)
    if place is not None:
        return databases.read_run(place)
    if path.suffix == wandb.SUFFIX and path.is_file():
        return wandb.read_wandb(path)
    return mlflow.read_folder(path) if mlflow.is_run(path) else None


def read_text(text: str, source: str, columns: Columns) -> list[Log]:
    """The runs of a log that is text, with the settings that it states itself.

    Raises DataError as read_logs does.
    """
    logs = parsed(text, source, columns)
    for log in logs:
        uncover(log)
    return logs


def parsed(
    text: str, source: str, columns: Columns, path: Path | None = None, *, strict: bool = False
) -> list[Log]:
    """The runs of a text as they stand there. strict: what only might be a table of losses is none.

    Raises DataError as read_logs does.
    """
    if not text.strip():
        raise NoLog(f"{source} is empty: there is nothing in it")
    state = trainer_state.read_state(text) if text.lstrip()[:1] == "{" else None
    if state is not None:
        log = _log(source, "trainer_state", state[0], columns, "huggingface")
        log.settings = state[1]
        return [log]
    tables = []
    for format, reader in _READERS:
        cells = reader(text)
        if cells is None or not cells.values:
            continue
        cells = by_set(_with_tag(cells, path))
        is_table = format == "csv"
        runs = parts_of_table(cells, strict=True) if is_table and not columns.given else []
        if runs:
            return _runs(source, runs, columns)
        if columns.given or any(is_told(name) for name in cells.names):
            head = text[:_HEAD] if format == "text" else ""
            log = _log(source, format, cells, columns, tool_of(format, cells.names, path, head))
            log.settings = _stated(cells, head)
            return [log]
        tables += [cells] if is_table else []
    runs = parts_of_table(tables[0], strict=strict) if tables else []
    if runs:
        return _runs(source, runs, columns)
    bare = printed.read_bare(text, path)
    if bare is not None:
        return [_log(source, "text", bare, columns)]
    raise _none_known(text, source, tables, path)


def _none_known(text: str, source: str, tables: list[Cells], path: Path | None) -> DataError:
    """Why a text is no log of which a loss is known, and what to do about it."""
    header = table.header_of(text)
    if any(map(is_told, header)) and len(text.splitlines()) <= 1:
        return DataError(f"{source} has a header and no row below it: nothing was logged yet")
    if _is_export(tables[0].names if tables else ()):
        return DataError(
            f"{source} is TensorBoard's export of one tag, and neither the file nor its columns "
            "tell which: if it is a loss, --loss-column Value"
        )
    names = tables[0].names if tables else []
    if not any(names):
        return NoLog(f"{source} is no log that is known: no column or line in it names a loss")
    return unnamed(source, names)


def _with_tag(cells: Cells, path: Path | None) -> Cells:
    """An export of one tag, whose column is just "Value": the tag stands in the file's name."""
    tag = "" if path is None else path.stem.rpartition("tag-")[2]
    if not _is_export(cells.names) or not is_told(tag):
        return cells
    names = {name: tag if name.lower() == "value" else name for name in cells.names}
    values = {names[name]: column for name, column in cells.values.items()}
    return replace(cells, values=values, has={names[n]: has for n, has in cells.has.items()})


def _is_export(names: Collection[str]) -> bool:
    return {name.lower() for name in names} == {"wall time", "step", "value"}


def _stated(cells: Cells, text: str) -> dict[str, Any]:
    """Settings that stand in every line, or in the lines of a text before the first loss."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if plain.tells_loss(line)), len(lines))
    planned = plain.planned_steps(lines[first:], cells)
    found = {} if planned is None else {"steps": planned}
    found |= {"stopped_early": True} if plain.stopped_early(lines) else {}
    found |= in_our_words(read_arguments("\n".join(lines[:first])))
    for name in cells.names:
        values = np.unique(cells.values[name][cells.has[name]])
        if named(name).words[-2:] == ("batch", "size") and len(values) == 1:
            found["batch_size"] = int(values[0])
    return found


def _runs(source: str, parts: list[Part], columns: Columns) -> list[Log]:
    """The runs of a table that holds several."""
    found = []
    for part in parts:
        own = replace(columns, loss=columns.loss or part.loss)
        name = f"{source}, column {part.name}"
        found.append(_log(name, "csv", part.cells, own, is_whole=False))
    return found


def _log(
    source: str,
    format: str,
    cells: Cells,
    columns: Columns,
    tool: str = "",
    *,
    is_whole: bool = True,
) -> Log:
    step = columns.step and column_named(columns.step, cells.names, source)
    now = counted(cells, step)
    points = _points(cells, now.steps, now.names)
    roles = roles_in(points, columns, source)
    main = roles.get(LOSS) or roles.get(VALIDATION, "")
    now = one_run(cells, by_rows(cells, now, roles.get(LOSS, "")), main)
    unit = "epoch" if tool == "keras" and now.unit == "row" and not now.notes else now.unit
    log = Log(source, format, tool, unit=unit, rows=cells.num_rows, notes=[*now.notes])
    fill(log, _points(cells, now.steps, now.names), columns)
    if is_whole and format in ("csv", "jsonl"):
        _uncover_blanks(log, cells, now.steps)
    return log


def _points(cells: Cells, steps: np.ndarray, aside: tuple[str, ...]) -> dict[str, Points]:
    found = {}
    for name in cells.names:
        has = cells.has[name]
        clock = None if cells.stamps is None else cells.stamps[has]
        if name not in aside:
            found[name] = Points(steps[has], cells.values[name][has], clock)
    return found


def _uncover_blanks(log: Log, cells: Cells, steps: np.ndarray) -> None:
    """Values that are no numbers, where a tool leaves their cells blank."""
    for role in (LOSS, VALIDATION, TRAIN):
        series = log.get(role)
        lost = lost_rows(cells, series.name) if series and series.name in cells.has else []
        at = np.unique(steps[lost]) if len(lost) else np.zeros(0)
        at = at[at > series.steps[-1]] if series and len(at) else at
        if series is None or not len(at):
            continue
        values = np.concatenate([series.values, np.full(len(at), np.nan)])
        log.series[role] = Series(series.name, np.concatenate([series.steps, at]), values)
        log.notes.append(
            f"{series.name!r} is blank in the last {len(lost):,} rows in which what is written "
            "beside it goes on: read as NaN"
        )
