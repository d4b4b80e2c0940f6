"""MLflow's runs: of its SQLite file, and of the folder of text files that it wrote before."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from thalweg.errors import DataError
from thalweg.record.foreign.names import is_told
from thalweg.record.foreign.nested import read_yaml, scalar
from thalweg.record.foreign.tracked import Tracked, of_entries

META, METRICS, PARAMS, ARTIFACTS = "meta.yaml", "metrics", "params", "artifacts"
"""What the folder of a run holds."""

_INFINITE = 1.7976931348623157e308
"""What MLflow's database has for an infinity: the largest number."""

_TOLD = """
    SELECT metrics.run_uuid, name, key FROM metrics JOIN runs USING (run_uuid)
    WHERE lifecycle_stage = 'active' GROUP BY metrics.run_uuid, key HAVING count(*) > 1
    ORDER BY start_time, metrics.run_uuid
"""
_ENTRIES = (
    "SELECT key, step, value, is_nan, timestamp FROM metrics WHERE run_uuid = ? ORDER BY rowid"
)


def is_one(connection: sqlite3.Connection) -> bool:
    """Has it the tables of MLflow?"""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    return {"experiments", "runs", "metrics", "params"} <= names


def runs(connection: sqlite3.Connection) -> dict[str, str]:
    """The name of each run that holds a curve of a loss, by its id; deleted ones are left out."""
    return {run: name or "" for run, name, key in connection.execute(_TOLD) if is_told(key)}


def read(connection: sqlite3.Connection, run: str) -> Tracked:
    """The run of an id."""
    rows = connection.execute(_ENTRIES, (run,)).fetchall()
    entries = (
        (key, step, math.nan if is_nan else _whole(value), stamp / 1e3)
        for key, step, value, is_nan, stamp in rows
    )
    params = connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,))
    return Tracked("mlflow", of_entries(entries), {key: scalar(value) for key, value in params})


def artifacts_of(connection: sqlite3.Connection, run: str, beside: Path) -> Path | None:
    """Where a run keeps its files, if it lies on this machine: as it is written, or in a folder
    beside the database.
    """
    query = "SELECT artifact_uri, experiment_id FROM runs WHERE run_uuid = ?"
    try:
        uri, experiment = connection.execute(query, (run,)).fetchone()
    except sqlite3.Error:
        return None
    written = unquote(urlsplit(str(uri or "")).path)
    inner = f"{experiment}/{run}/{ARTIFACTS}"
    places = [beside / "mlruns" / inner, beside / "mlartifacts" / inner]
    places = [beside / written, *places] if written else places
    return next((each for each in places if each.is_dir()), None)


def _whole(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= _INFINITE else value


# ------------------------------------------------------------ folders


def is_run(folder: Path) -> bool:
    """Is it the folder of one run?"""
    return (folder / META).is_file() and (folder / METRICS).is_dir()


def has_loss(folder: Path) -> bool:
    """Does the folder of a run that was not deleted hold a loss?"""
    meta = read_yaml(_text(folder / META))
    is_deleted = meta.get("lifecycle_stage") == "deleted"
    return not is_deleted and any(is_told(name) for name, _ in _files(folder / METRICS))


def read_folder(folder: Path) -> Tracked:
    """The run of a folder: a file for each metric, with "milliseconds value step" in each line.

    Raises DataError for a file that cannot be read.
    """
    rows, num_bad = [], 0
    for name, file in _files(folder / METRICS):
        for line in _text(file).splitlines():
            try:
                stamp, value, step = line.split()[:3]
                rows.append((float(stamp) / 1e3, name, int(step), float(value)))
            except ValueError:
                num_bad += 1
    rows.sort(key=lambda row: (row[0], row[2]))
    entries = ((name, step, value, seconds) for seconds, name, step, value in rows)
    params = {name: scalar(_text(file)) for name, file in _files(folder / PARAMS)}
    notes = (f"{num_bad:,} lines are no values: left out",) if num_bad else ()
    return Tracked("mlflow", of_entries(entries), params, notes, folder / ARTIFACTS)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each file below with its name, in which slashes are folders."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
