"""The record on disk, and the only thread that writes to it.

The training thread hands over what happened and never waits. The writer commits what has come at
most 50 ms later. Readers open the file read-only, while the run is on or after it.
"""

from __future__ import annotations

import atexit
import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.record import files
from thalweg.record.files import Opened, read
from thalweg.record.history import History
from thalweg.record.rows import (
    TABLES,
    Store,
    evaluation_row,
    event_row,
    scalar_row,
    step_row,
)
from thalweg.record.waiting import Waiting
from thalweg.types import Evaluation, Event, Step

COMMIT_EVERY = 0.05
"""Seconds that a row may wait before it is committed."""
RETRY_EVERY = 10.0
"""Seconds after which a write that failed is tried again."""

_MAY_PASS = (OSError, sqlite3.OperationalError)
"""What a full disk or a folder that is gone provokes."""


class Record:
    """Write a record into `folder`, which is made where it is missing.

    The file is record.sqlite, or record.log where SQLite's WAL does not work (network file
    systems). While it is written, record.lock keeps other writers out (`thalweg.record.lock`).
    Every row belongs to an attempt, here the first, and to a `phase`, for runs that have several.

    on_error: what a write that fails (a full disk, a folder that is gone) does: None raises at the
    next call, or at `close`; a function is told one line at the next call, and the rows wait until
    there is space again, thinned beyond 100,000 steps; `close` raises if some could not be written

    Raises UsageError where the place cannot be written, or holds a record already. What was not
    closed is closed when Python ends. What a forked child records reaches nobody.

    >>> from tempfile import mkdtemp
    >>> from thalweg.record import Record, read
    >>> folder = mkdtemp()
    >>> record = Record(folder)
    >>> record.scalars(1, {"perplexity": 20.0})
    >>> record.close()
    >>> read(folder).scalars
    {'perplexity': [(1, 20.0)]}
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        on_error: Callable[[str], None] | None = None,
    ):
        self._start(partial(files.create, Path(folder)), on_error)

    @classmethod
    def reopen(
        cls,
        folder: str | os.PathLike[str],
        *,
        from_step: int,
        on_error: Callable[[str], None] | None = None,
    ) -> Record:
        """Go on with the record of a run that was stopped or killed, as a new attempt.

        from_step: the step after which it goes on, >= 0; what earlier attempts say of later ones
        stays in the file, and readers do not show it

        Raises RunError where there is no record, a run still writes it, or it cannot be written.

        >>> from tempfile import mkdtemp
        >>> from thalweg.record import Record, read
        >>> folder = mkdtemp()
        >>> record = Record(folder)
        >>> for number in (1, 2, 3):
        ...     record.scalars(number, {"perplexity": 20.0})
        >>> record.close()
        >>> record = Record.reopen(folder, from_step=2)
        >>> record.scalars(3, {"perplexity": 19.0})
        >>> record.close()
        >>> read(folder).scalars
        {'perplexity': [(1, 20.0), (2, 20.0), (3, 19.0)]}
        """
        if not isinstance(from_step, Integral) or from_step < 0:
            raise UsageError(f"from_step is {from_step!r}: it must be a step's number, 0 or more")
        record = cls.__new__(cls)
        record._start(partial(files.reopen, Path(folder), int(from_step)), on_error)
        return record

    def _start(self, open_: Callable[[], Opened], on_error: Callable[[str], None] | None) -> None:
        self._on_error = on_error
        self._waiting = Waiting()
        self._late: dict[str, list[tuple[Any, ...]]] = {}  # the writer's: taken, not yet written
        self._wake = threading.Event()
        self._flushes: deque[threading.Event] = deque()
        self._is_closing = False
        self._error: Exception | None = None
        self._was_told = False
        self._process = os.getpid()
        self._num_steps = 0
        self._facts: dict[str, dict[str, Any]] = {}
        is_ready = threading.Event()
        arguments = (open_, is_ready)
        self._thread = threading.Thread(
            target=self._run, args=arguments, name="thalweg-record", daemon=True
        )
        self._thread.start()
        is_ready.wait()
        if self._error is not None:
            raise self._error
        atexit.register(self.close)

    @property
    def is_empty(self) -> bool:
        """Is no step on disk yet? A record that was opened again is not empty."""
        return self._attempt == 1 and self._num_steps == 0

    def steps(self, steps: Sequence[Step], *, phase: str = "main") -> None:
        self._put("steps", phase, steps)

    def evaluation(self, evaluation: Evaluation, *, phase: str = "main") -> None:
        self._put("evaluations", phase, [evaluation_row(evaluation)])

    def event(self, event: Event, *, phase: str = "main") -> None:
        self._put("events", phase, [event_row(event)])

    def scalars(self, number: int, values: Mapping[str, float], *, phase: str = "main") -> None:
        for name, value in values.items():
            self._put("scalars", phase, [scalar_row(number, name, value)], name)

    def facts(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to what was asked, where it ran, what came out: anything that JSON can hold.

        What an attempt gives replaces what earlier attempts gave under the same of these names.
        """
        given = {"settings": settings, "environment": environment, "results": results}
        for name, values in given.items():
            if values is not None:
                known = {**self._facts.get(name, {}), **values}
                self._put("facts", "", [(name, json.dumps(known))])
                self._facts[name] = known

    def _put(self, table: str, phase: str, rows: Sequence[Any], series: str = "") -> None:
        error = self._error
        if error is not None:
            self._tell(error)
        if self._is_closing:
            raise UsageError(f"{self.path} was closed: nothing more can be recorded in it")
        self._waiting.put(table, phase, rows, series=series)

    def _tell(self, error: Exception) -> None:
        """What went wrong in the background: raised, or told once."""
        was_told, self._was_told = self._was_told, True
        if self._on_error is None:
            raise UsageError(self._failure(error))
        if not was_told:
            text = f"{self._failure(error)}; its rows wait in memory until that has changed"
            self._on_error(text)

    def _failure(self, error: Exception) -> str:
        why = error.strerror if isinstance(error, OSError) else error
        why = why if self.path.exists() else "it was deleted or moved"
        return f"{self.path} could not be written: {why}"

    def flush(self) -> None:
        """Wait until all that was given is on the disk, safe from a power cut; from any thread.

        What must not know more than the record (a checkpoint) is acknowledged after this. Steps
        that are being thinned still wait. Raises UsageError where the record cannot be written,
        unless `on_error` is a function.
        """
        if self._is_closing or os.getpid() != self._process:
            return
        is_done = threading.Event()
        self._flushes.append(is_done)
        self._wake.set()
        while not is_done.wait(0.1) and self._thread.is_alive():
            pass
        error = self._error
        if error is not None:
            self._tell(error)

    def close(self) -> None:
        """Commit what is left and end as one ordinary file; closing twice is fine.

        Raises UsageError where that fails; not if it was raised before.
        """
        if self._is_closing or os.getpid() != self._process:
            return
        atexit.unregister(self.close)
        self._waiting.release()
        self._is_closing = True
        self._wake.set()
        self._thread.join()
        error = self._error
        if error is not None and (self._on_error is not None or not self._was_told):
            self._was_told = True
            num_lost = sum(map(len, self._late.values())) + len(self._waiting)
            raise UsageError(f"{self._failure(error)} ({num_lost} rows lost)")

    def history(self, *, phase: str = "main") -> History:
        """What was recorded, once it is closed; before that, what has been committed."""
        return read(self.path, phase=phase)

    def _run(self, open_: Callable[[], Opened], is_ready: threading.Event) -> None:
        """The writer. The store lives in this thread alone: a forked child has none to close."""
        try:
            opened = open_()
            self.path, self._attempt = opened.path, opened.store.attempt
        except Exception as error:
            self._error = error
            return
        finally:
            is_ready.set()
        try:
            with closing(opened.store) as store:
                self._write(store)
        except Exception as error:  # handed to the training thread, which tells it
            self._error = error.with_traceback(None)
        finally:
            opened.lock.release()

    def _write(self, store: Store) -> None:
        """Commit what comes, until it is closed."""
        is_last = False
        while not is_last:
            self._wake.wait(COMMIT_EVERY if self._error is None else RETRY_EVERY)
            self._wake.clear()
            is_last = self._is_closing
            flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
            try:
                self._commit(store)
                if flushes:
                    store.sync()
                self._error = None
            except Exception as error:
                self._error = error.with_traceback(None)
                if self._on_error is None or not isinstance(error, _MAY_PASS):
                    raise
            finally:
                for is_done in flushes:
                    is_done.set()

    def _commit(self, store: Store) -> None:
        """Write all that waits, or nothing."""
        for table, phase, rows in self._waiting.take():
            head = (self._attempt, phase) if "phase" in TABLES[table] else (self._attempt,)
            values = map(step_row, rows) if table == "steps" else rows
            self._late.setdefault(table, []).extend((*head, *row) for row in values)
        if not self._late:
            return
        if not self.path.exists():  # else it went on into a file that has no name
            raise FileNotFoundError
        store.write(self._late)
        num_steps, num_scalars = (len(self._late.get(table, ())) for table in ("steps", "scalars"))
        self._late = {}
        self._num_steps += num_steps
        self._waiting.wrote(num_steps + num_scalars)
