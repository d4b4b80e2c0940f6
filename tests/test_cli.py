"""Every command from end to end on real data, and the same from Python."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import gc
import io
import json
import math
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
import tomllib
import tty
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn import datasets
from torch import nn
from torch.nn import functional

import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, RunError, UsageError
from thalweg.jobs import defaults
from thalweg.record import read
from thalweg.schedules import BUILDERS, cosine, parse, warmup

QUICK = "--epochs 5 --model mlp:8 --quiet"


def table(name: str, target: str) -> pl.DataFrame:
    """A data set that ships with scikit-learn; classes by name."""
    found: Any = getattr(datasets, f"load_{name}")()
    names = [re.sub(r"\W+", "_", column) for column in found.feature_names]
    labels = found.target
    if "target_names" in found:
        labels = np.array(found.target_names)[labels].tolist()
    return pl.DataFrame(found.data, schema=names).with_columns(pl.Series(target, labels))


TABLES = {"iris": "species", "wine": "cultivar", "diabetes": "progression"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with each table as CSV and Parquet."""
    folder = tmp_path_factory.mktemp("data")
    for name, target in TABLES.items():
        frame = table(name, target)
        frame.write_csv(folder / f"{name}.csv")
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture
def here(data, tmp_path, monkeypatch) -> Path:
    """An empty working directory in which the tables stand as links."""
    for file in data.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def thalweg_(here, capsys):
    """Run a command line; exit code, standard output, standard error."""

    def run(words: str) -> tuple[int, str, str]:
        code = main(shlex.split(words))
        out, err = capsys.readouterr()
        assert "\r" not in err
        return code, out, err

    return run


@pytest.fixture
def fitted(thalweg_):
    """Fit with --json; the object."""

    def fit(words: str, code: int = 0) -> dict[str, Any]:
        found, out, _ = thalweg_(f"fit {words} --json")
        assert found == code
        return strict_json(out)

    return fit


