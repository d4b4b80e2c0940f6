"""Tables as people have them, through whole runs: fit, predict, evaluate, resume; and bad ones."""

from __future__ import annotations

import gzip
import io
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, RunError
from thalweg.tasks.table.read import read_table

ROWS = 60
POINTS = pl.DataFrame(
    {
        "size": [i % 7 + 0.25 for i in range(ROWS)],
        "sales": [i * 1234.5 for i in range(ROWS)],
        "colour": [("rot", "grün", "blau")[i % 3] for i in range(ROWS)],
        "price": [(i % 7) * 100 + i / 4 for i in range(ROWS)],
    }
)


def english(frame: pl.DataFrame) -> bytes:
    return frame.write_csv().encode()


def german(frame: pl.DataFrame) -> bytes:
    """As Excel writes it there: semicolons, decimal commas, points between thousands, Latin-1."""
    sales = [f"{v:,.2f}".translate(str.maketrans(",.", ".,")) for v in frame["sales"]]
    frame = frame.with_columns(sales=pl.Series(sales))
    return frame.write_csv(separator=";", decimal_comma=True).encode("cp1252")


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


FORMS: dict[str, Callable[[pl.DataFrame], bytes]] = {
    "english.csv": english,
    "german.csv": german,
    "german.csv.gz": lambda frame: gzip.compress(german(frame)),
    "english.tsv.zst": lambda frame: pa.compress(
        frame.write_csv(separator="\t").encode(), codec="zstd", asbytes=True
    ),
    "utf16.txt": lambda frame: frame.write_csv(separator="\t").encode("utf-16"),
    "lines.jsonl": lambda frame: frame.write_ndjson().encode(),
    "data.parquet": parquet,
}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with the table in every form, whole and in part, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, form in FORMS.items():
        (tmp_path / name).write_bytes(form(POINTS))
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "_SUCCESS").touch()
    (parts / ".hidden").write_text("no part of it")
    (parts / "a.csv").write_bytes(english(POINTS[:20]))
    (parts / "b.csv").write_bytes(gzip.compress(english(POINTS[20:50])))
    (parts / "c.parquet").write_bytes(parquet(POINTS[50:].select(reversed(POINTS.columns))))
    return tmp_path


