"""From a path to the logs that lie there, whoever wrote them; needs nothing but NumPy."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import DataError
from thalweg.record.foreign import plain, table, tensorboard, trainer_state
from thalweg.record.foreign.beside import settings_beside
from thalweg.record.foreign.log import LOSS, LR, NORM, VALIDATION, Log, Series
from thalweg.record.foreign.roles import metric_of, roles_of, step_column
from thalweg.record.foreign.rows import Rows
from thalweg.record.foreign.table import Cells

STDIN = "-"
MOST_BYTES = 1 << 30
_TEXTS = (".csv", ".tsv", ".txt", ".log", ".jsonl", ".json", ".ndjson", ".out")
_CHECKPOINT = re.compile(r"^(?:checkpoint|step|ckpt|epoch)[-_=]?(\d+)$|(?:step|epoch)[=_-](\d+)")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of each part as the user named them; None: guessed."""

    loss: str | None = None
    validation: str | None = None
    step: str | None = None
    lr: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """By role."""
        rows = {LOSS: self.loss, VALIDATION: self.validation, LR: self.lr}
        return {role: name for role, name in rows.items() if name is not None}


def find_logs(path: str) -> list[Path]:
    """The files that are logs: the path itself, or what lies in the folder; of event files and of
    Hugging Face's states one for each folder. Raises DataError where there is none.
    """
    root = Path(path)
    if path == STDIN or root.is_file():
        return [root]
    if not root.exists():
        raise DataError(f"{path} does not exist: check the spelling, or give the full path")
    found = list(dict.fromkeys(_logs_in(root)))
    if not found:
        raise DataError(
            f"{path} holds no log that is known: event files, {trainer_state.NAME}, CSV, JSON "
            "lines or a text with losses in it"
        )
    return found


def _logs_in(root: Path) -> Iterator[Path]:
    states = sorted(root.rglob(trainer_state.NAME), key=lambda file: file.stat().st_mtime)
    for folder in dict.fromkeys(_run_of_state(file) for file in states):
        yield [file for file in states if _run_of_state(file) == folder][-1]
    if states:
        return
    for folder, _, names in sorted(os.walk(root)):
        if any(tensorboard.MARK in name for name in names):
            yield Path(folder)
            continue
        for name in sorted(names):
            file = Path(folder) / name
            if file.suffix.lower() in _TEXTS and not name.startswith(".") and _is_log(file):
                yield file


def _run_of_state(file: Path) -> Path:
    """The output folder: that of a state in checkpoint-500 is the one above."""
    return file.parent.parent if _CHECKPOINT.match(file.parent.name) else file.parent


def _is_log(file: Path) -> bool:
    try:
        return bool(read_text(str(file), _text_of(file), Columns()))
    except DataError:
        return False


def read_logs(path: Path, source: str, columns: Columns) -> list[Log]:
    """The runs of one log; a wide table holds one in each column.

    Raises DataError for what is empty, is no log, or lacks a column that was named.
    """
    if str(path) == STDIN:
        return read_text("standard input", sys.stdin.read(), columns)
    if path.is_dir() or tensorboard.MARK in path.name:
        return [_of_events(path, source, columns)]
    if path.name == trainer_state.NAME or path.suffix == ".json":
        found = trainer_state.read_state(path)
        if found is not None:
            rows, settings, notes = found
            log = _log(source, "trainer_state", rows, columns, unit="step")
            log.tool, log.settings = "huggingface", {**settings_beside(path), **settings}
            log.notes[:0] = notes
            log.checkpoints = _checkpoints(_run_of_state(path))
            return [log]
    logs = read_text(source, _text_of(path), columns)
    for log in logs:
        log.settings = settings_beside(path)
        log.checkpoints = _checkpoints(path.parent)
    return logs


def _of_events(path: Path, source: str, columns: Columns) -> Log:
    files = [path] if path.is_file() else sorted(path.glob(f"*{tensorboard.MARK}*"))
    rows, notes = tensorboard.read_events(files)
    if not rows.points:
        raise DataError(f"{source} holds no scalars" + (f": {notes[0]}" if notes else ""))
    log = _log(source, "tensorboard", rows, columns, unit="step")
    log.notes[:0] = notes
    folder = path if path.is_dir() else path.parent
    log.settings = settings_beside(folder / "events")
    log.checkpoints = _checkpoints(folder)
    return log


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} has more than 1 GB: give a part of it")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not raw.strip():
        raise DataError(f"{path} is empty: there is nothing in it")
    if b"\x00" in raw[:65_536] and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is binary, and no event file: name the log of a run")
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return raw.decode(encoding, errors="replace")


_READERS: tuple[tuple[str, Callable[[str], Cells | None]], ...] = (
    ("jsonl", table.read_json_lines),
    ("csv", table.read_delimited),
    ("text", plain.read_lines),
)


