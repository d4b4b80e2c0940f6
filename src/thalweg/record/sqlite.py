"""The record as one SQLite file in WAL mode: readers see whole commits, while it is written."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from thalweg.errors import RunError
from thalweg.record.rows import SCHEMA, TABLES, Tables, check_version

_KEYS = {"attempts": ", PRIMARY KEY(attempt)", "facts": ", PRIMARY KEY(attempt, name)"}
_CREATE = " ".join(
    f"CREATE TABLE {table}({', '.join(names)}{_KEYS.get(table, '')});"
    for table, names in TABLES.items()
)
"""Without types: a value comes back as what it was."""

_INSERT = {
    table: f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(names))})"
    for table, names in TABLES.items()
}

_WITHOUT_WAL = {
    "SQLITE_BUSY",
    "SQLITE_IOERR_LOCK",
    "SQLITE_IOERR_RDLOCK",
    "SQLITE_IOERR_SHMLOCK",
    "SQLITE_IOERR_SHMMAP",
    "SQLITE_IOERR_SHMOPEN",
    "SQLITE_IOERR_UNLOCK",
    "SQLITE_PROTOCOL",
}
"""How SQLite fails in a new file where locks or shared memory do not work."""


class Sqlite:
    """The one connection that writes and checkpoints.

    (SQLite before 3.51.3 can corrupt a WAL that two connections reset.)
    """

    def __init__(self, connection: sqlite3.Connection, attempt: int, from_step: int):
        self._connection = connection
        self.attempt = attempt
        connection.execute("PRAGMA synchronous=NORMAL")
        self.write({"attempts": [(attempt, from_step, time.time())]})

    def write(self, tables: Tables) -> None:
        with self._connection as connection:
            for table, rows in tables.items():
                connection.executemany(_INSERT[table], rows)

    def sync(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA user_version={SCHEMA}")  # a commit that syncs all before it
        connection.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """A reader may keep the WAL from being folded in; nothing is lost then."""
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("PRAGMA journal_mode=DELETE")
        self._connection.close()


def create(path: Path) -> Sqlite | None:
    """A new record in an empty file; None where WAL does not work. Raises sqlite3.Error."""
    connection = sqlite3.connect(path)
    try:
        if has_wal(connection):
            connection.executescript(f"BEGIN; {_CREATE} PRAGMA user_version={SCHEMA}; COMMIT;")
            return Sqlite(connection, 1, 0)
    except sqlite3.Error as error:
        if error.sqlite_errorname not in _WITHOUT_WAL:
            connection.close()
            raise
    connection.close()
    return None


def has_wal(connection: sqlite3.Connection) -> bool:
    """Switch to WAL, if that works here."""
    return connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)


def reopen(path: Path, from_step: int) -> Sqlite:
    """A new attempt; what a killed process left in the WAL is recovered.

    Raises RunError for a record of another version, or where WAL does not work any more.
    """
    connection = _connect(path, "rw")
    try:
        version = _version(connection, path)
        if version < SCHEMA:
            raise RunError(
                f"{path} is a record of version {version}, by an earlier thalweg (now {SCHEMA}): "
                "it can be read, not continued; train again"
            )
        if not has_wal(connection):
            raise RunError(f"{path} cannot be continued in this folder: move it to a local disk")
        (newest,) = connection.execute("SELECT max(attempt) FROM attempts").fetchone()
        return Sqlite(connection, newest + 1, from_step)
    except BaseException:
        connection.close()
        raise


def read(path: Path) -> Tables:
    """All rows, as of one moment. Raises sqlite3.Error, or RunError for a newer version."""
    try:
        return _read(path)
    except sqlite3.OperationalError:
        return _read_copy(path)  # a killed run in a read-only folder: no place for the WAL's index


def _read_copy(path: Path) -> Tables:
    """With its WAL, which holds what the killed run wrote last."""
    with TemporaryDirectory() as folder:
        for part in (path, path.with_name(f"{path.name}-wal")):
            if part.exists():
                copyfile(part, Path(folder, part.name))
        return _read(Path(folder, path.name))


def _read(path: Path) -> Tables:
    with closing(_connect(path, "ro")) as connection:
        connection.execute("BEGIN")
        version = _version(connection, path)
        tables = {table: list(_rows(connection, table, version)) for table in TABLES}
        return tables if version > 1 else {**tables, "attempts": [(1, 0, None)]}


def _rows(connection: sqlite3.Connection, table: str, version: int) -> Iterator[tuple[Any, ...]]:
    """In the order of writing; what version 1 did not have is None."""
    names = TABLES[table]
    if version == 1:
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if not known:
            return iter(())
        names = [name if name in known else "NULL" for name in names]
    return connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    check_version(version, path)
    return version
