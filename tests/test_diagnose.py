"""`thalweg diagnose`: runs of ours and other tools' logs, on the command line."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thalweg
from made_logs import falling, noisy
from thalweg.cli.main import main
from thalweg.record import read
from thalweg.record.foreign import Columns


def write_csv(path: Path, loss: Any, **more: Any) -> Path:
    names = ["step", "loss", *more]
    rows = zip(range(1, len(loss) + 1), loss, *more.values(), strict=True)
    lines = [",".join(names), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def healthy(tmp_path):
    return write_csv(tmp_path / "healthy.csv", noisy(falling()))


@pytest.fixture
def broken(tmp_path):
    loss = noisy(falling())
    loss[300:] = math.nan
    return write_csv(tmp_path / "broken.csv", loss)


def said(capsys: Any, *words: Any) -> tuple[int, str, str]:
    code = main(["diagnose", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_healthy_log(healthy, capsys):
    code, out, _ = said(capsys, healthy)
    assert code == 0
    assert out.startswith("finished: training loss went from")
    assert "not checked:" in out


def test_a_broken_log(broken, capsys):
    code, out, _ = said(capsys, broken)
    assert code == 3
    assert "TW001 non-finite loss or gradient (act), since step 301" in out
    assert "to change: lower the learning rate" in out


def test_json(broken, capsys):
    code, out, _ = said(capsys, broken, "--json")
    found = json.loads(out)
    assert code == 3
    assert (found["schema"], found["command"]) == (1, "diagnose")
    assert found["source"]["format"] == "csv"
    assert found["source"]["rows"] == 600
    verdict = found["verdict"]
    assert {"state", "healthy", "findings", "not_checkable"} <= set(verdict)
    assert verdict["healthy"] is False
    finding = verdict["findings"][0]
    assert set(finding) == {
        *("code", "name", "severity", "since_step", "confidence", "evidence", "advice"),
    }


def test_a_brief_of_a_long_log_is_short_and_keeps_extremes(tmp_path, capsys):
    noise = np.random.default_rng(0).normal(size=(50_000, 2))
    rows = [f"{i},{2 + a / 9:.4f},{2.1 + b / 9:.4f}" for i, (a, b) in enumerate(noise, start=1)]
    rows[31_234] = "31235,77.7,2.0"
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["step,loss,val_loss", *rows]))
    _, out, _ = said(capsys, path, "--brief")
    assert "31235:77.7" in out
    assert out.count("\n") <= 60
    assert max(map(len, out.splitlines())) <= 100


def test_brief_holds_settings_curve_and_verdict(broken, capsys):
    (broken.parent / "config.json").write_text('{"learning_rate": 0.1, "batch_size": 32}')
    _, out, _ = said(capsys, broken, "--brief")
    assert '"batch_size": 32' in out
    assert "TW001" in out
    assert "Open, because the log does not say:" in out
    assert len(out) < 12_000


def test_advice_uses_what_lies_beside(broken, capsys):
    (broken.parent / "config.json").write_text('{"learning_rate": 0.1}')
    _, out, _ = said(capsys, broken)
    assert "it was 0.1; try 0.01" in out


def test_a_folder_with_several(healthy, broken, capsys):
    code, _, err = said(capsys, healthy.parent)
    assert code == 4
    assert "2 logs" in err
    assert "broken.csv, healthy.csv" in err
    code, out, _ = said(capsys, healthy.parent, "--all", "--json")
    assert code == 3
    runs = json.loads(out)["runs"]
    assert [run["verdict"]["healthy"] for run in runs] == [False, True]


def test_a_table_with_a_run_in_each_column(tmp_path, capsys):
    path = tmp_path / "sweep.csv"
    rows = np.stack([noisy(falling(), seed=seed) for seed in range(3)], axis=1)
    np.savetxt(path, rows, delimiter=",", header="one,two,three", comments="")
    code, _, err = said(capsys, path)
    assert code == 4
    assert "3 runs, one in each column" in err
    code, out, _ = said(capsys, path, "--all")
    assert code == 0
    assert out.count("training loss went from") == 3


def test_against_a_good_log(healthy, tmp_path, capsys):
    curve = falling()
    curve[400:] += np.linspace(0, 0.5, 200)
    other = write_csv(tmp_path / "other.csv", noisy(curve, seed=9))
    _, out, _ = said(capsys, other, "--against", healthy, "--json")
    parts = json.loads(out)["against"]["partings"]
    assert [part["role"] for part in parts] == ["loss"]
    assert 400 < parts[0]["step"] < 520
    _, out, _ = said(capsys, healthy, "--against", healthy)
    assert "nowhere beyond their noise" in out.replace("\n", " ")


def test_standard_input_as_it_grows(monkeypatch, capsys):
    lines = [f"step {step}: loss {2.3 * 0.97**step:.4f}\n" for step in range(60)]
    lines += [f"step {step}: loss nan\n" for step in range(60, 90)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(lines)))
    code, out, _ = said(capsys, "-", "--follow")
    assert code == 3
    assert "TW001" in out


BAD = {
    "empty": (b"", "is empty"),
    "one row": (b"step,loss\n1,0.5\n", ""),
    "binary": (bytes(range(256)) * 20, "binary"),
    "prose": (b"It was a dark and stormy night.\n" * 5, "no log"),
}


@pytest.mark.parametrize(("content", "text"), BAD.values(), ids=BAD)
def test_bad_files_are_one_line(content, text, tmp_path, capsys):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    code, out, err = said(capsys, path)
    if text:
        assert code == 4
        assert text in err
        assert err.count("\n") == 1
    else:
        assert code in (0, 4)
        assert "Traceback" not in out + err


def test_a_column_that_is_not_there(healthy, capsys):
    code, _, err = said(capsys, healthy, "--loss-column", "los")
    assert code == 4
    assert "did you mean 'loss'" in err


def test_a_path_that_is_not_there(tmp_path, capsys):
    code, _, err = said(capsys, tmp_path / "nowhere")
    assert code == 4
    assert "neither a run" in err


def test_try_is_for_runs_of_ours(healthy, capsys):
    code, _, err = said(capsys, healthy, "--try")
    assert code == 2
    assert "another tool's log" in err


def test_no_torch_is_loaded(healthy):
    program = (
        "import sys; from thalweg.cli.main import main; "
        f"main(['diagnose', {str(healthy)!r}]); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


# ------------------------------------------------------------ a run of ours


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose rate is a thousandth of what it takes."""
    folder = tmp_path_factory.mktemp("runs")
    source = np.random.default_rng(0)
    x = source.normal(size=(600, 4))
    kind = (x @ source.normal(size=(4, 3))).argmax(1)
    lines = [
        "a,b,c,d,kind",
        *(f"{','.join(map(str, r))},k{k}" for r, k in zip(x, kind, strict=True)),
    ]
    table = folder / "points.csv"
    table.write_text("\n".join(lines) + "\n")
    done = thalweg.fit(
        str(table),
        target="kind",
        lr=1e-6,
        schedule="constant",
        steps=300,
        evaluate_every=10,
        checkpoint_every=100,
        keep=5,
        out=str(folder),
        name="slow",
        quiet=True,
    )
    return done.folder


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_run_of_ours_is_read(run, capsys):
    code, out, _ = said(capsys, run, "--json")
    found = json.loads(out)
    assert found["source"]["tool"] == "thalweg"
    assert [each["code"] for each in found["verdict"]["findings"]][:1] == ["TW102"]
    assert "--lr 5e-05" in found["verdict"]["findings"][0]["advice"]
    assert code == 3


