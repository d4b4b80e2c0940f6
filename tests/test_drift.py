"""Drift: new rows that differ are named with their numbers, and rows that do not are left alone."""

from __future__ import annotations

import datetime
import json
import shlex

import numpy as np
import polars as pl
import pytest

import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError
from thalweg.tasks.table.describe import describe_columns
from thalweg.tasks.table.drift import drift_of
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.target import Target

NUM = 2000
DAY = datetime.date(2020, 1, 1)


def table(seed: int, num: int = NUM, **columns) -> pl.DataFrame:
    """Rows of one distribution, with these columns in another."""
    draw = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "n": draw.normal(10, 2, num),
            "heavy": np.exp(draw.normal(0, 1.5, num)),
            "gaps": [
                None if i else v
                for i, v in zip(draw.random(num) < 0.1, draw.normal(size=num), strict=True)
            ],
            "c": draw.choice(["red", "green", "blue"], num),
            "many": [f"k{int(v)}" for v in draw.exponential(12, num)],
            "ok": draw.choice(["yes", "no"], num),
            "mixed": [
                ("<5" if u < 0.2 else f"{v:.3f}")
                for u, v in zip(draw.random(num), draw.normal(7, 1, num), strict=True)
            ],
            "day": [DAY + datetime.timedelta(days=int(v)) for v in draw.integers(0, 700, num)],
        }
    )
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def schema_of(frame: pl.DataFrame) -> Schema:
    columns, dropped = describe_columns(frame.iter_columns())
    return Schema(columns, dropped, Target("y", "regression"), frame.height)


SCHEMA = schema_of(table(0))


def test_rows_of_the_same_kind_raise_no_alarm():
    alarms = [
        row.sentence
        for seed in range(1, 41)
        for num in (20, 200, 2000)
        for row in drift_of(table(seed, num), SCHEMA)
    ]
    checks = 40 * 3 * len(SCHEMA.columns)
    assert len(alarms) <= 0.005 * checks, alarms


OTHER = np.random.default_rng(9)
DRIFTS = [
    ("n", OTHER.normal(14, 2, NUM), "moved", {"deviations": 2.0, "mean": 14.0}),
    ("n", OTHER.normal(10, 9, NUM), "outside", {"low": SCHEMA.columns[0].low}),
    (
        "n",
        [None] * 500 + OTHER.normal(10, 2, NUM - 500).tolist(),
        "missing",
        {"share": 0.25, "expected": 0.0},
    ),
    ("gaps", [None] * 700 + OTHER.normal(0, 1, NUM - 700).tolist(), "missing", {"share": 0.35}),
    ("c", ["red"] * 1500 + ["pink"] * 500, "unseen", {"share": 0.25, "expected": 0.0}),
    ("many", ["other"] * 1000 + ["k3"] * 1000, "unseen", {"share": 0.5}),
    ("ok", ["yes"] * 1000 + ["si"] * 500 + ["no"] * 500, None, {}),
    ("ok", ["yes"] * 900 + ["hm"] * 200 + ["no"] * 900, "unseen", {"share": 0.1}),
    (
        "mixed",
        ["<5"] * 300 + [">9"] * 400 + [f"{v}" for v in OTHER.normal(7, 1, 1300)],
        "unseen",
        {"share": 0.2},
    ),
    (
        "day",
        [DAY + datetime.timedelta(days=600 + i % 400) for i in range(NUM)],
        "outside",
        {"share": 0.75},
    ),
]


@pytest.mark.parametrize(("name", "values", "kind", "numbers"), DRIFTS)
def test_a_drifted_column_is_named_with_its_numbers(name, values, kind, numbers):
    found = drift_of(table(5, **{name: values}), SCHEMA)
    assert {row.column for row in found} <= {name}
    kinds = {row.kind: row for row in found}
    if kind is None:
        assert not found
        return
    row = kinds[kind]
    assert f"column {name!r}" in row.sentence
    for key, value in numbers.items():
        assert row.numbers[key] == pytest.approx(value, rel=0.1, abs=0.01)
        assert key in row.to_dict()


def test_dates_are_shown_as_dates():
    values = [DAY + datetime.timedelta(days=2000 + i % 100) for i in range(NUM)]
    (row,) = drift_of(table(5, day=values), SCHEMA)
    assert "2020-01-01 .. 2021-11-30" in row.sentence
    assert "from 2025-06-23 to 2025-09-30" in row.sentence


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("c", "pink", "unseen"), ("n", 1000.0, "outside"), ("n", None, "missing")],
)
def test_one_row_is_enough_for_what_was_never_seen(name, value, kind):
    row = table(3, 1).with_columns(pl.lit(value, dtype=table(3, 1)[name].dtype).alias(name))
    assert [found.kind for found in drift_of(row, SCHEMA)] == [kind]


def test_nothing_is_known_of_runs_of_older_versions():
    values = SCHEMA.to_dict()
    known = {"name", "kind", "mean", "deviation", "levels", "has_missing", "format", "parts"}
    columns = [{k: v for k, v in row.items() if k in known} for row in values["columns"]]
    older = Schema.from_dict({**values, "columns": columns, "rows": 0})
    assert drift_of(table(5, n=[1e9] * NUM), older) == []


def test_text_where_numbers_were_learnt_is_refused():
    with pytest.raises(DataError, match="row 2: column 'n' holds 'ten'"):
        drift_of(table(5, n=["9"] + ["ten"] * (NUM - 1)), SCHEMA)


def test_drift_is_said_by_predict_and_evaluate_and_is_no_refusal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    target = {"y": np.arange(NUM) / 7}
    table(0, **target).write_csv("t.csv")
    table(1, **target).write_csv("same.csv")
    table(1, **target, c=["pink"] * NUM, n=np.arange(NUM) + 900.0).write_csv("other.csv")
    assert main(shlex.split("fit t.csv --target y --model linear --steps 5 --quiet --name r")) == 0
    run = thalweg.load("runs/r")
    assert run.drift("same.csv") == []
    assert {row.column for row in run.drift("other.csv")} == {"c", "n"}
    capsys.readouterr()

    assert main(shlex.split("predict r same.csv")) == 0
    assert capsys.readouterr().err == ""
    assert main(shlex.split("predict r other.csv")) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == NUM + 1
    lines = printed.err.splitlines()
    assert all(line.startswith("thalweg: warning: column ") for line in lines)
    assert any("100.0% of its values have no level" in line for line in lines)
    for command in ("predict", "evaluate"):
        assert main(shlex.split(f"{command} r other.csv --json")) == 0
        rows = json.loads(capsys.readouterr().out)["drift"]
        assert {row["column"] for row in rows} == {"c", "n"}
        assert [row["text"] for row in rows] == [row.sentence for row in run.drift("other.csv")]