def pipe(raw: bytes, monkeypatch) -> None:
    """Put bytes into standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


FIT = "--target price --steps 3 --model mlp:8 --quiet"


@pytest.mark.parametrize("trained", ["english.csv", "german.csv", "parts"])
def test_a_run_reads_every_form_alike(trained, place, capsys):
    assert main(shlex.split(f"fit {trained} {FIT} --name run")) == 0
    capsys.readouterr()
    predictions, scores = set(), set()
    for name in (*FORMS, "parts"):
        assert main(["predict", "run", name]) == 0
        predictions.add(capsys.readouterr().out)
        assert main(["evaluate", "run", name, "--json"]) == 0
        scores.add(capsys.readouterr().out)
    assert len(predictions) == len(scores) == 1


def test_how_it_was_read_is_said_and_kept(place, capsys):
    assert main(shlex.split("fit german.csv.gz --target price --steps 2 --name run")) == 0
    err = capsys.readouterr().err
    first = "recognised in german.csv.gz: gzip, Windows-1252 text (it is not UTF-8), ';' between"
    for line in (first, "numbers written like 1.234,5: 'sales'", "like 1234,5: 'size', 'price'"):
        assert line in err
    texts = [event.text for event in thalweg.load("runs/run").record.events]
    assert any(first in text for text in texts)


def test_what_may_be_meant_otherwise_is_said_when_predicting(place):
    run = thalweg.fit("english.csv", target="price", out=None, quiet=True, steps=2)
    Path("new.csv").write_text("size;sales;colour\n1;1,234;rot\n")
    with pytest.warns(UserWarning, match=r"new.csv, column 'sales': 1,234 may be meant in two"):
        run.predict("new.csv")


def test_a_text_among_the_numbers_of_a_german_file_is_named(place):
    run = thalweg.fit("german.csv", target="price", out=None, quiet=True, steps=2)
    Path("new.csv").write_text("size;sales;colour\n1,5;1.234,5;rot\n2,5;a lot;rot\n")
    with pytest.raises(DataError, match="row 2: column 'sales' holds 'a lot'"):
        run.predict("new.csv")
    Path("bad.csv").write_bytes(german(POINTS) + b"1,5;1.234,5;rot;teuer\n")
    with pytest.raises(DataError, match="'price' is 'teuer' in row 61"):
        thalweg.fit("bad.csv", target="price", out=None, quiet=True, steps=2)


@pytest.mark.parametrize("form", FORMS)
def test_standard_input_is_read_as_a_file_is(form, place, monkeypatch, capsys):
    raw = Path(form).read_bytes()
    pipe(raw, monkeypatch)
    assert main(shlex.split(f"fit - {FIT}")) == 0
    assert Path("runs/stdin-1/report.html").exists()
    capsys.readouterr()

    pipe(raw, monkeypatch)
    assert main(["predict", "stdin-1", "-"]) == 0
    piped = capsys.readouterr().out
    assert main(["predict", "stdin-1", form]) == 0
    assert capsys.readouterr().out == piped


def test_standard_input_of_a_real_process(place):
    words = [sys.executable, "-m", "thalweg", "fit", "-", *shlex.split(FIT), "--name", "run"]
    raw = Path("german.csv.gz").read_bytes()
    done = subprocess.run(words, input=raw, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(Path("runs/run/run.toml").read_text())["data"] == "/dev/stdin"


def test_a_run_on_standard_input_goes_on_with_the_same_bytes_only(place, monkeypatch, capsys):
    raw = Path("german.csv").read_bytes()
    pipe(raw, monkeypatch)
    assert main(shlex.split(f"fit - {FIT} --name run")) == 0
    whole = Path("runs/run/model.safetensors").read_bytes()
    for again in ("german.csv", "-"):
        Path("runs/run/run.manifest").unlink()  # as if it had been killed at the end
        with pytest.raises(RunError, match="came from standard input, which is not kept: bring"):
            thalweg.resume("run")
        pipe(raw + b"1,5;2;rot;3\n", monkeypatch)
        with pytest.raises(RunError, match="standard input has changed since runs/run began"):
            thalweg.resume("run", "-")
        pipe(raw, monkeypatch)
        toml = Path("runs/run/run.toml").read_bytes()
        thalweg.resume("run", again, quiet=True)
        assert Path("runs/run/model.safetensors").read_bytes() == whole
        Path("runs/run/run.toml").write_bytes(toml)


def test_a_run_on_a_folder_goes_on_where_the_folder_is_the_same(place, capsys):
    assert main(shlex.split(f"fit parts {FIT} --name run")) == 0
    Path("runs/run/run.manifest").unlink()
    (place / "parts" / ".hidden").write_text("other words")
    shutil.copytree("parts", "moved")
    thalweg.resume("run", "moved", quiet=True)
    Path("runs/run/run.manifest").unlink()
    (place / "moved" / "a.csv").rename("moved/d.csv")
    with pytest.raises(RunError, match="moved has changed since runs/run began"):
        thalweg.resume("run")
    shutil.rmtree("moved")
    with pytest.raises(RunError, match="moved, the data of runs/run, is not there any more"):
        thalweg.resume("run")


def text_parts(folder: Path, *texts: str) -> Path:
    for number, text in enumerate(texts):
        (folder / f"part-{number}.csv").write_text(text)
    return folder


PARTS = [
    ("whole and broken numbers", ["a,b\n1,x\n", "a,b\n2.5,y\n"], {"a": [1, 2.5], "b": ["x", "y"]}),
    ("another order", ["a,b\n1,x\n", "b,a\ny,2\n"], {"a": [1, 2], "b": ["x", "y"]}),
    ("codes in one", ["a,b\n007,x\n", "a,b\nA7,y\n"], {"a": ["007", "A7"], "b": ["x", "y"]}),
    ("nothing in one", ["a,b\n1,\n", "a,b\n2,3\n"], {"a": [1, 2], "b": [None, 3]}),
    ("no rows in one", ["a,b\n", "a,b\n2,3\n"], {"a": [2], "b": [3]}),
    ("commas in the second", ["a;b\n1;x\n", "a;b\n2,5;y\n"], {"a": [1, 2.5], "b": ["x", "y"]}),
]


@pytest.mark.parametrize(("name", "texts", "means"), PARTS, ids=[row[0] for row in PARTS])
def test_part_files_are_one_table(name, texts, means, tmp_path):
    frame = read_table(text_parts(tmp_path, *texts)).frame
    assert frame.to_dict(as_series=False) == means
