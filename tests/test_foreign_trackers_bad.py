"""Damaged files of MLflow, trackio and wandb, and such as a job is still writing."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

import numpy as np
import pytest

from foreign_kit import curve, read, written
from thalweg.errors import DataError
from thalweg.record.foreign import Columns, find_logs, read_logs
from trackers_kit import BLOCK, MLFLOW, TRACKIO, WANDB, changed, copied, frames, item, row

# ------------------------------------------------------------ damage


def test_a_file_of_wandb_that_is_cut_is_read_to_the_cut(tmp_path):
    raw = WANDB.read_bytes()
    assert len(raw) > BLOCK, "so that a record is parted by a block's end"
    log = read(written(tmp_path, "run-1.wandb", raw[: len(raw) // 2]))
    (note,) = log.notes
    assert "run-1.wandb is cut after" in note
    assert 10 < len(log.series["loss"]) < 60
    assert curve(log, "loss") == curve(read(WANDB), "loss")[: len(log.series["loss"])]


@pytest.mark.parametrize("left", range(9))
def test_a_block_of_wandb_may_end_anywhere(tmp_path, left):
    texts = (row(0, item("note", "x" * count)) for count in range(BLOCK - 60, BLOCK))
    first = next(record for record in texts if len(frames([record])) == BLOCK - left)
    raw = frames([first, *(row(i, item("loss", 1 / i), item("_step", i)) for i in range(1, 9))])
    log = read(written(tmp_path, "run-1.wandb", raw))
    assert (len(log.series["loss"]), log.notes) == (8, [])


def test_a_wrong_checksum_of_wandb_is_read_up_to_there(tmp_path):
    raw = bytearray(WANDB.read_bytes())
    raw[len(raw) // 2] ^= 1
    log = read(written(tmp_path, "run-1.wandb", bytes(raw)))
    assert any("has a wrong checksum after" in note for note in log.notes)
    assert 10 < len(log.series["loss"]) < 60


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is no log of wandb"),
        (b"hello", "is no log of wandb"),
        (WANDB.read_bytes()[:7], "holds no history"),
        (WANDB.read_bytes()[:300], "holds no history: it is cut after"),
        (frames([row(1, item("loss", 1.0))]), "has one row with a loss"),
        (
            frames([row(i, item("width", 1.0)) for i in range(9)]),
            "none of its columns names a loss",
        ),
    ],
)
def test_files_of_wandb_that_say_nothing(tmp_path, raw, says):
    with pytest.raises(DataError, match=says) as refused:
        read(written(tmp_path, "run-1.wandb", raw))
    assert "\n" not in str(refused.value)


EMPTY = {
    "another database": ("CREATE TABLE metrics(a)", "is an SQLite file, and neither MLflow's nor"),
    "no table": ("PRAGMA user_version = 3", "is an SQLite file, and neither MLflow's nor"),
}


@pytest.mark.parametrize(("statement", "says"), EMPTY.values(), ids=EMPTY)
def test_databases_of_others(tmp_path, statement, says):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(DataError, match=says):
        read(path)
    with pytest.raises(DataError, match="holds no log that is known"):
        find_logs(str(tmp_path))


def test_an_empty_file_and_databases_without_runs(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        read(written(tmp_path, "mlflow.db", b""))
    for file in (MLFLOW, TRACKIO):
        with pytest.raises(DataError, match="holds no run with a loss"):
            read(changed(file, tmp_path, "DELETE FROM metrics"))
        with pytest.raises(DataError, match="holds no run with a loss"):
            read_logs(tmp_path / file.name / "steady", "it", Columns())


@pytest.mark.parametrize("file", [MLFLOW, TRACKIO, WANDB], ids=["mlflow", "trackio", "wandb"])
@pytest.mark.parametrize("seed", range(8))
def test_damage_never_raises_anything_else(tmp_path, file, seed):
    rng = np.random.default_rng(seed)
    raw = np.frombuffer(file.read_bytes(), np.uint8).copy()
    raw[rng.integers(16, len(raw), 40)] = rng.integers(0, 256, 40)
    raw = raw[: len(raw) if seed % 2 else int(rng.integers(100, len(raw)))]
    with suppress(DataError):
        for found in find_logs(str(written(tmp_path, file.name, raw.tobytes()))):
            with suppress(DataError):
                read_logs(found, "it", Columns())


# ------------------------------------------------------------ while it is written


def test_reading_leaves_no_trace_beside_the_file(tmp_path):
    for file in (MLFLOW, TRACKIO):
        path = copied(file, tmp_path)
        before = path.read_bytes()
        assert read(path / "steady").series
        assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mlflow.db", "trackio.db"]


ADD = (
    "INSERT INTO metrics(run_id, timestamp, run_name, step, metrics) "
    "SELECT run_id, timestamp, run_name, step + 60, metrics FROM metrics WHERE run_name = 'steady'"
)


def test_a_run_that_is_being_written_is_read_to_the_last_commit(tmp_path):
    path = copied(TRACKIO, tmp_path)
    with closing(sqlite3.connect(path, timeout=0)) as writer:
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        with writer:
            writer.execute(ADD)
        writer.execute(ADD.replace("60", "600"))
        assert len(read(path / "steady").series["loss"]) == 120
        writer.commit()
        assert len(read(path / "steady").series["loss"]) == 240


def test_a_program_that_writes_with_a_journal_is_not_held_up(tmp_path):
    path = copied(MLFLOW, tmp_path)
    with closing(sqlite3.connect(path, timeout=0)) as writer:
        writer.execute("DELETE FROM metrics WHERE step > 30")
        assert len(read(path / "steady").series["loss"]) == 60
        writer.commit()
        assert len(read(path / "steady").series["loss"]) == 30


@pytest.mark.parametrize("file", [MLFLOW, TRACKIO], ids=["journal", "wal"])
def test_what_a_killed_program_left_half_written_is_undone(tmp_path, file):
    path, place = copied(file, tmp_path), tmp_path / "killed"
    place.mkdir()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("UPDATE metrics SET step = step + 1000")
        for part in tmp_path.glob(f"{file.name}*"):
            if not part.name.endswith("-shm"):
                copied(part, place)
        writer.rollback()
    left = sorted(each.name for each in place.iterdir())
    assert len(left) == 2
    log = read(place / file.name / "steady")
    assert (len(log.series["loss"]), log.series["loss"].steps[-1]) == (60, 60)