def strict_json(text: str) -> dict[str, Any]:
    """The one object in a text, by the letter of the standard: no NaN, no Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


def weights(name: str) -> bytes:
    return Path("runs", name, "model.safetensors").read_bytes()


def settings_of(name: str) -> dict[str, Any]:
    return tomllib.loads(Path("runs", name, "run.toml").read_text())["settings"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", TABLES)
def test_fit_says_in_few_lines_how_it_went_and_what_to_do_next(name, kind, thalweg_):
    code, out, err = thalweg_(f"fit {name}.{kind} --target {TABLES[name]} --epochs 20")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) <= 20
    assert re.match(r"(Improving|Stalled|Finished): .*\.$", lines[0])
    words = [line.split()[0] for line in lines if line]
    assert words[-4:] == ["trained", "data", "report", "next"]
    assert "always" in words
    assert "decision" in words

    rows = table(name, TABLES[name]).height
    assert err.splitlines()[0] == f"reading {name}.{kind}"
    assert f"{rows} rows" in err
    assert TABLES[name] in err
    assert not [line for line in err.splitlines() if line in lines]


NAMES = {
    "schema",
    "command",
    "status",
    "run",
    "task",
    "optimizer",
    "lr",
    "batch_size",
    "steps",
    "epochs",
    "seconds",
    "train",
    "validation",
    "test",
    "baselines",
    "verdict",
}


@pytest.mark.parametrize(("name", "kind"), [("iris", "classification"), ("diabetes", "regression")])
def test_fit_json_is_one_object_with_the_names_that_were_promised(name, kind, fitted):
    result = fitted(f"{name}.csv --target {TABLES[name]} {QUICK}")
    assert set(result) >= NAMES
    assert (result["schema"], result["command"]) == (1, "fit")
    assert result["run"] == f"runs/{name}-1"
    frame = table(name, TABLES[name])
    assert result["task"]["kind"] == kind
    assert result["task"]["rows"] == frame.height
    assert result["task"]["features"] == frame.width - 1
    assert result["task"]["classes"] == (3 if kind == "classification" else None)
    assert result["epochs"] == 5
    metrics = {"accuracy"} if kind == "classification" else {"rmse", "r2"}
    for part in ("train", "validation", "test"):
        more = {"log_loss"} if kind == "classification" else set()  # its labels are smoothed
        assert set(result[part]) == {"loss", *metrics, *more}
    for baseline in ("constant", "tree"):
        assert metrics <= set(result["baselines"][baseline])
    verdict = result["verdict"]
    assert {"state", "healthy", "findings", "not_checkable"} <= set(verdict)
    assert verdict["state"] in ("improving", "stalled", "unknown")
    assert verdict["healthy"] is (None if verdict["state"] == "unknown" else True)
    assert verdict["findings"] == []


def test_json_is_strict_where_numbers_are_not(thalweg_, fitted):
    rows = "".join(f"{i}.5,{i % 3}.5\n" for i in range(10))
    Path("ten.csv").write_text(f"x,y\n{rows}")
    result = fitted(f"ten.csv --target y --task regression {QUICK}")
    assert result["test"]["r2"] == "NaN", "one row has no variation to explain"

    code, out, _ = thalweg_("evaluate ten-1 ten.csv --json")
    assert code == 0
    assert strict_json(out)["test"]["r2"] == "NaN"
    Path("one.csv").write_text("x,y\n1,2\n")
    code, out, _ = thalweg_("evaluate ten-1 one.csv --json")
    assert code == 0
    assert strict_json(out)["scores"]["r2"] == "NaN"
    assert thalweg_("evaluate ten-1 one.csv")[0] == 0
    assert thalweg_("fit ten.csv --target y --task regression --epochs 1")[0] == 0


def test_the_run_on_disk_is_whole(fitted):
    result = fitted(f"iris.csv --target species {QUICK}")
    folder = Path(result["run"])
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "run.toml",
        "schema.toml",
        "record.sqlite",
        "model.safetensors",
        "report.html",
        "verdict.json",
        "run.manifest",
        "checkpoints",
    }
    assert json.loads((folder / "verdict.json").read_text()) == result["verdict"]
    manifest = json.loads((folder / "run.manifest").read_text())["files"]
    assert set(manifest) == files - {"run.manifest", "checkpoints"}
    for name, entry in manifest.items():
        assert entry["size"] == (folder / name).stat().st_size
    history = thalweg.load(folder).record
    assert len(history.steps["loss"]) == result["steps"]
    assert history.evaluations
    assert history.environment["data"] == "iris.csv"


def test_predict_and_evaluate(thalweg_, fitted):
    fitted("iris.csv --target species --epochs 30 --model mlp:8 --quiet --name flowers")
    code, out, err = thalweg_("predict flowers iris.csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    frame = table("iris", "species")
    classes = frame["species"].unique().sort().to_list()
    assert (code, err) == (0, "")
    assert list(rows[0]) == ["prediction", *(f"probability_{name}" for name in classes)]
    assert len(rows) == frame.height
    for row in rows:
        chances = [float(row[f"probability_{name}"]) for name in classes]
        assert sum(chances) == pytest.approx(1)
        assert row["prediction"] == classes[int(np.argmax(chances))]

    right = [row["prediction"] == label for row, label in zip(rows, frame["species"], strict=True)]
    code, out, _ = thalweg_("evaluate flowers iris.csv --json")
    result = strict_json(out)
    assert code == 0
    assert result["command"] == "evaluate"
    assert result["task"] == {"kind": "classification", "rows": 150}
    assert result["scores"]["accuracy"] == pytest.approx(np.mean(right))
    code, out, _ = thalweg_("evaluate flowers iris.csv")
    assert out.splitlines()[0] == "150 rows scored with runs/flowers"
    assert f"{np.mean(right):.4g}" in out


def test_predict_numbers_in_their_own_unit(thalweg_, fitted):
    fitted(f"diabetes.csv --target progression {QUICK} --name sugar")
    _, out, _ = thalweg_("predict sugar diabetes.csv")
    predicted = pl.read_csv(io.StringIO(out))["prediction"].to_numpy()
    actual = table("diabetes", "progression")["progression"].to_numpy()
    rmse = math.sqrt(np.square(predicted - actual).mean())
    r2 = 1 - np.square(predicted - actual).mean() / actual.var()
    _, out, _ = thalweg_("evaluate sugar diabetes.csv --json")
    scores = strict_json(out)["scores"]
    assert scores["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert scores["r2"] == pytest.approx(r2, rel=1e-4)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_predict_to_a_file(kind, thalweg_, fitted):
    fitted(f"iris.csv --target species {QUICK}")
    _, shown, _ = thalweg_("predict last iris.parquet")
    code, out, err = thalweg_(f"predict last iris.parquet --to new.{kind}")
    assert (code, out, err) == (0, "", f"wrote new.{kind}\n")
    read = pl.read_csv if kind == "csv" else pl.read_parquet
    assert read(f"new.{kind}").equals(pl.read_csv(io.StringIO(shown)))
    assert [path.name for path in Path().glob(".*")] == []


def test_runs_are_listed_found_and_deleted(thalweg_, fitted):
    assert thalweg_("runs") == (0, "no run in runs yet\n", "")
    for name in ("b", "a"):
        fitted(f"iris.csv --target species {QUICK} --name {name}")
    fitted(f"iris.csv --target species {QUICK}")
    fitted(f"iris.csv --target species {QUICK}")

    _, out, _ = thalweg_("runs")
    assert [line.split()[0] for line in out.splitlines()] == ["b", "a", "iris-1", "iris-2"]
    assert "kB" in out
    _, out, _ = thalweg_("runs --json")
    listed = strict_json(out)
    sizes = {row["name"]: row["bytes"] for row in listed["runs"]}
    for name, size in sizes.items():
        assert size == sum(
            path.stat().st_size for path in Path("runs", name).rglob("*") if path.is_file()
        )

    for run in ("a", "runs/a", str(Path("runs/a").resolve()), "./runs/a/"):
        assert thalweg_(f"report {run}")[0] == 0
    _, out, _ = thalweg_("runs delete last --json")
    assert strict_json(out) == {
        "schema": 1,
        "command": "runs delete",
        "run": "runs/iris-2",
        "bytes": sizes["iris-2"],
    }
    assert thalweg_("runs delete a")[1].startswith("deleted runs/a (")
    assert {path.name for path in Path("runs").iterdir()} == {"b", "iris-1"}
    fitted(f"iris.csv --target species {QUICK}")
    assert Path("runs/iris-2").is_dir()


def test_report_builds_the_same_page_again(thalweg_, fitted):
    fitted(f"wine.csv --target cultivar {QUICK}")
    page = Path("runs/wine-1/report.html")
    before = page.read_bytes()
    page.unlink()
    assert thalweg_("report last") == (0, f"{page}\n", "")
    assert page.read_bytes() == before
    assert thalweg_("predict last wine.csv")[0] == 0


def test_demo(thalweg_):
    code, out, err = thalweg_("demo")
    assert code == 0
    assert len(out.splitlines()) <= 20
    assert "report    runs/digits-1/report.html" in out
    assert "1,797 rows" in err
    result = thalweg.load("runs/digits-1").result
    assert result["test"]["accuracy"] > 0.95
    assert result["seconds"] > 0


def test_the_same_seed_gives_the_same_bits_and_another_does_not(fitted):
    for name, seed in {"a": 3, "b": 3, "c": 4}.items():
        fitted(f"iris.csv --target species {QUICK} --seed {seed} --name {name}")
    assert weights("a") == weights("b")
    assert weights("a") != weights("c")


def test_csv_and_parquet_give_the_same_bits(fitted):
    for kind in ("csv", "parquet"):
        fitted(f"wine.{kind} --target cultivar {QUICK} --name {kind}")
    assert weights("csv") == weights("parquet")


def test_a_run_is_repeated_from_its_run_toml(fitted, thalweg_):
    asked = "--seed 7 --optimizer momentum:momentum=0.8 --lr 0.05 --schedule step --batch-size 13"
    first = fitted(f"wine.csv --target cultivar {QUICK} {asked} --warmup 3 --name first")
    again = fitted("--config runs/first/run.toml --quiet --name again")
    assert weights("first") == weights("again")
    assert settings_of("first") == settings_of("again")
    for name in ("lr", "steps", "train", "test", "baselines"):
        assert first[name] == again[name]
    assert said_apart_from_the_clock(first) == said_apart_from_the_clock(again)


def said_apart_from_the_clock(result):
    return [each for each in result["verdict"]["findings"] if each["code"] != "TW404"]


def test_options_beside_a_config_come_first_even_where_they_are_the_defaults(fitted):
    fitted(f"wine.csv --target cultivar {QUICK} --seed 7 --optimizer sgd --lr 0.05 --name first")
    fitted(
        "iris.csv --config runs/first/run.toml --target species --seed 0 --optimizer adamw "
        "--quiet --name second"
    )
    first, second = settings_of("first"), settings_of("second")
    assert (second["seed"], second["optimizer"], second["target"]) == (0, "adamw", "species")
    assert (second["lr"], second["model"]) == (first["lr"], first["model"])


def test_a_budget_of_time_fixes_the_horizon_and_a_repeat_reuses_it(fitted):
    words = "diabetes.csv --target progression --model mlp:8 --patience 100000 --quiet"
    result = fitted(f"{words} --time 1 --name first")
    horizon = settings_of("first")["horizon"]
    assert result["status"] == "budget"
    assert "1 seconds" in result["reason"] or "time budget" in result["reason"]
    assert result["seconds"] < 3
    assert result["steps"] <= horizon
    assert horizon > 50

    fitted("--config runs/first/run.toml --time 0.2s --quiet --name second")
    assert settings_of("second")["horizon"] == horizon
    rates = [thalweg.load(f"runs/{name}").record.steps["lr"][:20] for name in ("first", "second")]
    np.testing.assert_array_equal(*rates)


@pytest.mark.parametrize(
    ("size", "shown", "steps"),
    [("full", "full", 5), ("1", 1, 600), ("50", 50, 15), ("auto", 32, 20), ("500", 500, 5)],
)
def test_batch_size(size, shown, steps, fitted):
    result = fitted(f"iris.csv --target species {QUICK} --batch-size {size}")
    assert (result["batch_size"], result["steps"]) == (shown, steps)
    assert settings_of("iris-1")["batch_size"] == shown


SCHEDULES = sorted(BUILDERS.keys() - {"warmup"})


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [(name, "cosine") for name in defaults.LR] + [("adamw", name) for name in SCHEDULES],
)
def test_every_optimizer_and_every_schedule(optimizer, schedule, fitted):
    words = f"--optimizer {optimizer} --schedule {schedule}"
    result = fitted(f"iris.csv --target species --epochs 30 --model mlp:8 --quiet {words}")
    assert result["optimizer"] == optimizer
    assert result["lr"] == defaults.LR[optimizer]
    loss = thalweg.load("last").record.steps["loss"]
    assert result["train"]["loss"] < loss[0]


@pytest.mark.parametrize(
    "optimizer",
    ["sgd:weight_decay=0.1", "momentum:momentum=0.5", "adam:beta1=0.5,eps=1e-3", "adamw:beta2=0.9"],
)
def test_a_setting_of_the_optimizer_has_an_effect(optimizer, fitted):
    fitted(f"iris.csv --target species {QUICK} --name own --optimizer {optimizer}")
    plain = optimizer.partition(":")[0]
    fitted(f"iris.csv --target species {QUICK} --name plain --optimizer {plain}")
    assert weights("own") != weights("plain")
    assert settings_of("own")["optimizer"] == optimizer


@pytest.mark.parametrize(
    ("words", "schedule", "warmup"),
    [
        ("--schedule cosine:floor=0.5", "warmup(1) >> cosine(floor=0.5)", 1),
        ("--schedule 'cosine(floor=0.5)' --warmup 4", "warmup(4) >> cosine(floor=0.5)", 4),
        ("--schedule 'constant:5 >> linear'", "warmup(1) >> constant(5) >> linear()", 1),
        ("--schedule 'warmup(3) >> wsd'", "warmup(3) >> wsd()", None),
        ("--schedule 'warmup:0 >> step' --warmup 0", "step()", None),
        ("--schedule one_cycle", "one_cycle()", None),
    ],
)
def test_a_schedule_in_words(words, schedule, warmup, fitted):
    """It is followed, and repeated from run.toml; a warm-up of its own takes the other's place."""
    result = fitted(f"iris.csv --target species {QUICK} {words} --name first")
    chosen, steps = settings_of("first"), result["steps"]
    assert chosen.get("warmup") == warmup
    rates = [0.001 * parse(schedule)(number, steps) for number in range(1, steps + 1)]
    assert thalweg.load("runs/first").record.steps["lr"].tolist() == pytest.approx(rates, rel=1e-12)
    fitted("--config runs/first/run.toml --name second --quiet")
    assert weights("first") == weights("second")
    assert settings_of("second") == chosen


