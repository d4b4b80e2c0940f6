"""Folds: a model each, tested on rows of its own; together mean and spread; stopped, they go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from torch import nn

import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, RunError
from thalweg.health.spread import spread_of
from thalweg.jobs import folds as job
from thalweg.tasks.held import read_back
from thalweg.tasks.table.asked import Parting
from thalweg.tasks.table.parts import parts_of

ROWS = 200


def table() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, ROWS))
    y = np.where(a + b > 0.8, "few", "many").tolist()
    return pl.DataFrame({"a": a, "b": b, "group": rng.integers(0, 25, ROWS), "y": y})


def fold(how: str | None, folds: int, number: int):
    strata = (table().get_column("y") == "many").cast(pl.Int64).to_numpy()
    return parts_of(table(), Parting(how=how, folds=folds, fold=number), strata).rows


@pytest.mark.parametrize("how", [None, "random", "stratified", "group:group"])
@pytest.mark.parametrize("folds", [2, 3, 10])
def test_every_row_is_tested_once(how, folds):
    rows = [fold(how, folds, number) for number in range(1, folds + 1)]
    assert np.sort(np.concatenate([each.test for each in rows])).tolist() == list(range(ROWS))
    for each in rows:
        together = np.concatenate([each.train, each.validation, each.test])
        assert np.sort(together).tolist() == list(range(ROWS))
        assert len(each.validation) == pytest.approx(ROWS / 10, abs=6)
        assert len(each.test) == pytest.approx(ROWS / folds, abs=12)


def test_stratified_folds_have_the_classes_alike():
    is_one = (table().get_column("y") == "many").to_numpy()
    shares = [is_one[fold(None, 5, number).test].mean() for number in range(1, 6)]
    assert max(shares) - min(shares) < 0.03


def test_no_group_is_in_two_parts_of_a_fold():
    groups = table().get_column("group")
    for number in range(1, 5):
        rows = fold("group:group", 4, number)
        train, validation, test = (
            set(groups.gather(part)) for part in (rows.train, rows.validation, rows.test)
        )
        assert not train & (validation | test)
        assert not validation & test


def test_classes_that_look_like_numbers_are_read_back_as_texts():
    text = "row,prediction,probability_01\n1,01,0.5\n"
    for has_texts, expected in ((True, "01"), (False, 1)):
        assert read_back(text, has_texts=has_texts).row(0) == (1, expected, 0.5)


def test_too_few_groups_are_refused_with_their_rows():
    with pytest.raises(DataError, match=r"has 2 groups \(1: 12 rows, 2: 8 rows\).*5 folds"):
        parts_of(
            pl.DataFrame({"g": [1] * 12 + [2] * 8}), Parting(how="group:g", folds=5, fold=1), None
        )


def result(**test: float) -> dict:
    task = {"kind": "classification", "rows": 9, "features": 2, "classes": 2}
    task |= {f"{part}_rows": 3 for part in ("train", "validation", "test")}
    rest = dict.fromkeys(["target", "model", "optimizer", "lr", "batch_size", "run"])
    scored = dict.fromkeys(["train", "validation", "test"], test)
    baselines = {"constant": {"label": "always 1", "accuracy": test["accuracy"] / 2}}
    return {
        "status": "budget",
        "task": task,
        "steps": 5,
        "seconds": 1.0,
        "baselines": baselines,
        **rest,
        **scored,
    }


def test_mean_and_spread_are_those_of_numpy():
    values = [0.5, 0.7, 0.9, 0.6]
    found = spread_of([result(accuracy=value) for value in values], count=4)
    row = found["folds"]["metrics"]["test"]["accuracy"]
    assert row["values"] == values
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["spread"] == pytest.approx(np.std(values, ddof=1))
    assert found["test"] == {"accuracy": row["mean"]}
    assert found["baselines"]["constant"]["accuracy"] == pytest.approx(row["mean"] / 2)
    assert spread_of([result(accuracy=1.0)], count=1)["folds"]["metrics"]["test"]["accuracy"] == {
        "mean": 1.0,
        "spread": None,
        "values": [1.0],
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table().write_csv("d.csv")
    return tmp_path


WORDS = ["fit", "d.csv", "--target", "y", "--folds", "3", "--steps", "30", "--quiet"]


def whole(name: str) -> dict:
    return json.loads((Path("runs") / name / "folds.json").read_text())


def test_folds_from_end_to_end(place, capsys):
    assert main([*WORDS, "--split", "group:group"]) == 0
    text = capsys.readouterr().out
    assert "test accuracy" in text
    assert "±" in text
    folder = Path("runs/d-1")
    found = whole("d-1")
    assert found["folds"]["trained"] == 3
    for number, run in enumerate(found["folds"]["runs"]):
        alone = thalweg.load(run)
        values = found["folds"]["metrics"]["test"]["accuracy"]["values"]
        assert alone.result["test"]["accuracy"] == values[number]
    out = pl.read_csv(folder / "out-of-fold.csv", schema_overrides={"prediction": pl.String})
    assert out.get_column("row").to_list() == list(range(1, ROWS + 1))
    assert set(out.get_column("prediction")) <= {"few", "many"}
    right = (out.get_column("prediction") == table().get_column("y")).mean()
    sizes = found["task"]["test_rows"]
    assert right == pytest.approx(np.average(values, weights=sizes))
    page = (folder / "report.html").read_text()
    assert "Every fold" in page
    assert "±" in page
    (folder / "report.html").unlink()
    assert main(["report", "d-1"]) == 0
    assert (folder / "report.html").read_text() == page
    assert main(["runs"]) == 0
    assert "d-1" in capsys.readouterr().out


def test_a_fold_is_repeated_alone_from_its_run_toml(place, capsys):
    assert main(WORDS) == 0
    capsys.readouterr()
    assert main(["fit", "--config", "runs/d-1/fold-2/run.toml", "--quiet", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["test"] == thalweg.load("runs/d-1/fold-2").result["test"]


def test_folds_cannot_predict_as_one_and_say_so(place, capsys):
    assert main(WORDS) == 0
    for words in (["predict", "last", "d.csv"], ["evaluate", "last", "d.csv"]):
        assert main(words) == 5
        assert "take one of them, such as runs/d-1/fold-1" in capsys.readouterr().err
    assert main(["predict", "runs/d-1/fold-1", "d.csv"]) == 0
    assert main(["resume", "last"]) == 5
    assert main(["resume", "last", "--steps", "+5"]) == 2


CUTS = ["before the first", "before the second", "in the second", "before it is told"]


@pytest.mark.parametrize("cut", CUTS)
def test_folds_that_were_killed_go_on_to_the_same(place, cut, monkeypatch):
    """What a kill leaves behind is made by hand: folders that are missing, or were cut short."""
    assert main([*WORDS, "--name", "whole"]) == 0
    assert main([*WORDS, "--name", "cut"]) == 0
    folder = Path("runs/cut")
    for name in ("run.manifest", "verdict.json", "report.html", "out-of-fold.csv"):
        (folder / name).unlink()
    (folder / "folds.json").write_text('{"schema": 1, "status": "unfinished"}')
    first = CUTS.index(cut) + 1
    if cut != "before it is told":
        for number in range(min(first, 2), 4):
            shutil.rmtree(folder / f"fold-{number}")
    if cut == "in the second":
        (folder / "fold-2").mkdir()
        (folder / "fold-2" / "run.toml").write_text("schema = 1\n")
    trained = []
    one = job._one
    monkeypatch.setattr(job, "_one", lambda s, *a: trained.append(s.fold) or one(s, *a))
    assert main(["resume", "cut", "--quiet"]) == 0
    assert trained == [1, 2, 3]
    assert whole("cut")["folds"]["metrics"] == whole("whole")["folds"]["metrics"]
    text = [(Path("runs") / name / "out-of-fold.csv").read_text() for name in ("cut", "whole")]
    assert text[0] == text[1]


def test_folds_of_changed_data_do_not_go_on(place, capsys):
    assert main(WORDS) == 0
    folder = Path("runs/d-1")
    known = {"schema": 1, "data_xxh3": "0" * 16}
    (folder / "folds.json").write_text(json.dumps(known))
    (folder / "run.manifest").unlink()
    assert main(["resume", "d-1", "--quiet"]) == 5
    assert "d.csv has changed" in capsys.readouterr().err
    assert main(["report", "d-1"]) == 5


@pytest.mark.parametrize(("target", "split"), [("nope", None), ("y", "group:nope")])
def test_folds_that_cannot_begin_leave_nothing_behind(place, target, split):
    with pytest.raises(DataError):
        thalweg.fit("d.csv", target=target, split=split, folds=3, quiet=True)
    assert not Path("runs").exists()


def test_a_model_of_ones_own_starts_anew_in_each_fold():
    frame = table()
    inputs = frame.select("a", "b").to_numpy().astype(np.float32)
    targets = (frame.get_column("y") == "many").cast(pl.Int64).to_numpy()
    net = nn.Linear(2, 2)
    before = net.weight.detach().clone()
    given = {"folds": 3, "steps": 20, "out": None, "quiet": True}
    found = thalweg.fit((inputs, targets), model=net, **given)
    assert net.weight.equal(before)
    assert found.out_of_fold.get_column("row").to_list() == list(range(1, ROWS + 1))
    again = thalweg.fit((inputs, targets), model=net, **given)
    assert found.result["folds"]["metrics"] == again.result["folds"]["metrics"]
    with pytest.raises(RunError, match="kept in memory"):
        _ = found.report


def test_too_few_rows_for_the_folds_are_refused():
    with pytest.raises(DataError, match="too few for 20 folds"):
        thalweg.fit(table().head(30), target="y", folds=20, out=None, quiet=True)
