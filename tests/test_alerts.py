"""Alerts of the command line: findings that need an act, sent while a training goes."""

from __future__ import annotations

import io
import json
import socket
import time
from pathlib import Path

import numpy as np
import pytest

import thalweg
from thalweg.cli.main import main
from thalweg.jobs import live
from thalweg.loop import alerts
from thalweg.loop.alerts import Alert, alerting
from thalweg.types import Finding, Verdict

ACT = Finding("TW203", "labels", "act", 10, 0.7, {"says": "nothing carries over"}, "look")
WARN = Finding("TW201", "overfitting", "warn", 10, 0.7, {"says": "it rises"}, "stop")


@pytest.fixture
def looked(monkeypatch):
    """Every look of a run that goes finds the same two."""
    monkeypatch.setattr(live, "SHARE", 1e9)
    seen = Verdict("stalled", "it stands", (ACT, WARN))
    monkeypatch.setattr(live, "so_far", lambda log: seen)


def table(folder: Path) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    rows = [f"{a:.3f},{b:.3f},{c:.3f},{int(a + b > 0)}" for a, b, c in x]
    path = folder / "some.csv"
    path.write_text("\n".join(["a,b,c,y", *rows]))
    return str(path)


def fitted(folder: Path, alert: str, *more: str) -> int:
    words = ["fit", table(folder), "--target", "y", "--model", "mlp:8", "--epochs", "3"]
    words += ["--evaluate-every", "5", "--out", str(folder / "runs"), "--alert", alert]
    return main([*words, *more])


def sent(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_finding_of_a_fit_is_sent_once_while_it_goes(looked, tmp_path, capsys):
    place = tmp_path / "alerts.jsonl"
    assert fitted(tmp_path, f"cat >> '{place}'") == 0
    rows = [row for row in sent(place) if row["finding"]["code"] == "TW203"]
    assert len(rows) == 1
    assert rows[0]["run"].endswith("some-1")
    assert "TW201" not in [row["finding"]["code"] for row in sent(place)]
    assert "alert:" not in capsys.readouterr().err


def test_an_address_is_not_kept_with_the_run(looked, tmp_path):
    assert fitted(tmp_path, "cat > /dev/null # secret-word") == 0
    for path in (tmp_path / "runs").rglob("*"):
        assert path.is_dir() or b"secret-word" not in path.read_bytes(), path


def test_resume_takes_it_as_well(looked, tmp_path):
    assert fitted(tmp_path, "cat > /dev/null") == 0
    place, run = tmp_path / "alerts.jsonl", str(tmp_path / "runs" / "some-1")
    assert main(["resume", run, "--epochs", "+2", "--alert", f"cat >> '{place}'"]) == 0
    assert [row["run"] for row in sent(place) if row["finding"]["code"] == "TW203"] == [run]


def test_each_fold_sends_its_own(looked, tmp_path):
    place = tmp_path / "alerts.jsonl"
    assert fitted(tmp_path, f"cat >> '{place}'", "--folds", "2") == 0
    runs = [Path(row["run"]).name for row in sent(place) if row["finding"]["code"] == "TW203"]
    assert runs == ["fold-1", "fold-2"]


def test_what_fails_is_told_and_changes_nothing(looked, tmp_path, capsys):
    assert fitted(tmp_path, "exit 7") == 0
    assert "alert: not sent: CalledProcessError" in capsys.readouterr().err


@pytest.fixture
def silent():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_server_that_hangs_is_not_waited_for(looked, silent, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(alerts, "PATIENCE", 0.2)
    assert fitted(tmp_path, silent) == 0
    assert "alert: not sent: it took more than 0.2 s at the end" in capsys.readouterr().err


def test_a_command_that_never_ends_is_ended_with_all_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(alerts, "PATIENCE", 0.5)
    mark = tmp_path / "ran-on"
    told = []
    with alerting(f"(sleep 2; touch '{mark}') & wait", "mine", told.append) as alert:
        assert alert is not None
        alert.send(ACT)
    time.sleep(2.5)
    assert not mark.exists()
    assert told[0].startswith("alert: not sent: ")


@pytest.mark.parametrize("to", ["", "  ", "ftp://example.org/x", "file:///tmp/x"])
def test_what_is_neither_address_nor_command_is_refused(to, tmp_path, capsys):
    with pytest.raises(thalweg.UsageError, match="alert is"):
        Alert(to)
    assert fitted(tmp_path, to) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_log_that_is_followed_sends_them(monkeypatch, tmp_path, capsys):
    lines = [f"step {i} loss {2 - i / 200 if i < 90 else float('nan')}\n" for i in range(1, 120)]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(lines)))
    place = tmp_path / "alerts.jsonl"
    assert main(["diagnose", "-", "--follow", "--alert", f"cat >> '{place}'"]) == 3
    assert [row["finding"]["code"] for row in sent(place)] == ["TW001"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--json", "--brief"], "--json and --brief"),
        (["--try-steps", "5"], "give --try as well"),
        (["--follow", "--try"], "leave out --try"),
        (["--follow", "--all"], "leave out --all"),
        (["--alert", "true"], "--alert goes with --follow"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(options, said, tmp_path, capsys):
    assert main(["diagnose", table(tmp_path), *options]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)
