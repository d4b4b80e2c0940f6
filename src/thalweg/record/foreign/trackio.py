"""trackio's runs: a table of its SQLite file holds each row as JSON, another one the settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from thalweg.record.foreign.names import is_told
from thalweg.record.foreign.nested import flat
from thalweg.record.foreign.tracked import STEP, Gathered, Tracked, loaded

_HEAD = 200
"""Rows of a run in which its loss is looked for."""


def is_one(connection: sqlite3.Connection) -> bool:
    """Has it the tables of trackio?"""
    return {"run_name", "step", "metrics", "timestamp"} <= _columns(connection, "metrics")


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _key(connection: sqlite3.Connection, table: str) -> str:
    """The column that tells runs apart; early versions had names alone."""
    return "run_id" if "run_id" in _columns(connection, table) else "run_name"


def runs(connection: sqlite3.Connection) -> dict[str, str]:
    """The name of each run that holds a loss, by its id."""
    key = _key(connection, "metrics")
    rows = connection.execute(
        f"SELECT {key}, max(run_name) FROM metrics GROUP BY {key} HAVING count(*) > 1 "
        "ORDER BY min(id)"
    )
    return {run: name for run, name in rows.fetchall() if _has_loss(connection, key, run)}


def _has_loss(connection: sqlite3.Connection, key: str, run: str) -> bool:
    rows = connection.execute(f"SELECT metrics FROM metrics WHERE {key} = ? LIMIT {_HEAD}", (run,))
    return any(is_told(name) for (text,) in rows for name in dict(flat(loaded(text))))


def read(connection: sqlite3.Connection, run: str) -> Tracked:
    """The run of an id."""
    key = _key(connection, "metrics")
    gathered, stamps = Gathered(), []
    for step, stamp, text in connection.execute(
        f"SELECT step, timestamp, metrics FROM metrics WHERE {key} = ? ORDER BY id", (run,)
    ).fetchall():
        gathered.row({**_plain(loaded(text)), STEP: step})
        stamps.append(_seconds(stamp))
    cells = gathered.cells()
    cells.stamps = np.array(stamps, dtype=np.float64)
    return Tracked("trackio", cells, _settings(connection, run))


def _plain(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """As it is, where nothing in it is nested."""
    return dict(flat(row)) if dict in map(type, row.values()) else row


def _seconds(stamp: str) -> float:
    """A time as trackio writes it, since 1970; NaN where it is none."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, TypeError):
        return np.nan


def _settings(connection: sqlite3.Connection, run: str) -> dict[str, Any]:
    if not _columns(connection, "configs"):
        return {}
    key = _key(connection, "configs")
    rows = connection.execute(f"SELECT config FROM configs WHERE {key} = ?", (run,))
    config = dict(flat(loaded((rows.fetchone() or ("",))[0])))
    return {name: value for name, value in config.items() if not name.startswith("_")}
