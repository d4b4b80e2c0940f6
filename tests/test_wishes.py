"""What is asked of columns: by options, by a schema file; a run keeps it, and gives it back."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, UsageError
from thalweg.jobs.schema_file import schema_text
from thalweg.jobs.settings import Settings
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.names import joined, names_of, pairs_of
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.study import of_table

ROWS = 120
FRAME = pl.DataFrame(
    {
        "size": [None if i % 10 == 3 else i / 7 for i in range(ROWS)],
        "zip": [f"{i % 6:05d}" for i in range(ROWS)],
        "day": [f"{1 + i % 12:02d}/{1 + i % 7:02d}/202{i % 3}" for i in range(ROWS)],
        "new": ["ja" if i % 3 else "nein" for i in range(ROWS)],
        "dose": ["<5" if i % 9 == 0 else f"{i / 4}" for i in range(ROWS)],
        "a, b": [["red", "green", None][i % 3] for i in range(ROWS)],
        "price": [i / 3 + (i % 3) for i in range(ROWS)],
    }
)
EVERY = ["size", "zip", "day", "new", "dose", "a, b"]


def study_of(frame=FRAME, target="price", **asked):
    return of_table(frame, Asked(target=target, **asked), source="rows")


def used(study) -> dict[str, str]:
    return {column.name: column.kind for column in study.schema.columns}


WISHES = [
    (
        {},
        dict(
            zip(EVERY, ["number", "category", "date", "boolean", "mixed", "category"], strict=True)
        ),
    ),
    (
        {"drop": ("day", "a, b")},
        {"size": "number", "zip": "category", "new": "boolean", "dose": "mixed"},
    ),
    ({"columns": ("new", "size")}, {"size": "number", "new": "boolean"}),
    ({"columns": ("new", "size", "price")}, {"size": "number", "new": "boolean"}),
    ({"columns": ("new", "size"), "drop": ("new",)}, {"size": "number"}),
    ({"columns": ("zip",), "types": {"zip": "number"}}, {"zip": "number"}),
    ({"columns": ("new",), "types": {"new": "category"}}, {"new": "category"}),
    ({"columns": ("size",), "types": {"size": "category"}}, {"size": "category"}),
    ({"columns": ("dose",), "types": {"dose": "category"}}, {"dose": "category"}),
    ({"columns": ("day",), "types": {"day": "date:%d/%m/%Y"}}, {"day": "date"}),
    ({"columns": ("day", "new"), "types": {"day": "text"}}, {"new": "boolean"}),
    ({"columns": ("day", "new"), "types": {"day": "drop"}}, {"new": "boolean"}),
]


@pytest.mark.parametrize(("asked", "kinds"), WISHES)
def test_a_wish_is_fulfilled(asked, kinds):
    assert used(study_of(**asked)) == kinds


def test_a_format_that_was_asked_for_is_used():
    first = study_of(columns=("day",)).schema.columns[0]
    asked = study_of(columns=("day",), types={"day": "date:%d/%m/%Y"}).schema.columns[0]
    assert (first.format, asked.format) == ("%m/%d/%Y", "%d/%m/%Y")
    assert first.mean != asked.mean


def test_what_was_asked_away_is_said_in_one_line():
    notices = study_of(drop=("day", "new")).notices
    assert [line for line in notices if "day" in line] == ["left out as asked, 2: day, new"]


REFUSED = [
    ({"drop": ("sise",)}, DataError, "did you mean 'size'"),
    ({"columns": ("sise",)}, DataError, "did you mean 'size'"),
    ({"types": {"sise": "number"}}, DataError, "did you mean 'size'"),
    ({"drop": ("price",)}, UsageError, "'price', which is the target"),
    ({"types": {"price": "number"}}, UsageError, "'price', which is the target"),
    ({"types": {"size": "nomber"}}, UsageError, "did you mean 'number'"),
    ({"types": {"size": "number:%d"}}, UsageError, "is no kind"),
    ({"types": {"day": "date:dd"}}, UsageError, "is no kind"),
    ({"types": {"day": "date"}, "drop": ("day",)}, UsageError, "in drop and in types"),
    ({"types": {"new": "date"}}, DataError, "asked to be a date, but holds 'nein'"),
    ({"types": {"new": "number"}}, DataError, "asked to be a number, but holds 'nein' in row 1"),
    ({"types": {"dose": "number"}}, DataError, "holds '<5' in row 1"),
    ({"types": {"day": "date:%Y"}}, DataError, "asked to be a date"),
    ({"columns": ("price",)}, DataError, "no column is left to learn from .6 left out as asked"),
    ({"drop": tuple(EVERY)}, DataError, "no column is left"),
]


@pytest.mark.parametrize(("asked", "error", "says"), REFUSED)
def test_a_wish_that_cannot_be_fulfilled_is_refused(asked, error, says):
    with pytest.raises(error, match=says):
        study_of(**asked)


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a, b", "c"), ('say "x"', "y")])
def test_names_in_one_text_come_back(names):
    assert names_of(joined(names)) == names
    assert Settings(drop=list(names)).drop == joined(names)


def test_pairs_in_one_text_come_back():
    types = {"a": "category", "b=c": "date:%d.%m.%Y", "d, e": "number"}
    assert pairs_of(Settings(types=types).types, "types") == types


@pytest.mark.parametrize("setting", ["drop", "columns", "types"])
def test_what_is_no_list_of_names_is_refused(setting):
    with pytest.raises(UsageError, match=f"{setting} is 3"):
        Settings(**{setting: 3})


def as_file(schema: Schema) -> dict:
    return tomllib.loads(schema_text(schema))


def test_a_schema_file_is_the_schema():
    schema = study_of().schema
    assert Schema.from_dict(as_file(schema)) == schema
    text = schema_text(schema)
    assert "# 1 input: standardised, ja is 1" in text
    assert "# What is predicted." in text


def test_a_schema_given_back_is_the_same_schema_to_the_bit():
    first = study_of(drop=("zip",))
    again = study_of(given=as_file(first.schema))
    assert again.schema == first.schema
    assert torch.equal(again.train.inputs, first.train.inputs)
    assert torch.equal(again.test.targets, first.test.targets)


def test_what_is_deleted_from_a_schema_is_measured_anew():
    first = study_of(columns=("size", "day", "a, b"))
    values = as_file(first.schema)
    for row in values["columns"]:
        for name in set(row) - {"name", "kind", "format"}:
            del row[name]
    assert study_of(given=values).schema == first.schema


@pytest.mark.parametrize(
    ("name", "kind"),
    [("size", "category"), ("zip", "number"), ("dose", "number"), ("new", "mixed")],
)
def test_a_column_whose_kind_is_changed_is_measured_anew(name, kind):
    frame = FRAME.with_columns(dose=pl.col("dose").str.replace("<", ""))
    values = as_file(study_of(frame, types={"dose": "mixed"}).schema)
    row = next(row for row in values["columns"] if row["name"] == name)
    row["kind"] = kind
    schemas = (study_of(frame, given=values).schema, study_of(frame, types={name: kind}).schema)
    found, expected = [next(row for row in each.columns if row.name == name) for each in schemas]
    assert found == expected


def test_what_stands_in_a_schema_counts():
    given = {
        "columns": [
            {"name": "size", "kind": "number", "mean": 2, "deviation": 4.0},
            {"name": "a, b", "kind": "category", "levels": ["green"]},
            {"name": "day", "kind": "date", "parts": ["month"]},
        ],
        "dropped": [{"name": "zip"}],
    }
    study = study_of(given=given)
    assert used(study)["size"] == "number"
    assert "zip" not in used(study)
    assert used(study)["new"] == "boolean"  # named nowhere: recognised as ever
    by_name = {column.name: column for column in study.schema.columns}
    assert (by_name["size"].mean, by_name["size"].deviation) == (2, 4.0)
    assert by_name["a, b"].levels == ("green",)
    assert by_name["a, b"].width == 3
    assert by_name["day"].parts == ("month",)
    assert by_name["day"].width == 3


COLUMN = {"name": "size", "kind": "number"}
BAD_FILES = [
    ({"colums": []}, "key 'colums', which is unknown: did you mean 'columns'"),
    ({"columns": [{**COLUMN, "meen": 1.0}]}, "did you mean 'mean'"),
    ({"columns": [{**COLUMN, "name": "sise"}]}, "no column 'sise': did you mean 'size'"),
    ({"columns": [{**COLUMN, "kind": "numbr"}]}, "did you mean 'number'"),
    ({"columns": [{"name": "size"}]}, "of kind None: choose one of"),
    ({"columns": [{"kind": "number"}]}, "a column without a name"),
    ({"columns": [COLUMN, COLUMN]}, "stands there twice"),
    ({"columns": [COLUMN], "dropped": [{"name": "size"}]}, "stands there twice"),
    ({"columns": [{**COLUMN, "name": "price"}]}, "'price' is the target"),
    ({"columns": [{**COLUMN, "mean": "1"}]}, "mean is '1': it must be a number"),
    ({"columns": [{**COLUMN, "mean": True}]}, "mean is True: it must be a number"),
    ({"columns": [{**COLUMN, "deviation": 0}]}, "larger than 0"),
    ({"columns": [{**COLUMN, "has_missing": 1}]}, "true or false"),
    ({"columns": [{"name": "zip", "kind": "category", "levels": ["a", "a"]}]}, "each once"),
    ({"columns": [{"name": "zip", "kind": "category", "levels": [1]}]}, "must be texts"),
    ({"columns": {"size": "number"}}, "must be tables"),
    ({"dropped": [{"name": "sise"}]}, "did you mean 'size'"),
    ({"target": {"name": "cost"}}, "its target's name is 'cost', and 'price'"),
    ({"target": {"naem": "price"}}, "did you mean 'name'"),
    ({"target": {"deviation": 0.0}}, "deviation is 0.0"),
]


@pytest.mark.parametrize(("given", "says"), BAD_FILES, ids=[row[1][:30] for row in BAD_FILES])
def test_a_schema_that_is_none_is_refused(given, says):
    with pytest.raises(UsageError, match=says):
        study_of(given=given)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    FRAME.write_csv(tmp_path / "t.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: str) -> int:
    return main(shlex.split(words))


FIT = "fit t.csv --target price --model mlp:8 --quiet"


def test_the_schema_is_printed_edited_and_given_back(place, capsys):
    assert run(f"{FIT} --steps 20 --drop zip --name a") == 0
    capsys.readouterr()
    assert run("report a --schema") == 0
    text = capsys.readouterr().out
    assert text == Path("runs/a/schema.toml").read_text()
    assert run("report a --schema --json") == 0
    assert json.loads(capsys.readouterr().out)["columns"] == text

    Path("mine.toml").write_text(text)
    assert run(f"{FIT} --steps 20 --schema mine.toml --name b") == 0
    assert Path("runs/a/model.safetensors").read_bytes() == (
        Path("runs/b/model.safetensors").read_bytes()
    )
    Path("mine.toml").write_text(text.replace('kind = "boolean"', 'kind = "category"', 1))
    lines = [line for line in Path("mine.toml").read_text().splitlines() if "ja" not in line]
    Path("mine.toml").write_text("\n".join(lines))
    assert run(f"{FIT} --steps 20 --schema mine.toml --name c") == 0
    kinds = {row.name: row.kind for row in thalweg.load("runs/c").schema.columns}
    assert kinds["new"] == "category"


def test_texts_stay_texts_on_their_way_through_files(place):
    assert run(f"{FIT} --steps 5 --types zip=category,size=category --name a") == 0
    levels = {row.name: row.levels for row in thalweg.load("runs/a").schema.columns}
    assert "00003" in levels["zip"]
    predicted = thalweg.load("runs/a").predict("t.csv")
    from_frame = thalweg.load("runs/a").predict(FRAME)
    assert predicted.equals(from_frame)


def test_an_interrupted_run_goes_on_though_its_schema_file_was_changed(place):
    assert run(f"{FIT} --steps 20 --name first") == 0
    text = Path("runs/first/schema.toml").read_text()
    Path("mine.toml").write_text(text)
    assert run(f"{FIT} --schema mine.toml --steps 20 --name whole") == 0
    assert run(f"{FIT} --schema mine.toml --steps 20 --name longer") == 0
    Path("mine.toml").unlink()
    assert run("resume longer --steps +10 --quiet") == 0
    assert Path("runs/longer/schema.toml").read_text() == (
        Path("runs/whole/schema.toml").read_text()
    )
    assert thalweg.load("runs/longer").result["steps"] == 30


def test_a_child_keeps_its_columns(place, capsys):
    assert run(f"{FIT} --steps 20 --name a") == 0
    for setting in ("drop=size", "columns=size", "types=size=number", "schema=x.toml"):
        assert run(f"resume a --set {setting} --quiet") == 2
        assert "other columns make another run" in capsys.readouterr().err


def test_the_function_takes_lists_and_mappings():
    run = thalweg.fit(
        FRAME,
        target="price",
        drop=["zip", "a, b"],
        types={"new": "category"},
        steps=5,
        out=None,
        quiet=True,
    )
    kinds = {row.name: row.kind for row in run.schema.columns}
    assert kinds == {"size": "number", "day": "date", "new": "category", "dose": "mixed"}
    assert np.isfinite(run.predict(FRAME)["prediction"].to_numpy()).all()


@pytest.mark.parametrize("content", [None, "= 3", b"\xff\xfe", "columns = 3", "columns = [1]"])
def test_a_schema_file_that_cannot_be_read_is_refused(content, place, capsys):
    if content is not None:
        Path("s.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run(f"{FIT} --schema s.toml") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("thalweg: --schema s.toml")
    assert not Path("runs").exists()