def test_a_schedule_may_be_an_object(here):
    schedule = warmup(3) >> cosine(floor=0.5)
    thalweg.fit("iris.csv", target="species", steps=9, schedule=schedule, quiet=True)
    assert settings_of("iris-1")["schedule"] == str(schedule)


def test_a_plateau_outlives_its_patience(fitted):
    """By default a run with a plateau goes on until its rate had the time to fall three times."""
    words = "--model mlp:32 --epochs 100 --quiet --schedule plateau:patience=3,factor=0.5 --lr 0.05"
    result = fitted(f"diabetes.csv --target progression {words}")
    lr = thalweg.load("last").record.steps["lr"]
    assert lr[-1] < 0.05
    assert settings_of("diabetes-1")["patience"] == 3 * 4
    assert result["status"] == "converged"


IDLE = {
    "the budget is short": ("plateau:patience=4", "--steps 60", True),
    "long enough": ("plateau:patience=1", "--steps 120", False),
    "the run loses patience": ("plateau:patience=4", "--steps 600 --patience 3", True),
    "no plateau": ("cosine", "--steps 60", False),
}


@pytest.mark.parametrize(("schedule", "words", "is_idle"), IDLE.values(), ids=IDLE)
def test_a_plateau_that_cannot_act_is_told(schedule, words, is_idle, here, capsys):
    given = f"fit iris.csv --target species --model mlp:8 --evaluate-every 20 --schedule {schedule}"
    assert main([*given.split(), *words.split()]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "cannot act" in line]
    assert len(lines) == is_idle, lines
    assert all("after 5 looks in a row" in line for line in lines)


