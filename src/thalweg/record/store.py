"""The record on disk: one SQLite file in WAL mode, and the only thread that writes to it.

The training thread appends to a queue and never waits. The writer commits what has come at most 50
ms later. Readers open the file read-only, while the run is on or after it.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from thalweg.errors import RunError, UsageError
from thalweg.record.history import COLUMNS, History, Row, columns_of, row_of
from thalweg.types import Evaluation, Event, Step

FILE = "record.sqlite"
SCHEMA = 1
COMMIT_EVERY = 0.05
"""Seconds that a row may wait before it is committed."""

_REALS = ", ".join(f"{name} REAL" for name in COLUMNS[2:])
_TABLES = f"""
CREATE TABLE steps(attempt INTEGER, phase TEXT, number INTEGER, samples INTEGER, {_REALS},
    nans INTEGER);
CREATE TABLE evaluations(attempt INTEGER, phase TEXT, number INTEGER, split TEXT, values_json TEXT,
    noise REAL, seconds REAL, nans INTEGER);
CREATE TABLE events(attempt INTEGER, phase TEXT, number INTEGER, kind TEXT, text TEXT,
    data_json TEXT);
CREATE TABLE scalars(attempt INTEGER, phase TEXT, number INTEGER, name TEXT, value REAL,
    nans INTEGER);