@pytest.mark.filterwarnings("always:passed over")
def test_a_folder_of_runs_of_ours_and_of_others_is_read(run, tmp_path, capsys):
    for name in ("first", "second", "torn"):
        shutil.copytree(run, tmp_path / name)
    (tmp_path / "torn" / "record.sqlite").write_bytes(b"no record")
    write_csv(tmp_path / "third.csv", noisy(falling()))
    code, _, err = said(capsys, tmp_path)
    assert code == 4
    assert "holds 4 logs: diagnose each with --all, or name one of third.csv, first, second" in err
    code, out, err = said(capsys, tmp_path, "--all", "--json")
    assert "passed over: " in err
    assert "record.sqlite is not a record that thalweg wrote" in err
    tools = [each["source"]["tool"] for each in json.loads(out)["runs"]]
    assert (code, tools) == (3, [None, "thalweg", "thalweg"])


def test_what_is_suggested_is_tried_and_the_run_left_alone(run, capsys):
    before = digest(run)
    _, out, _ = said(capsys, run, "--try", "--try-steps", 40, "--json")
    found = json.loads(out)
    tries = found["tries"]
    assert digest(run) == before
    finding = found["verdict"]["findings"][0]
    assert finding["code"] == "TW102"
    assert finding["confidence"] > finding["evidence"]["confidence_before"]
    rows = {row["name"]: row for row in found["trials"]["results"]}
    assert rows.keys() == {"overfit", "permuted", "zeroed", "rates", "replay"}
    assert [each["code"] for each in rows["overfit"]["confirms"]] == ["TW102"]
    assert rows["replay"]["numbers"]["difference"] == 0.0
    assert 0 < found["trials"]["steps"] <= found["trials"]["budget"]
    best = tries["tries"][0]
    assert best["settings"]["lr"] >= 1e-05
    assert best["better_by"] > 0
    assert {row["change"] for row in tries["tries"]} >= {"as it was"}
    assert tries["go_on"].items() >= best["settings"].items()
    assert tries["go_on"]["steps"] == 300 + tries["from_step"]