def test_status_converged(fitted):
    words = "--patience 2 --lr 0.05 --model mlp:32 --epochs 1000 --quiet"
    result = fitted(f"diabetes.csv --target progression {words}")
    assert result["status"] == "converged"
    assert result["verdict"]["state"] == "finished"
    assert result["epochs"] < 1000


def test_status_budget(fitted):
    result = fitted("iris.csv --target species --steps 7 --quiet")
    assert (result["status"], result["steps"]) == ("budget", 7)
    assert result["verdict"]["state"] == "unknown", "one evaluation is no curve"


def test_status_reached(fitted):
    result = fitted("iris.csv --target species --until accuracy=0.6 --epochs 1000 --quiet")
    assert result["status"] == "reached"
    assert result["verdict"]["state"] == "finished"
    assert result["validation"]["accuracy"] >= 0.6


@pytest.mark.parametrize("model", ["linear", "mlp:8"])
def test_status_stopped(model, fitted, thalweg_):
    words = f"fit diabetes.csv --target progression --optimizer sgd --lr 1e12 --model {model}"
    code, out, err = thalweg_(words)
    assert code == 3
    assert out.startswith("Diverging: ")
    assert len(out.splitlines()) <= 20
    assert "lower the learning rate (it was 1e+12" in out.splitlines()[-1]
    assert "that update was not applied" in err

    result = fitted(f"{words.removeprefix('fit ')} --quiet", code=3)
    assert result["status"] == "stopped"
    assert result["verdict"]["state"] == "diverging"
    assert result["verdict"]["healthy"] is False
    finding = result["verdict"]["findings"][0]
    assert (finding["code"], finding["severity"]) == ("TW001", "act")
    assert finding["since_step"] <= result["steps"]
    assert thalweg_("runs")[1].count("diverging") == 2
    assert thalweg_("report last")[0] == 0