CREATE TABLE facts(name TEXT PRIMARY KEY, value_json TEXT);
"""
_INSERT = {
    "steps": f"INSERT INTO steps VALUES (1, 'main', {', '.join('?' * len(COLUMNS))}, ?)",
    "evaluations": "INSERT INTO evaluations VALUES (1, 'main', ?, ?, ?, ?, ?, ?)",
    "events": "INSERT INTO events VALUES (1, 'main', ?, ?, ?, ?)",
    "scalars": "INSERT INTO scalars VALUES (1, 'main', ?, ?, ?, ?)",
    "facts": "INSERT OR REPLACE INTO facts VALUES (?, ?)",
}


class Record:
    """Write a record into `folder`/record.sqlite; the folder is made where it is missing.

    Raises UsageError where the place cannot be written, or holds a record already; a write that
    fails later raises at the next call, or at `close`. What was not closed is closed when Python
    ends.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.path = Path(folder) / FILE
        self._queue: deque[tuple[str, Sequence[Any]]] = deque()
        self._is_ready = threading.Event()
        self._wake = threading.Event()
        self._is_closing = False
        self._error: Exception | None = None
        self._was_told = False
        self._process = os.getpid()
        self._num_steps = 0
        self._facts: dict[str, dict[str, Any]] = {}
        self._make()
        self._thread = threading.Thread(target=self._run, name="thalweg-record", daemon=True)
        self._thread.start()
        self._is_ready.wait()
        if self._error is not None:
            self.path.unlink()
            raise UsageError(f"{self.path} cannot be written: {self._error}")
        atexit.register(self.close)

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(exist_ok=False)
        except FileExistsError as error:
            raise UsageError(f"{error.filename} exists already: choose another folder") from None
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}") from None

    @property
    def is_empty(self) -> bool:
        """Is no step on disk yet?"""
        return self._num_steps == 0

    def steps(self, steps: Sequence[Step]) -> None:
        self._put("steps", steps)

    def evaluation(self, evaluation: Evaluation) -> None:
        values = json.dumps(dict(evaluation.values))
        spelt = _spell_nans((evaluation.noise, evaluation.seconds))
        self._put("evaluations", [(evaluation.number, evaluation.split, values, *spelt)])

    def event(self, event: Event) -> None:
        row = (event.number, event.kind, event.text, json.dumps(dict(event.data)))
        self._put("events", [row])

    def scalars(self, number: int, values: Mapping[str, float]) -> None:
        rows = [(number, name, *_spell_nans((float(values[name]),))) for name in values]
        self._put("scalars", rows)

    def facts(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to what was asked, where it ran, what came out: anything that JSON can hold."""
        given = {"settings": settings, "environment": environment, "results": results}
        for name, values in given.items():
            if values is not None:
                self._facts.setdefault(name, {}).update(values)
                self._put("facts", [(name, json.dumps(self._facts[name]))])

    def _put(self, table: str, rows: Sequence[Any]) -> None:
        self._check()
        if self._is_closing:
            raise UsageError(f"{self.path} was closed: nothing more can be recorded in it")
        self._queue.append((table, rows))

    def _check(self) -> None:
        """Raise what went wrong in the background."""
        if self._error is not None:
            self._was_told = True
            why = str(self._error) if self.path.exists() else "it was deleted or moved"
            raise UsageError(f"{self.path} could not be written: {why}")

    def close(self) -> None:
        """Commit what is left and end as one ordinary file; closing twice is fine.

        Raises UsageError where that fails, unless an earlier call has said so.
        """
        if self._is_closing or os.getpid() != self._process:
            return
        atexit.unregister(self.close)
        self._is_closing = True
        self._wake.set()
        self._thread.join()
        if not self._was_told:
            self._check()

    def history(self) -> History:
        """What was recorded, once it is closed; before that, what has been committed."""
        return read(self.path)

    def _run(self) -> None:
        try:
            with closing(sqlite3.connect(self.path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={SCHEMA}; COMMIT;")
                self._is_ready.set()
                self._write(connection)
        except Exception as error:  # handed to the training thread, which raises it
            self._error = error
        finally:
            self._is_ready.set()

    def _write(self, connection: sqlite3.Connection) -> None:
        """Commit what comes until it is closed, and leave one ordinary file."""
        while not self._is_closing:
            self._wake.wait(COMMIT_EVERY)
            self._commit(connection)
        self._commit(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")

    def _commit(self, connection: sqlite3.Connection) -> None:
        """Write all that waits, in one transaction."""
        if not self._queue:
            return
        if not self.path.exists():  # SQLite would write on, into a file that has no name
            raise FileNotFoundError
        num_steps = self._num_steps
        with connection:
            for _ in range(len(self._queue)):
                table, rows = self._queue.popleft()
                if table == "steps":
                    rows = [_spell_nans(row_of(step)) for step in rows]
                    num_steps += len(rows)
                connection.executemany(_INSERT[table], rows)
        self._num_steps = num_steps


def _spell_nans(row: Row) -> tuple:
    """The row and a bit mask of its NaNs: SQLite would store each as NULL, "not measured"."""
    nans = sum(1 << i for i, value in enumerate(row) if value is not None and math.isnan(value))
    return (*row, nans)


def _restore_nans(row: tuple) -> Row:
    *values, nans = row
    if not nans:
        return tuple(values)
    return tuple(math.nan if nans >> i & 1 else value for i, value in enumerate(values))


_UNREADABLE = (sqlite3.DatabaseError, ValueError, AttributeError, TypeError)
"""What a damaged record provokes: in SQLite, or in the values read from it."""


def read(path: str | os.PathLike[str]) -> History:
    """The history in a record, its file or its folder. Raises RunError where there is none."""
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise RunError(f"{file} does not exist: this is not the folder of a run")
    try:
        return _read(file)
    except sqlite3.OperationalError:
        pass  # a killed run in a read-only folder: SQLite cannot make the WAL's side file there
    except _UNREADABLE as error:
        raise RunError(f"{file} is not a record that thalweg wrote: {error}") from None
    try:
        return _read_copy(file)
    except _UNREADABLE as error:
        raise RunError(f"{file} is not a record that thalweg wrote: {error}") from None


def _read_copy(file: Path) -> History:
    """With its WAL, which holds what the killed run wrote last."""
    with TemporaryDirectory() as folder:
        for path in (file, file.with_name(f"{file.name}-wal")):
            if path.exists():
                copyfile(path, Path(folder, path.name))
        return _read(Path(folder, file.name))


def _read(file: Path) -> History:
    connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        names = ", ".join(COLUMNS)
        steps = connection.execute(f"SELECT {names}, nans FROM steps ORDER BY number")
        history = History(steps=columns_of(_restore_nans(row) for row in steps))
        for row in connection.execute("SELECT * FROM evaluations ORDER BY rowid"):
            _, _, number, split, values, *spelt = row
            noise, seconds = _restore_nans(tuple(spelt))
            history.evaluations.append(
                Evaluation(number, split, json.loads(values), noise, seconds or 0.0)
            )
        for _, _, number, kind, text, data in connection.execute(
            "SELECT * FROM events ORDER BY rowid"
        ):
            history.events.append(Event(number, kind, text, json.loads(data)))
        for row in connection.execute(
            "SELECT number, name, value, nans FROM scalars ORDER BY rowid"
        ):
            number, name, *value = row
            (restored,) = _restore_nans(tuple(value))
            history.scalars.setdefault(name, []).append((number, float(restored or 0.0)))
        for name, value in connection.execute("SELECT name, value_json FROM facts"):
            setattr(history, name, json.loads(value))
        return history
    finally:
        connection.close()