def test_what_a_try_says_to_go_on_with_is_better(run, tmp_path, capsys):
    copied = tmp_path / "slow"
    shutil.copytree(run, copied)
    _, out, _ = said(capsys, copied, "--try", "--try-steps", 40)
    command = out[out.index("thalweg resume ") :].splitlines()[0]
    assert "--set 'schedule=constant(300) >> wsd(decay=0.5)'" in command
    assert (
        main([*shlex.split(command)[1:], "--out", str(tmp_path), "--name", "child", "--quiet"]) == 0
    )
    before, after = (
        read(path).evaluations[-1].values["loss"] for path in (copied, tmp_path / "child")
    )
    assert after < 0.5 * before


def test_a_run_that_a_huge_rate_has_spoilt_is_begun_anew(run, tmp_path, capsys):
    fit = ["fit", "--config", str(run / "run.toml"), "--out", str(tmp_path), "--quiet"]
    assert main([*fit, "--lr", "30", "--guard", "off", "--ema", "0", "--name", "spoilt"]) == 0
    capsys.readouterr()
    spoilt = tmp_path / "spoilt"
    _, out, _ = said(capsys, spoilt, "--try", "--json")
    found = json.loads(out)
    assert "TW101" in {each["code"] for each in found["verdict"]["findings"]}
    assert (found["trials"]["from_step"], found["tries"]["from_step"]) == (0, 0)
    assert "hardly better than fresh ones" in found["tries"]["begins_anew"]
    assert found["tries"]["go_on"].keys() == {"lr"}

    _, out, _ = said(capsys, spoilt, "--try")
    command = out[out.index("thalweg fit --config") :].splitlines()[0]
    words = [*shlex.split(command)[1:], "--out", str(tmp_path), "--name", "anew", "--quiet"]
    assert main(words) == 0
    before, after = (
        read(tmp_path / name).evaluations[-1].values["loss"] for name in ("spoilt", "anew")
    )
    assert after < 0.5 * before


def test_settings_of_the_optimizer_are_known(run, tmp_path, capsys):
    fit = ["fit", "--config", str(run / "run.toml"), "--out", str(tmp_path), "--quiet"]
    more = ["--optimizer", "adamw:weight_decay=30", "--lr", "1e-3", "--precision", "bf16-weights"]
    assert main([*fit, *more, "--name", "held"]) == 0
    capsys.readouterr()
    _, out, _ = said(capsys, tmp_path / "held", "--json")
    found = json.loads(out)
    assert found["source"]["settings"]["weight_decay"] == 30
    assert [each["code"] for each in found["verdict"]["findings"]] == ["TW106"]
    assert "adamw:weight_decay=0.1" in found["verdict"]["findings"][0]["advice"]


def test_a_post_mortem(run, capsys):
    assert main(["report", str(run), "--post-mortem", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"]["steps"] == 300
    assert found["timeline"][0]["kind"] == "attempt"
    assert found["cost"]["after_best"]["steps"] == 300 - found["cost"]["best_step"]
    assert main(["report", str(run), "--post-mortem"]) == 0
    assert "came after it" in capsys.readouterr().out.replace("\n", " ")


def test_columns_are_named_by_part():
    assert Columns(loss="x").loss == "x"