def begun(words: str, line: str) -> subprocess.Popen[str]:
    """A command in a process of its own, once it has said a line that starts so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "thalweg", *shlex.split(words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for said in process.stderr:
        if said.startswith(line):
            return process
    raise AssertionError(f"it never said {line!r}")


def wait_for_steps(name: str) -> None:
    """Until a run's record holds some."""
    for _ in range(200):
        time.sleep(0.05)
        with contextlib.suppress(RunError):
            if len(read(Path("runs", name)).steps["loss"]):
                return
    raise AssertionError(f"{name} took no step")


def test_status_interrupted(here, thalweg_):
    words = "fit iris.csv --target species --epochs 100000 --patience 100000 --name cut"
    process = begun(words, "adamw")
    wait_for_steps("cut")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)

    assert process.returncode == 130
    assert out.startswith("Unknown: interrupted by Ctrl-C")
    assert out.splitlines()[-1].endswith("; or go on to its end, thalweg resume runs/cut")
    assert "\r" not in err
    assert "Traceback" not in err
    run = thalweg.load("cut")
    assert run.result["status"] == "interrupted"
    assert (run.verdict.state, run.verdict.healthy) == ("unknown", None)
    assert len(run.record.steps["loss"]) == run.result["steps"]
    code, out, _ = thalweg_("predict cut iris.csv")
    assert code == 0
    assert len(out.splitlines()) == 151


def test_interrupted_before_the_first_step_leaves_nothing(here):
    process = begun("fit iris.csv --target species", "reading")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    if process.returncode == 0:
        pytest.skip("it was over before the signal came")
    assert process.returncode == 130
    if "Unknown" not in out:
        assert (out, err.splitlines()[-1]) == ("", "thalweg: interrupted")
        assert not list(Path().glob("runs/*"))


