"""A table made ready while torch is loaded: the same run, and the same words where it fails."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from thalweg.cli.main import main
from thalweg.jobs import ahead
from thalweg.jobs.asked import asked_of
from thalweg.jobs.settings import Settings


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with tables of some 200 kB, which count as large ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ahead, "SMALLEST", 1 << 10)
    random = np.random.default_rng(2)
    x = random.normal(size=(4000, 2))
    colour = np.array(["red", "blue", "green"])[random.integers(0, 3, 4000)]
    frame = pl.DataFrame(
        {"x": x[:, 0], "z": x[:, 1], "colour": colour, "kind": np.where(x[:, 0] > 0, "a", "b")}
    )
    frame.write_csv("d.csv")
    frame.with_columns(path=pl.lit("x.png")).write_csv("p.csv")
    yield
    ahead._begun.clear()


FIT = "fit d.csv --target kind --steps 20 --model linear"


def done(words: str, capsys) -> tuple[int, dict, list[str]]:
    code = main([*shlex.split(words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err.splitlines()


WAYS = ["", "--drop z --seed 3", "--split group:colour", "--folds 3 --fold 2", "--by colour"]


@pytest.mark.parametrize("way", WAYS)
def test_the_run_is_the_same_to_the_bit(way, capsys, monkeypatch):
    interval = sys.getswitchinterval()
    taken = []
    plain = ahead.taken
    monkeypatch.setattr("thalweg.jobs.study.taken", lambda *a: taken.append(plain(*a)) or taken[-1])
    code, result, lines = done(f"{FIT} {way} --name one", capsys)
    assert code == 0
    assert (taken[0] is not None) == ("--folds" not in way)
    assert sys.getswitchinterval() == interval
    monkeypatch.setattr(ahead, "SMALLEST", 1 << 30)
    _, again, same = done(f"{FIT} {way} --name two", capsys)
    assert taken[1] is None
    assert result["test"] == again["test"]
    assert [line for line in lines if "start" not in line] == [
        line for line in same if "start" not in line
    ]
    one, two = (Path(f"runs/{name}/model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("fit d.csv --target kinds", 4, "'kind'"),
        ("fit d.csv --target kind --drop nope", 4, "'nope'"),
        ("fit d.csv --target kind --loss mse", 2, "does not fit"),
        ("fit d.csv --target kind --model nope", 2, "'nope' is unknown"),
        ("fit d.csv --target kind --types x=nope", 2, "no kind of column"),
    ],
)
def test_what_is_wrong_is_told_once_and_in_its_turn(words, code, says, capsys):
    assert main(shlex.split(words)) == code
    lines = capsys.readouterr().err.splitlines()
    assert [says in line for line in lines if line.startswith("thalweg: ")] == [True]
    assert not Path("runs").exists()


NOT_BEGUN = {
    "small": "fit d.csv --target kind",
    "several models": "fit d.csv --target kind --folds 3",
    "texts": "fit d.csv --target kind --text colour",
    "no target": "fit d.csv",
    "a plain text": "fit d.csv --task lm",
    "no file": "fit - --target kind",
}


@pytest.mark.parametrize("case", NOT_BEGUN)
def test_nothing_is_begun_where_more_than_the_table_decides(case, monkeypatch):
    if case == "small":
        monkeypatch.setattr(ahead, "SMALLEST", 1 << 30)
    words = shlex.split(NOT_BEGUN[case])
    rest = dict(zip(words[2::2], words[3::2], strict=True))
    settings = {name.removeprefix("--"): value for name, value in rest.items()}
    count = threading.active_count()
    ahead.begin(
        words[1], Settings.of({**settings, **({"folds": 3} if "folds" in settings else {})})
    )
    assert not ahead._begun
    assert threading.active_count() == count


def test_only_what_was_begun_is_taken():
    settings = Settings.of({"target": "kind"})
    for data, other in (("p.csv", settings), ("d.csv", Settings.of({"target": "x"}))):
        ahead.begin("d.csv", settings)
        assert ahead.taken(data, asked_of(other, other.target, {})) is None
        assert not ahead._begun
    ahead.begin("d.csv", settings)
    found = ahead.taken("d.csv", asked_of(settings, "kind", {}))
    assert found is not None
    assert found.table is not None
    assert found.table.frame.height == 4000
