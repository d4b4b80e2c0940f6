"""Runs of MLflow, trackio and wandb: read without their packages, and without a trace."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from foreign_kit import GENUINE, curve, read, written
from thalweg.cli.main import main
from thalweg.errors import DataError
from thalweg.record.foreign import exists, find_logs
from trackers_kit import (
    MLFLOW,
    TRACKERS,
    TRACKIO,
    WANDB,
    changed,
    copied,
    field,
    frames,
    item,
    row,
)

STORE = TRACKERS / "mlruns/288865150519683488"
STEADY, OVERFLOW = "9cd383f15701445ab06662ebb5080b46", "b394f270491340e1bcadbd0b553a8869"

RUNS = {
    "mlflow": (MLFLOW / "steady", MLFLOW / "overflow"),
    "mlflow's folder": (STORE / STEADY, STORE / OVERFLOW),
    "trackio": (TRACKIO / "steady", TRACKIO / "overflow"),
    "wandb": (WANDB, TRACKERS / "wandb/offline-run-overflow"),
}
"""The same two runs: one that went well, and one whose weights overflowed."""

ROLES = {"loss", "validation_loss", "lr", "gradient_norm"}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_read_whole(name):
    log = read(RUNS[name][0])
    assert (log.format, log.tool, log.unit) == (name.partition("'")[0], "", "step")
    assert set(log.series) - {"seconds"} == ROLES
    assert log.settings == {"lr": 0.02, "batch_size": 16, "optimizer": "sgd"}
    assert (len(log.series["loss"]), len(log.series["validation_loss"])) == (60, 12)
    assert log.series["loss"].steps[-1] == log.series["validation_loss"].steps[-1] == 60
    assert log.notes == []


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("role", sorted(ROLES))
def test_all_trackers_tell_the_same_also_of_what_is_not_finite(place, role):
    first, *others = [curve(read(runs[place]), role) for runs in RUNS.values()]
    for other in others:
        np.testing.assert_array_equal(first, other)
    values = [value for _, value in first]
    if place == 1 and role == "loss":
        assert math.isinf(values[30])
        assert math.isnan(values[-1])


@pytest.mark.parametrize("name", ["mlflow", "trackio", "wandb"])
def test_the_clock_tells_seconds(name):
    if name == "trackio":
        pytest.skip("it stamped all rows of its short run alike")
    assert 0 < np.median(read(RUNS[name][0]).series["seconds"].values) < 1


# ------------------------------------------------------------ several runs in one place


@pytest.mark.parametrize("file", [MLFLOW, TRACKIO])
def test_a_database_lists_its_runs(file):
    assert find_logs(str(file)) == [file / "steady", file / "overflow"]
    assert exists(str(file / "steady"))
    assert not exists(str(file.parent / "none" / "steady"))


def test_a_folder_lists_all_that_is_in_it():
    found = [str(path.relative_to(GENUINE)) for path in find_logs(str(TRACKERS))]
    assert found == [
        *("trackers/mlflow.db/steady", "trackers/mlflow.db/overflow"),
        *("trackers/trackio.db/steady", "trackers/trackio.db/overflow"),
        f"trackers/mlruns/288865150519683488/{STEADY}",
        f"trackers/mlruns/288865150519683488/{OVERFLOW}",
        "trackers/wandb/offline-run-overflow/run-overflow.wandb",
        "trackers/wandb/offline-run-steady/run-steady.wandb",
    ]


def test_what_lies_beside_a_run_of_wandb_is_no_other_run(tmp_path):
    written(tmp_path, "wandb/run-1/run-1.wandb", WANDB.read_bytes())
    text = "".join(f"step {i} loss {1 / i}\n" for i in range(1, 9))
    written(tmp_path, "wandb/run-1/files/output.log", text)
    (tmp_path / "wandb/latest-run").symlink_to("run-1")
    assert find_logs(str(tmp_path)) == [tmp_path / "wandb/run-1/run-1.wandb"]
    assert len(read(tmp_path / "wandb/latest-run").series["loss"]) == 60


def test_a_run_by_its_id():
    with closing(sqlite3.connect(MLFLOW)) as connection:
        (run,) = connection.execute("SELECT run_uuid FROM runs WHERE name = 'steady'").fetchone()
    assert curve(read(MLFLOW / run), "loss") == curve(read(MLFLOW / "steady"), "loss")


def test_a_name_that_is_not_there():
    with pytest.raises(DataError, match=r"has no run 'stedy': did you mean 'steady'\?"):
        read(MLFLOW / "stedy")
    with pytest.raises(DataError, match="its runs are steady, overflow"):
        read(TRACKIO / "zzz")


def test_two_runs_of_one_name_are_told_by_their_ids(tmp_path):
    path = changed(MLFLOW, tmp_path, "UPDATE runs SET name = 'same' WHERE name != 'sweep'")
    found = find_logs(str(path))
    assert len({each.name for each in found}) == 2
    assert all(len(each.name) == 32 for each in found)
    assert read(found[0]).series
    with pytest.raises(DataError, match="has 2 runs called 'same': name one by its id"):
        read(path / "same")


@pytest.mark.parametrize("name", ["sweep/lr=0.1", "a b", "../up", "/etc", ".", "", "a//b"])
def test_any_name_can_be_asked_for(tmp_path, name):
    path = changed(
        TRACKIO,
        tmp_path,
        "DELETE FROM metrics WHERE run_name = 'overflow'",
        f"UPDATE metrics SET run_name = '{name}'",
    )
    (found,) = find_logs(str(path))
    is_plain = name in ("sweep/lr=0.1", "a b")
    assert (found == path / name) == is_plain
    assert is_plain or len(found.name) == 32
    assert len(read(found).series["loss"]) == 60


def test_deleted_runs_and_those_without_a_loss_are_left_out(tmp_path):
    with closing(sqlite3.connect(MLFLOW)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM runs")}
    assert names == {"steady", "overflow", "sweep"}, "the last has no metrics"
    delete = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'steady'"
    assert [path.name for path in find_logs(str(changed(MLFLOW, tmp_path, delete)))] == ["overflow"]
    place = tmp_path / "mlruns/1/abc"
    for file in (STORE / STEADY).rglob("*"):
        if file.is_file():
            written(place, str(file.relative_to(STORE / STEADY)), file.read_bytes())
    assert find_logs(str(tmp_path / "mlruns")) == [place]
    meta = (place / "meta.yaml").read_text()
    written(place, "meta.yaml", meta.replace("stage: active", "stage: deleted"))
    with pytest.raises(DataError, match="holds no log that is known"):
        find_logs(str(tmp_path / "mlruns"))


def test_diagnose_takes_one_run_or_all(capsys):
    assert main(["diagnose", str(MLFLOW)]) == 4
    told = capsys.readouterr().err
    assert f"holds 2 runs: diagnose each with --all, or name one of {MLFLOW}/steady" in told
    assert main(["diagnose", str(MLFLOW / "steady")]) == 0
    assert main(["diagnose", str(TRACKIO / "overflow"), "--against", str(WANDB)]) == 3
    told = capsys.readouterr().out
    assert "TW001" in told
    assert main(["diagnose", str(TRACKERS), "--all", "--json"]) == 3
    formats = [each["source"]["format"] for each in json.loads(capsys.readouterr().out)["runs"]]
    assert formats == ["mlflow"] * 2 + ["trackio"] * 2 + ["mlflow"] * 2 + ["wandb"] * 2


# ------------------------------------------------------------ as people log


def entries(path: Path, rows) -> None:
    """Into MLflow's database, in place of what was logged."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (run,) = connection.execute("SELECT run_uuid FROM runs WHERE name = 'steady'").fetchone()
        connection.execute("DELETE FROM metrics")
        connection.executemany(
            "INSERT INTO metrics(key, value, timestamp, run_uuid, step, is_nan) "
            f"VALUES (?, ?, ?, '{run}', ?, 0)",
            rows,
        )