def process(words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *shlex.split(words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, **more)


def test_off_a_terminal_progress_is_plain_lines_on_standard_error(here):
    done = process("-m thalweg fit iris.csv --target species --epochs 3")
    assert done.returncode == 0
    assert "\r" not in done.stderr + done.stdout
    assert "\x1b" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    assert lines[0] == "reading iris.csv"
    assert all(line.strip() for line in lines)
    assert not set(lines) & set(filter(None, done.stdout.splitlines()))


def everything(terminal: int) -> bytes:
    """What waits at our end of a terminal; one reading brings 4,095 bytes at most."""
    os.set_blocking(terminal, False)
    found = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            found += os.read(terminal, 4096)
    return found


@pytest.mark.parametrize("columns", [0, 40, 200])
def test_on_a_terminal_there_is_one_live_line(columns, here, capsys, monkeypatch):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    tty.setraw(theirs)
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(shlex.split("fit iris.csv --target species --epochs 60 --model mlp:8")) == 0
        said = everything(ours).decode()
    os.close(ours)

    assert capsys.readouterr().out.startswith(("Improving", "Stalled", "Finished"))
    live = [part for part in said.split("\r\x1b[K") if part.startswith("step ")]
    moving = [line for line in live if "\n" not in line]
    assert moving
    assert all(len(line) < (columns or 100) for line in moving)
    assert said.endswith("\r\x1b[K"), "the live line is gone before the result is printed"


def test_quiet_says_nothing_but_the_result(thalweg_):
    code, out, err = thalweg_("fit iris.csv --target species --epochs 3 --quiet")
    assert (code, err) == (0, "")
    assert out


def test_version_from_both_doors(here):
    script = Path(sys.executable).with_name("thalweg")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == thalweg.__version__
    assert process("-m thalweg --version").stdout == done.stdout


COMMANDS = ["", "fit", "demo", "predict", "evaluate", "report", "runs", "runs delete"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers(command, thalweg_):
    code, out, err = thalweg_(f"{command} --help")
    assert (code, err) == (0, "")
    assert "Usage: thalweg" in out
    assert command in out


def test_help_of_fit_states_every_default(thalweg_):
    _, out, _ = thalweg_("fit --help")
    shown = " ".join(out.split())
    for row in defaults.TABLE:
        assert f"{row.name}: {row.rule}." in shown


def test_garbage_is_collected_again_once_a_command_is_loaded(thalweg_):
    gc.enable()
    thalweg_("runs")
    assert gc.isenabled()


LIGHT = ["--help", "fit --help", "--version", "runs", "report a", "runs delete a", "fit --lr 0"]
FIT_IRIS = "fit iris.csv --target species"
LIGHT += [
    f"{FIT_IRIS} --types species=foo",
    f"{FIT_IRIS} --init nosuch",
    f"{FIT_IRIS} --out iris.csv/x",
    f"{FIT_IRIS} --name a",
    f"{FIT_IRIS} --test nosuch.csv",
]


@pytest.mark.parametrize("words", LIGHT)
def test_light_commands_leave_torch_unloaded(words, fitted):
    fitted(f"iris.csv --target species {QUICK} --name a")
    program = (
        "import sys; from thalweg.cli.main import main; "
        f"main({shlex.split(words)!r}); "
        "print('torch' in sys.modules, 'sklearn' in sys.modules, file=sys.stderr)"
    )
    done = process(f"-c {shlex.quote(program)}")
    assert done.stderr.splitlines()[-1] == "False False"


def test_a_reader_that_goes_away_is_no_error(fitted, here):
    fitted(f"iris.csv --target species {QUICK} --name a")
    frame = pl.concat([table("iris", "species")] * 400)
    frame.write_csv("big.csv")
    words = [sys.executable, "-m", "thalweg", "predict", "a", "big.csv"]
    reader = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    done = subprocess.run(
        words, stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.close()
    assert reader.stdout.read().startswith(b"prediction,")
    reader.stdout.close()
    reader.wait()
    assert (done.returncode, done.stderr) == (0, "")


# from Python

LESS = {"out": None, "quiet": True, "epochs": 5}


def net(num_inputs: int = 4, num_outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(num_inputs, 8), nn.ReLU(), nn.Linear(8, num_outputs))


def arrays(name: str = "iris") -> tuple[np.ndarray, np.ndarray]:
    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    return (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), targets


class Pairs(torch.utils.data.Dataset):
    """A Dataset of (input, target) pairs."""

    def __init__(self) -> None:
        inputs, targets = arrays()
        self.inputs, self.targets = torch.tensor(inputs, dtype=torch.float32), targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.inputs[index], int(self.targets[index])


def test_fit_takes_a_path_and_frames_alike(here):
    frame = table("wine", "cultivar")
    sources = ["wine.csv", Path("wine.parquet"), frame, frame.to_pandas(), frame.to_arrow()]
    runs = [thalweg.fit(source, target="cultivar", **LESS) for source in sources]
    for run in runs[1:]:
        assert run.result["test"] == runs[0].result["test"]
        assert run.predict(frame).equals(runs[0].predict(frame))
    assert isinstance(runs[0].predict(frame.to_pandas()), pd.DataFrame)
    assert isinstance(runs[0].predict(frame), pl.DataFrame)


def test_fit_takes_inputs_and_targets():
    inputs, targets = arrays()
    pairs = [
        (inputs, targets),
        (inputs.tolist(), targets.tolist()),
        (torch.tensor(inputs), torch.tensor(targets)),
        (pl.DataFrame(inputs, schema=["x0", "x1", "x2", "x3"]), pl.Series(targets)),
        (pd.DataFrame(inputs, columns=["x0", "x1", "x2", "x3"]), pd.Series(targets)),
    ]
    runs = [thalweg.fit(pair, **LESS) for pair in pairs]
    for run in runs:
        assert run.result["test"] == runs[0].result["test"]
        assert run.predict(inputs)["prediction"].dtype == pl.Int64
    assert runs[0].evaluate((inputs, targets))["accuracy"] > 0.3


def test_a_frame_of_inputs_keeps_its_names():
    frame = table("iris", "species").to_pandas()
    run = thalweg.fit((frame.drop(columns="species"), frame["species"]), **LESS)
    assert run.schema is not None
    assert [column.name for column in run.schema.columns] == list(frame.columns[:4])
    assert set(run.predict(frame)["prediction"]) <= set(frame["species"])


@pytest.mark.parametrize("data", ["arrays", "tensors", "Dataset"])
def test_a_model_of_ones_own_is_trained_in_place(data):
    inputs, targets = arrays()
    given = {
        "arrays": (inputs, targets),
        "tensors": (torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)),
        "Dataset": Pairs(),
    }[data]
    own = net()
    before = [p.clone() for p in own.parameters()]
    run = thalweg.fit(given, model=own, loss="cross_entropy", lr=0.01, **{**LESS, "epochs": 30})
    assert run.model is own
    assert not any(torch.equal(p, q) for p, q in zip(before, own.parameters(), strict=True))
    assert run.result["task"]["kind"] == "classification"
    assert run.evaluate((inputs, targets))["accuracy"] > 0.8
    predicted = run.predict(inputs)
    assert predicted.columns == ["prediction", *(f"probability_{i}" for i in range(3))]
    with torch.no_grad():
        outputs = own(torch.tensor(inputs, dtype=torch.float32))
    assert predicted["prediction"].to_list() == outputs.argmax(dim=1).tolist()


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_a_model_of_numbers(shape):
    inputs, targets = arrays("diabetes")
    targets = (targets.reshape(shape) - targets.mean()) / targets.std()
    run = thalweg.fit(
        (inputs, targets), model=net(10, 1), loss="mse", **{**LESS, "epochs": 30}, lr=0.01
    )
    scores = run.evaluate((inputs, targets))
    predicted = run.predict(inputs)["prediction"].to_numpy()
    assert scores["rmse"] == pytest.approx(
        math.sqrt(np.square(predicted - targets.ravel()).mean()), rel=1e-5
    )
    assert scores["r2"] > 0.3


@pytest.mark.parametrize("loss", [functional.l1_loss, nn.L1Loss()])
def test_a_loss_of_ones_own(loss, tmp_path):
    inputs, targets = arrays("diabetes")
    targets = ((targets - targets.mean()) / targets.std()).astype(np.float32).reshape(-1, 1)
    run = thalweg.fit(
        (inputs, targets), model=net(10, 1), loss=loss, **{**LESS, "out": tmp_path}, name="own"
    )
    assert set(run.result["test"]) == {"loss"}
    assert run.result["task"]["kind"] is None
    assert run.result["baselines"] == {}
    assert "test loss" in str(run)

    loaded = thalweg.load(tmp_path / "own", model=net(10, 1))
    assert loaded.predict(inputs).equals(run.predict(inputs))
    with pytest.raises(DataError, match="a loss of its own"):
        loaded.evaluate((inputs, targets))


def test_a_run_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = thalweg.fit(arrays(), **LESS)
    assert run.folder is None
    assert run.result["run"] is None
    assert list(tmp_path.iterdir()) == []
    assert len(run.record.steps["loss"]) == run.result["steps"]
    assert {row.split for row in run.record.evaluations} == {"validation"}
    assert str(run.verdict).startswith(run.verdict.state)
    assert len(str(run).splitlines()) <= 20
    with pytest.raises(RunError, match="in memory"):
        run.report  # noqa: B018


def test_a_run_on_disk_is_loaded_as_it_was(tmp_path):
    frame = table("wine", "cultivar")
    run = thalweg.fit(frame, target="cultivar", **{**LESS, "out": tmp_path}, name="wine")
    assert run.folder == tmp_path / "wine"
    assert run.report.read_text().startswith("<!")
    for place in (run.folder, str(run.folder)):
        loaded = thalweg.load(place)
        assert type(loaded.model) is nn.Sequential
        assert loaded.predict(frame).equals(run.predict(frame))
        assert loaded.evaluate(frame) == run.evaluate(frame)
        assert loaded.verdict == run.verdict
        assert str(loaded) == str(run)
    assert thalweg.load("last", out=tmp_path).folder == run.folder


def test_a_model_given_as_an_object_is_given_again(tmp_path):
    inputs, targets = arrays()
    run = thalweg.fit((inputs, targets), model=net(), **{**LESS, "out": tmp_path}, name="own")
    with pytest.raises(RunError, match=r"load\(\.\.\., model="):
        thalweg.load(tmp_path / "own")
    other = net()
    loaded = thalweg.load(tmp_path / "own", model=other)
    assert loaded.model is other
    assert loaded.predict(inputs).equals(run.predict(inputs))
    with pytest.raises(RunError, match="size mismatch"):
        thalweg.load(tmp_path / "own", model=net(4, 2))


def test_fit_leaves_torch_as_it_was():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    thalweg.fit(arrays(), threads=2, **LESS)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_numpy_numbers_are_settings():
    run = thalweg.fit(
        arrays(), seed=np.int64(3), lr=np.float32(0.5), batch_size=np.int32(7), **LESS
    )
    assert (run.result["lr"], run.result["batch_size"]) == (0.5, 7)
    assert type(run.result["batch_size"]) is int


INPUTS, TARGETS = arrays()
WRONG = [
    ({"data": (INPUTS, TARGETS), "epoch": 3}, UsageError, "did you mean 'epochs'"),
    ({"data": (INPUTS, TARGETS), "lr": "0.1"}, UsageError, "lr is '0.1'"),
    ({"data": (INPUTS, TARGETS), "lr": True}, UsageError, "lr is True"),
    ({"data": (INPUTS, TARGETS), "steps": 2.5}, UsageError, "whole number"),
    ({"data": (INPUTS, TARGETS), "optimizer": torch.optim.Adam}, UsageError, "must be a text"),
    ({"data": (INPUTS, TARGETS), "model": nn.Linear}, UsageError, "give an nn.Module"),
    ({"data": (INPUTS, TARGETS), "model": 3}, UsageError, "give an nn.Module"),
    ({"data": (INPUTS, TARGETS[:-1])}, DataError, "there must be one for each"),
    ({"data": (INPUTS[:, 0], TARGETS)}, DataError, r"inputs have shape \(150,\)"),
    ({"data": (INPUTS[:, :0], TARGETS)}, DataError, r"inputs have shape \(150, 0\)"),
    ({"data": INPUTS}, DataError, "data is a ndarray"),
    ({"data": None}, DataError, "data is a NoneType"),
    ({"data": Pairs()}, DataError, "bring a model of your own"),
    ({"data": (INPUTS, TARGETS - 1), "model": net()}, DataError, "counted from 0"),
    ({"data": (INPUTS, TARGETS * 0.5), "model": net()}, DataError, "needs class ids"),
    ({"data": (INPUTS, TARGETS), "model": net(), "loss": "hinge"}, UsageError, "'hinge'"),
    ({"data": (INPUTS, TARGETS * 1.0), "model": net(), "loss": "mse"}, UsageError, "must agree"),
    (
        {"data": (INPUTS, TARGETS * math.nan), "model": net(4, 1), "loss": "mse"},
        DataError,
        "finite",
    ),
]


@pytest.mark.parametrize(("given", "error", "says"), WRONG)
def test_what_fit_refuses(given, error, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {name: value for name, value in given.items() if name != "data"}
    with pytest.raises(error, match=says):
        thalweg.fit(given["data"], quiet=True, **settings)
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_ctrl_c_while_the_command_is_loaded_is_one_line(tmp_path):
    """Sent by the first import of the command line itself."""
    planted = tmp_path / "cyclopts.py"
    planted.write_text(
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "thalweg", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "thalweg: interrupted\n")