def read_text(source: str, text: str, columns: Columns) -> list[Log]:
    """The runs that a text holds; source: its name in messages. Raises DataError as above."""
    if not text.strip():
        raise DataError(f"{source} is empty: there is nothing in it")
    best = None
    for format, reader in _READERS:
        cells = reader(text)
        if cells is None or not cells.rows or not cells.names:
            continue
        roles = roles_of(_counts(cells))
        if LOSS in roles or VALIDATION in roles or columns.given:
            return [_of_cells(source, format, cells, columns)]
        best = best or (format, cells)
    if best is not None and best[0] == "csv" and _are_runs(best[1]):
        return [_of_one(source, best[1], name) for name in best[1].names]
    raise DataError(f"{source} is no log that is known: no column or line in it names a loss")


def _counts(cells: Cells) -> dict[str, int]:
    return {name: sum(name in row for row in cells.rows) for name in cells.names}


def _are_runs(cells: Cells) -> bool:
    """Is every column a run's loss, one below the other?"""
    counts = _counts(cells)
    return len(cells.rows) >= 10 and all(
        count >= 0.5 * len(cells.rows) for count in counts.values()
    )


def _of_one(source: str, cells: Cells, name: str) -> Log:
    rows = Rows(count=len(cells.rows))
    for i, row in enumerate(cells.rows):
        if name in row:
            rows.add(i, name, row[name])
    log = Log(f"{source}, column {name}", "csv", unit="row", rows=len(cells.rows))
    log.series = {LOSS: rows.series(name)}
    return log


def _of_cells(source: str, format: str, cells: Cells, columns: Columns) -> Log:
    counter, unit = step_column(cells.names)
    if columns.step is not None:
        _check_there(columns.step, cells.names, source)
        counter, unit = columns.step, "step"
    rows = Rows()
    steps, step = [], -1.0
    for i, row in enumerate(cells.rows):
        step = row.get(counter, step) if counter is not None else float(i)
        steps.append(step)
        for name, value in row.items():
            if name != counter:
                rows.add(step, name, value)
    rows.count = len(cells.rows)
    log = _log(source, format, rows, columns, unit=unit)
    _uncover_blanks(log, cells, steps)
    return log


def _uncover_blanks(log: Log, cells: Cells, steps: list[float]) -> None:
    """Values that are no numbers, where a tool leaves their cells blank.

    A column that was filled in whenever another one was, and from some row on is not, was NaN from
    there on. (A column whose others are all filled in at other rows too says nothing.)
    """
    for role in (LOSS, VALIDATION):
        series = log.get(role)
        blank = [] if series is None else _lost_rows(cells, series.name)
        if series is None or not blank:
            continue
        points = [*zip(series.steps, series.values, strict=True)]
        points += [(steps[i], math.nan) for i in blank if steps[i] > series.steps[-1]]
        log.series[role] = Series.of(series.name, points)
        log.notes.append(
            f"{series.name!r} is blank in the last {len(blank):,} rows in which what is written "
            "beside it goes on: read as NaN"
        )


def _lost_rows(cells: Cells, name: str) -> list[int]:
    """Rows below the column's last value in which its companions have values."""
    present = [i for i, row in enumerate(cells.rows) if name in row]
    if not present:
        return []
    last = present[-1]
    beside = []
    for other in cells.names:
        rows = [i for i, row in enumerate(cells.rows[: last + 1]) if other in row]
        together = sum(name in cells.rows[i] for i in rows)
        is_companion = together >= 0.9 * max(len(rows), len(present), 1)
        beside += [other] if other != name and is_companion else []
    return [
        i
        for i, row in enumerate(cells.rows[last + 1 :], start=last + 1)
        if any(other in row for other in beside)
    ]


def _log(source: str, format: str, rows: Rows, columns: Columns, *, unit: str) -> Log:
    """The series by their parts."""
    counts = {name: len(points) for name, points in rows.points.items()}
    roles = roles_of(counts)
    for role, name in columns.given.items():
        _check_there(name, list(counts), source)
        roles[role] = name
    log = Log(source, format, unit=unit, rows=rows.count)
    taken = set(roles.values())
    for role in (LOSS, VALIDATION, LR, NORM):
        if role in roles:
            log.series[role] = rows.series(roles[role])
    for name in counts:
        known = None if name in taken else metric_of(name)
        if known is not None:
            part, metric = known
            log.series.setdefault(f"{part}_{metric}", rows.series(name))
    return log


def _check_there(name: str, names: list[str], source: str) -> None:
    from difflib import get_close_matches

    if name in names:
        return
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(names[:8])}"
    raise DataError(f"{source} has no column {name!r}: {hint}")


def _checkpoints(folder: Path) -> dict[int, str]:
    """Checkpoints that lie in a folder, by the step in their name."""
    found = {}
    for path in sorted(folder.glob("*")) + sorted(folder.glob("checkpoints/*")):
        match = _CHECKPOINT.search(path.stem if path.is_file() else path.name)
        if match and (path.is_dir() or path.suffix in (".ckpt", ".pt", ".pth", ".safetensors")):
            found[int(next(group for group in match.groups() if group))] = str(path)
    return found