def test_metrics_that_were_logged_without_a_step(tmp_path):
    path = copied(MLFLOW, tmp_path)
    rows = [(name, 1 / i, 1000 * i, 0) for i in range(1, 31) for name in ("loss", "lr")]
    entries(path, [*rows, ("val_loss", 0.5, 15_001, 0), ("val_loss", 0.4, 30_001, 0)])
    log = read(path)
    assert log.unit == "row"
    assert curve(log, "loss") == [(i - 1, 1 / i) for i in range(1, 31)]


def test_the_load_of_the_machine_is_no_metric(tmp_path):
    path = copied(MLFLOW, tmp_path)
    names = ("loss", "system/gpu_loss", "system/cpu_utilization_percentage", "step")
    entries(path, [(name, 1 / i, i, i) for i in range(1, 9) for name in names])
    assert read(path).series["loss"].name == "loss"
    with pytest.raises(DataError, match="no column 'system/gpu_loss'"):
        read(path, loss="system/gpu_loss")


def test_infinities_of_mlflow_keep_their_sign(tmp_path):
    path = copied(MLFLOW, tmp_path)
    huge = 1.7976931348623157e308
    entries(path, [("loss", value, i, i) for i, value in enumerate([1.0, huge, -huge, 2.0])])
    assert [value for _, value in curve(read(path), "loss")] == [1.0, math.inf, -math.inf, 2.0]


