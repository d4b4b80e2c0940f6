"""Logs that say too little, or cannot be read: one line each that tells what to do."""

from __future__ import annotations

import json
from math import sin
from pathlib import Path

import pytest

from thalweg.cli.main import main

pytestmark = pytest.mark.filterwarnings("always")

NAN = float("nan")


def write(place: Path, name: str, header: str, rows: list[str]) -> str:
    path = place / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def falling(i: int) -> float:
    return 0.3 + 2 * 0.98**i + 0.02 * sin(i * i)


def table(place: Path, name: str = "good.csv", rows: int = 200) -> str:
    return write(place, name, "step,loss", [f"{i},{falling(i):.4f}" for i in range(1, rows + 1)])


def told(capsys, path: str, *options: str) -> tuple[int, str, str]:
    code = main(["diagnose", path, *options])
    found = capsys.readouterr()
    return code, found.out, found.err


def refused(capsys, path: str) -> str:
    code, out, err = told(capsys, path)
    assert (code, out, err.count("\n")) == (4, "", 1)
    return err


# ------------------------------------------------------------ folders


def test_files_of_a_folder_that_cannot_be_read_are_named(tmp_path, capsys):
    table(tmp_path, "a.csv")
    table(tmp_path, "b.csv")
    (tmp_path / "broken.log").write_bytes(bytes(range(256)))
    (tmp_path / "died.csv").write_text("step,loss\n")
    (tmp_path / "README.txt").write_text("what is here\n")
    (tmp_path / "empty.err").write_text("")
    code, _, text = told(capsys, str(tmp_path), "--all")
    assert (code, text.count("\n")) == (0, 1)
    assert "2 files are passed over" in text
    assert "broken.log is binary" in text
    assert "died.csv has a header and no row below it" in text
    assert "README" not in text
    assert "empty.err" not in text


def test_one_log_that_cannot_be_read_does_not_keep_the_others_from_it(tmp_path, capsys):
    table(tmp_path, "a.csv")
    run = tmp_path / "wandb" / "run-1"
    run.mkdir(parents=True)
    (run / "run-1.wandb").write_bytes(b"no log of wandb")
    code, out, err = told(capsys, str(tmp_path), "--all", "--json")
    found = json.loads(out)
    assert (code, err.count("\n")) == (0, 1)
    assert "is no log of wandb" in err
    assert [Path(row["source"]["path"]).name for row in found["runs"]] == ["a.csv"]


# ------------------------------------------------------------ tables


def test_a_header_alone_is_told(tmp_path, capsys):
    path = write(tmp_path, "died.csv", "step,loss,val_loss", [])
    assert "has a header and no row below it" in refused(capsys, path)


def test_columns_in_another_language_are_listed_and_can_be_named(tmp_path, capsys):
    rows = [f"{i};{falling(i):.4f};{falling(i) + 0.1:.4f}".replace(".", ",") for i in range(1, 99)]
    path = write(tmp_path, "lauf.csv", "Schritt;Verlust;Val Verlust", rows)
    assert "--loss-column can, of Schritt, Verlust, Val Verlust" in refused(capsys, path)
    options = ["--loss-column", "verlust", "--step-column", "schritt", "--json"]
    _, out, _ = told(capsys, path, *options)
    assert json.loads(out)["source"]["columns"]["loss"] == "Verlust"
    assert json.loads(out)["curves"]["loss"][0] == [1.0, pytest.approx(falling(1), abs=1e-4)]


def test_what_only_counts_is_no_run_of_a_table(tmp_path, capsys):
    rows = [f"{i},{falling(i):.4f},{falling(i) + 0.1:.4f}" for i in range(1, 99)]
    path = write(tmp_path, "some.csv", "n,foo,bar", rows)
    assert "holds 2 runs, one in each column" in (said := refused(capsys, path))
    assert "of foo, bar" in said


def test_an_export_of_tensorboard_tells_its_tag_in_the_file_s_name(tmp_path, capsys):
    rows = [f"{1.7e9 + i},{i},{falling(i):.4f}" for i in range(1, 99)]
    path = write(tmp_path, "download.csv", "Wall time,Step,Value", rows)
    assert "--loss-column Value" in refused(capsys, path)
    _, out, _ = told(capsys, path, "--loss-column", "Value", "--json")
    assert json.loads(out)["source"]["columns"]["loss"] == "Value"
    path = write(tmp_path, "run-one-tag-train_loss.csv", "Wall time,Step,Value", rows)
    assert told(capsys, path)[0] == 0


# ------------------------------------------------------------ planned steps


def lines(form: str) -> str:
    return "".join(form.format(i=10 * i, loss=falling(i), epoch=i // 40) for i in range(1, 200))


@pytest.mark.parametrize(
    ("form", "planned"),
    [
        (" iteration {i:8d}/   20000 | lm loss: {loss:.6E} | grad norm: 1.2 |\n", 20_000),
        ("step {i}/20000 loss {loss:.4f}\n", 20_000),
        ("epoch {epoch} step {i}/20000 loss {loss:.4f}\n", None),
        ("step {i} loss {loss:.4f} 3/20000\n", None),
        ("step {i}/{i} loss {loss:.4f}\n", None),
    ],
)
def test_planned_steps_are_read_where_each_line_tells_them(form, planned, tmp_path, capsys):
    path = tmp_path / "train.log"
    path.write_text(lines(form))
    _, out, _ = told(capsys, str(path), "--json")
    assert json.loads(out)["source"]["settings"].get("steps") == planned


# ------------------------------------------------------------ NaN


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (range(2, 100), "the loss is not finite from step 2 on; it came at once"),
        (range(1, 100), "the loss is not finite at any row of the log"),
        ([1, *range(50, 100)], "at 51 of 99 rows, first at step 1, and from step 50 on"),
        ([1], "the loss is not finite at 1 of 99 rows, first at step 1"),
    ],
)
def test_where_a_loss_is_not_finite_is_told_as_it_is(bad, says, tmp_path, capsys):
    rows = [f"{i},{NAN if i in bad else falling(i):.4f},{falling(i):.4f}" for i in range(1, 100)]
    path = write(tmp_path, "nan.csv", "step,loss,val_loss", rows)
    _, out, _ = told(capsys, path, "--json")
    found = {row["code"]: row for row in json.loads(out)["verdict"]["findings"]}["TW001"]
    assert says in found["evidence"]["says"]
    assert found["evidence"]["says"].count("first at") <= 1
