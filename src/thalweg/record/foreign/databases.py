"""SQLite files of experiment trackers: opened without a trace, and their runs found by name or id.

A run in a file is a path below it, as if the file were a folder: mlflow.db/steady.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from types import ModuleType

from thalweg.errors import DataError
from thalweg.record.foreign import mlflow, trackio
from thalweg.record.foreign.texts import NoLog
from thalweg.record.foreign.tracked import Tracked

_MAGIC = b"SQLite format 3\x00"
_WAL, _VERSION_AT = 2, 18
"""In byte 18 of the head stands 2 where the file has a WAL."""

_UNREADABLE = (sqlite3.Error, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What a damaged file provokes: in SQLite, or in the values read from it."""

_BESIDE = ("-wal", "-journal")
_TRACKERS: tuple[ModuleType, ...] = (mlflow, trackio)
MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A run in a database; run: as the user named it, "" for the only one"""

    file: Path
    run: str


def is_database(path: Path) -> bool:
    """Does it begin as an SQLite file does?"""
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
    return False


def place_of(path: Path) -> Place | None:
    """The database of a path, and the run below it; None where there is none."""
    for file in (path, *path.parents):
        if file.is_file():
            is_one = is_database(file)
            return (
                Place(file, str(path.relative_to(file)) if file != path else "") if is_one else None
            )
    return None


def runs_in(file: Path) -> list[Path]:
    """The runs of a database that hold a loss, as paths below it.

    Raises DataError where there is none, or the file is no tracker's.
    """
    with _opened(file) as (connection, tracker):
        names = tracker.runs(connection)
    if not names:
        raise NoLog(f"{file} holds no run with a loss")
    return [file / label for label in _labels(names)]


def read_run(place: Place) -> Tracked:
    """A run by its name or id. Raises DataError where there is no such run, or more than one."""
    with _opened(place.file) as (connection, tracker):
        names = tracker.runs(connection)
        run = _chosen(names, place)
        found = tracker.read(connection, run)
        if tracker is not mlflow:
            return found
        return replace(found, files=mlflow.artifacts_of(connection, run, place.file.parent))


def _chosen(names: dict[str, str], place: Place) -> str:
    """The id of a run."""
    if not names:
        raise DataError(f"{place.file} holds no run with a loss")
    fit = [run for run, name in names.items() if place.run in (run, name)]
    if not place.run and len(names) == 1:
        return next(iter(names))
    labels = _labels(names)
    if len(fit) == 1:
        return fit[0]
    if len(fit) > 1:
        raise DataError(
            f"{place.file} has {len(fit)} runs called {place.run!r}: name one by its id: "
            + ", ".join(fit[:MOST_LISTED])
        )
    near = get_close_matches(place.run, labels, n=1, cutoff=0.6)
    more = ", ..." if len(labels) > MOST_LISTED else ""
    shown = "its runs are " + ", ".join(labels[:MOST_LISTED]) + more
    hint = f"did you mean {near[0]!r}?" if near else shown
    raise DataError(f"{place.file} has no run {place.run!r}: {hint}")


def _labels(names: dict[str, str]) -> list[str]:
    """What each run is called: its name where that is its own and can stand in a path, else its
    id.
    """
    known = Counter(names.values())
    return [
        name if known[name] == 1 and _can_be_asked(name) else run for run, name in names.items()
    ]


def _can_be_asked(name: str) -> bool:
    """Does it come back from a path as it was?"""
    path = Path("x", name)
    return path.as_posix() == f"x/{name}" and ".." not in path.parts


# ------------------------------------------------------------ opening


@contextmanager
def _opened(file: Path) -> Iterator[tuple[sqlite3.Connection, ModuleType]]:
    """A connection that writes nothing, and the tracker whose tables it has.

    Raises DataError for what no tracker wrote, and for what is damaged or locked.
    """
    try:
        with _connected(file) as connection:
            tracker = next((each for each in _TRACKERS if each.is_one(connection)), None)
            if tracker is None:
                raise NoLog(f"{file} is an SQLite file, and neither MLflow's nor trackio's")
            yield connection, tracker
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    except _UNREADABLE as error:
        raise DataError(f"{file} cannot be read: {error}") from None


@contextmanager
def _connected(file: Path) -> Iterator[sqlite3.Connection]:
    """Of a file that a program has open, the last commit. (Where the journal that a killed program
    left has to be played back, or there is no place for the WAL's index, it is copied first.)
    """
    with closing(_connection(file)) as connection:
        if _is_readable(connection):
            yield connection
            return
    with TemporaryDirectory() as folder:
        for part in (file, *(file.with_name(file.name + end) for end in _BESIDE)):
            if part.exists():
                copyfile(part, Path(folder, part.name))
        with closing(sqlite3.connect(Path(folder, file.name))) as connection:
            yield connection


def _connection(file: Path) -> sqlite3.Connection:
    """A WAL that nobody has open leaves no file behind; without this the reader would make it."""
    with file.open("rb") as head:
        has_wal = head.read(_VERSION_AT + 1)[_VERSION_AT:] == bytes([_WAL])
    is_open = file.with_name(file.name + "-wal").exists()
    still = "&immutable=1" if has_wal and not is_open else ""
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro{still}", uri=True)


def _is_readable(connection: sqlite3.Connection) -> bool:
    """Raises sqlite3.DatabaseError for what is no database."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
        return False
    return True