def test_nested_rows_and_early_versions_of_trackio(tmp_path):
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE metrics(id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, "
            "step INTEGER, metrics TEXT)"
        )
        text = '{"train": {"loss": %}, "note": "x", "seen": true}'
        rows = [
            (f"2026-01-01T00:00:0{i}", "a", i, text.replace("%", v)) for i, v in enumerate("9876")
        ]
        rows += [
            ("?", "a", 4, text.replace("%", '"NaN"')),
            ("", "a", 5, text.replace("%", '"-Infinity"')),
            ("", "a", 6, "{"),
        ]
        connection.executemany(
            "INSERT INTO metrics(timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", rows
        )
    log = read(path)
    assert log.series["loss"].name == "train.loss"
    np.testing.assert_array_equal(log.series["loss"].values, [9, 8, 7, 6, math.nan, -math.inf])
    np.testing.assert_array_equal(log.series["seconds"].values, [1, 1, 1])


def wandb(folder: Path, *records: bytes) -> Path:
    return written(folder, "run-1.wandb", frames(records))


@pytest.mark.parametrize(
    ("counter", "tool"),
    [("train/global_step", "huggingface"), ("trainer/global_step", "lightning")],
)
def test_a_trainer_behind_wandb_is_known_and_counts_its_own_steps(tmp_path, counter, tool):
    rows = [
        row(i, item("train/loss", 1 / i), item(counter, 50 * i), item("_step", i))
        for i in range(1, 9)
    ]
    log = read(wandb(tmp_path, *rows))
    assert log.tool == tool
    assert log.series["loss"].steps.tolist() == [50 * i for i in range(1, 9)]


def test_all_kinds_of_wandbs_values(tmp_path):
    typed = field(1, field(2, b"lr") + b"\x31" + struct.pack("<d", 0.25))
    whole = field(1, field(2, b"val_loss") + field(5, 6))
    long = item("x" * 300, 1)
    rows = [
        row(
            i,
            item(("train", "loss"), value),
            typed,
            whole,
            long,
            item("_step", i),
            item("rows", [1]),
            item("text", "a" * 200),
            item("picture", {"_type": "image", "size": 1}),
        )
        for i, value in enumerate([1.5, "NaN", math.nan, math.inf, "Infinity", None, 2])
    ]
    config = field(4, item("optim", {"lr": 0.1}) + item("batch_size", 4) + item("_wandb", {"a": 1}))
    hidden, step = field(200, b"hidden"), field(2, field(1, 9))
    rows += [row(9, hidden, item(("train", "loss"), 1), item("_step", 9), step)]
    later = field(5, item("max_grad_norm", 2.5))
    log = read(wandb(tmp_path, field(17, field(1, b"id") + config), *rows, later))
    values = [1.5, math.nan, math.nan, math.inf, math.inf, 2, 1]
    np.testing.assert_array_equal(log.series["loss"].values, values)
    assert log.series["loss"].name == "train.loss"
    assert set(log.series["lr"].values) == {0.25}
    assert set(log.series["validation_loss"].values) == {3}
    assert log.settings == {"lr": 0.1, "batch_size": 4, "clip": 2.5}
    with pytest.raises(DataError, match=r"no column 'picture\.size'"):
        read(tmp_path / "run-1.wandb", loss="picture.size")


FILES = {
    "mlflow": "mlruns/1/e680960a2f5041b1a4c88984353503ae/artifacts",
    "mlflow's folder": f"mlruns/288865150519683488/{OVERFLOW}/artifacts",
    "wandb": "wandb/offline-run-overflow/files",
}


@pytest.mark.parametrize("name", FILES)
def test_the_last_good_checkpoint_that_a_tracker_kept_is_named(name, tmp_path, capsys):
    shutil.copytree(TRACKERS, tmp_path / "all")
    run = tmp_path / "all" / RUNS[name][1].relative_to(TRACKERS)
    place = tmp_path / "all" / FILES[name]
    for inner in ("checkpoint-3", "checkpoint-5", "checkpoints/step_2", "epoch_1"):
        (place / inner).mkdir(parents=True)
        (place / inner / "model.safetensors").write_bytes(b"weights")
    (place / "checkpoint-30.pt").write_bytes(b"weights")
    assert main(["diagnose", str(run), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["last_good_checkpoint"] == {"step": 5, "path": str(place / "checkpoint-5")}
    main(["diagnose", str(run)])
    text = "".join(capsys.readouterr().out.split())
    assert f"lastgoodcheckpoint:{place / 'checkpoint-5'},ofstep5" in text


def test_where_mlflow_wrote_its_files_is_read_from_the_database(tmp_path):
    place = tmp_path / "elsewhere" / "some where"
    (place / "checkpoint-5").mkdir(parents=True)
    (place / "checkpoint-5" / "model.pt").write_bytes(b"weights")
    file = tmp_path / "mlflow.db"
    shutil.copy(MLFLOW, file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = ?", (place.as_uri(),))
    assert read(file / "overflow").checkpoints == {5: str(place / "checkpoint-5")}
