"""Errors by group, how far chance reaches, what it may cost; and how all of it is shown."""

from __future__ import annotations

import html
import json
import math
import shlex

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import thalweg
from mattered_kit import ROWS, TASKS, fit, rows
from thalweg.cli.main import main
from thalweg.draw import mattered_words
from thalweg.draw.mattered import mattered
from thalweg.errors import DataError, UsageError
from thalweg.tasks.mattered.budget import COSTLY, MOST_ROWS, REPEATS, Sample, passes_of, sample_of
from thalweg.tasks.mattered.chance import around, interval_of, reach, wilson
from thalweg.tasks.mattered.headline import headline_of
from thalweg.tasks.table.by import MISSING, MOST_GROUPS, groups_of
from thalweg.tasks.task import Task


@pytest.fixture(scope="module")
def tested():
    """Rows that were given to test, and the run."""
    test = rows(900, 9)
    return test, fit(drop="town", by="town", test=test)


# --- groups ---------------------------------------------------------------------------------------


def test_groups_add_up_and_each_is_counted_by_hand(tested):
    test, run = tested
    right = test.select("town", ok=run.predict(test)["prediction"] == test["class"])
    found = run.result["groups"]
    assert (found["column"], found["set"], found["metric"]) == ("town", "test", "accuracy")
    assert [row["name"] for row in found["groups"]] == ["a", "b", "c"]
    assert sum(row["rows"] for row in found["groups"]) == found["rows"] == test.height
    assert found["value"] == pytest.approx(right["ok"].mean())
    weighed = sum(row["rows"] * row["loss"] for row in found["groups"]) / test.height
    assert weighed == pytest.approx(run.result["test"]["loss"], rel=1e-5)
    for row in found["groups"]:
        own = right.filter(pl.col("town") == row["name"])["ok"]
        assert (row["rows"], row["value"]) == (len(own), pytest.approx(own.mean()))
        assert row["low"] <= row["value"] <= row["high"]


def test_the_group_that_goes_wrong_is_marked_and_no_other(tested):
    _, run = tested
    assert [row["is_worse"] for row in run.result["groups"]["groups"]] == [False, False, True]
    said = mattered_words.groups(run.result)
    assert said in str(run)
    assert said.startswith("by town: c is worse beyond chance, accuracy ")


def test_by_whatever_stands_in_the_table():
    """An input, the target, the weights, and a column that was dropped."""
    frame = rows().with_columns(heavy=pl.Series(1.0 + np.arange(ROWS) % 3))
    for column in ("town", "class", "heavy", "noise"):
        run = fit(frame, by=column, weights="heavy", drop="noise", epochs=1)
        found = run.result["groups"]
        assert found["column"] == column
        assert sum(row["rows"] for row in found["groups"]) == run.result["task"]["test_rows"]


VALUES = {
    "words": (pl.Series(["b", "a", "b", None]), "values", ("b", "a", MISSING), [0, 1, 0, 2]),
    "truths": (pl.Series([True, False, True]), "values", ("true", "false"), [0, 1, 0]),
    "few numbers": (pl.Series([2.0, 2.0, 1.0]), "values", ("2", "1"), [0, 0, 1]),
    "nothing": (pl.Series([None, None], dtype=pl.String), "values", (MISSING,), [0, 0]),
    "many words": (
        pl.Series([f"w{min(i, 30):02d}" for i in range(40)]),
        "values",
        ("w30", *(f"w{i:02d}" for i in range(19)), "other (11 values)"),
        [*range(1, 20), *[20] * 11, *[0] * 10],
    ),
    "numbers": (
        pl.Series([float(i) for i in range(40)] + [None]),
        "ranges",
        ("0 to 9", "10 to 19", "20 to 29", "30 to 39", MISSING),
        [i // 10 for i in range(40)] + [4],
    ),
    "mostly one number": (
        pl.Series([0.0] * 90 + [float(i) for i in range(1, 31)]),
        "ranges",
        ("0", "1 to 30"),
        [0] * 90 + [1] * 30,
    ),
    "days": (
        pl.Series(range(0, 100, 4), dtype=pl.Int32).cast(pl.Date),
        "ranges",
        (
            "1970-01-01 to 1970-01-25",
            "1970-01-29 to 1970-02-18",
            "1970-02-22 to 1970-03-14",
            "1970-03-18 to 1970-04-07",
        ),
        [0] * 7 + [1] * 6 + [2] * 6 + [3] * 6,
    ),
    "days in texts": (
        pl.Series([f"{i:02d}.03.2024" for i in range(1, 25)]),
        "ranges",
        (
            "2024-03-01 to 2024-03-06",
            "2024-03-07 to 2024-03-12",
            "2024-03-13 to 2024-03-18",
            "2024-03-19 to 2024-03-24",
        ),
        [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6,
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_make_groups(name):
    series, kind, names, ids = VALUES[name]
    found = groups_of(series.alias("x"))
    assert (found.kind, found.names, found.ids.tolist()) == (kind, names, ids)
    assert len(names) <= MOST_GROUPS + 2


def test_a_column_that_is_not_there_is_told_before_anything_is_written(tmp_path, capsys):
    rows().write_csv(tmp_path / "t.csv")
    words = f"fit {tmp_path}/t.csv --target class --by twon --out {tmp_path}/runs"
    assert main(shlex.split(words)) == 4
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.endswith("has no column 'twon': did you mean 'town'?")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(DataError, match="did you mean 'town'"):
        fit(by="twon")
    arrays = np.zeros((40, 3), np.float32), np.arange(40) % 2
    with pytest.raises(UsageError, match="by='x0' names a column, and the data is no table"):
        thalweg.fit(arrays, model=nn.Linear(3, 2), by="x0", out=None, quiet=True)


# --- chance ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "freedom", "wanted"),
    [
        (0.95, None, 1.960),
        (0.95, 9, 2.262),
        (0.99, 9, 3.250),
        (0.95, 29, 2.045),
        (0.998, 29, 3.396),
    ],
)
def test_quantiles_are_those_of_the_tables(level, freedom, wanted):
    assert reach(level, freedom) == pytest.approx(wanted, abs=0.005)


def test_wilsons_interval_is_that_of_the_paper():
    """81 of 263: 0.2553 .. 0.3662 (Newcombe, 1998, table I); it never leaves 0 .. 1."""
    assert wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1.0, 29, 0.95) == pytest.approx((0.8830, 1.0), abs=5e-5)


def test_intervals_hold_as_often_as_they_say():
    """The jackknife of an rmse over 2,000 draws of 300 rows; the truth is 1."""
    draw = np.random.default_rng(0)
    task = Task(
        nn.Linear(1, 1), (np.zeros((4, 1), np.float32), np.zeros(4, np.float32)), loss="mse"
    )
    metric = headline_of(task)
    held = 0
    for _ in range(500):
        outputs = torch.from_numpy(draw.normal(size=300))
        found = interval_of(metric, outputs, torch.zeros(300), None, level=0.95)
        assert found is not None
        held += found[0] <= 1 <= found[1]
    assert 0.92 <= held / 500 <= 0.98


def test_what_cannot_be_told_has_no_interval():
    assert around(1.0, [1.0, math.nan], 0.95) is None
    assert around(math.nan, [1.0, 2.0], 0.95) is None
    assert around(1.0, [], 0.95) is None


# --- what it costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("num_rows", [1, 15, 300, 140_000])
@pytest.mark.parametrize("num_columns", [1, 40, 3_000])
@pytest.mark.parametrize("passes", [10, 10_000, 10_000_000])
def test_the_budget_is_kept(num_rows, num_columns, passes):
    found = sample_of(num_rows, num_columns, passes)
    if found is None:
        assert passes / num_columns < min(20, num_rows)
        return
    assert 1 <= found.repeats <= REPEATS
    assert 1 <= found.rows <= min(num_rows, MOST_ROWS)
    assert found.rows * found.repeats * num_columns <= passes


def test_a_large_table_is_sampled_and_a_wide_one_left():
    assert sample_of(140_000, 5, 10**9) == Sample(MOST_ROWS, REPEATS)
    assert sample_of(500, 10**6, 10**6) is None


def test_longer_training_and_cheaper_metrics_allow_more():
    net = nn.Linear(1000, 1000)
    data = (np.zeros((9, 1000), np.float32), np.arange(9))
    plain, ranked = (headline_of(Task(net, data, metric=name)) for name in ("loss", "auc"))
    task = Task(net, data)
    assert passes_of(task, plain, 10**7) == 3 * 10**6
    assert passes_of(task, ranked, 10**7) == 3 * 10**6 // COSTLY
    assert passes_of(task, plain, 0) > 0


def test_what_was_left_out_is_said(monkeypatch):
    monkeypatch.setattr("thalweg.tasks.mattered.budget.LEAST_WORK", 0)
    run = fit(epochs=1, steps=1)
    assert run.result["importance"] == []
    assert "too many" in run.result["importance_how"]["reason"]
    assert "Not measured: 5 columns are too many" in html.unescape(mattered(run.result))
    monkeypatch.undo()
    monkeypatch.setattr("thalweg.jobs.mattered.LONGEST", -1.0)
    monkeypatch.setattr("thalweg.jobs.mattered.SHARE", 0.0)
    run = fit(epochs=1)
    assert run.result["importance"] == []
    assert run.result["importance_how"]["reason"].startswith("measured 0 of 5 columns")


# --- how it is shown, and gone on with ------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_page_shows_columns_rows_and_groups(name):
    settings, _ = TASKS[name]
    frame = rows().with_columns(heavy=pl.Series(np.arange(ROWS) % 3))
    result = json.loads(json.dumps(fit(frame, **{"epochs": 1, "by": "town", **settings}).result))
    page = html.unescape(mattered(result))
    assert page.count("<section") == 3
    assert page.count("<table") == page.count("<thead") == 3
    for column in result["importance"]:
        assert column["column"] in page
    assert "Row</th>" in page
    assert f"{result['worst'][0]['row']:,}" in page
    assert page.count("<svg") == len(result["importance"]) + len(result["groups"]["groups"])


def test_a_page_without_it_and_with_the_worst_names():
    assert mattered({}) == ""
    assert mattered({"importance": None, "worst": None, "groups": None}) == ""
    assert mattered_words.lines({}) == []
    evil = "</script><b title=\"x\" & 'y'>"
    frame = rows().rename({"town": evil, "noise": f"a {evil}"})
    frame = frame.with_columns(
        pl.col(evil).replace({"a": evil}), pl.col("class").replace({"yes": evil})
    )
    result = fit(frame, by=evil, epochs=1).result
    page = mattered(result)
    assert "<b title" not in page
    assert "&lt;b title=&quot;x&quot; &amp; &#x27;y&#x27;&gt;" in page


def test_a_model_that_broke_is_shown_all_the_same():
    """Nothing is finite: a NaN is the largest loss, and no column can be told from no effect."""
    run = fit(target="size", lr=1e30, optimizer="sgd", guard="off", steps=20, by="town")
    result = json.loads(json.dumps(thalweg.strict.strict(run.result), allow_nan=False))
    assert "What mattered" in mattered(result)
    assert not [row for row in result["importance"] if row["is_clear"]]
    assert str(run)


def test_from_the_command_line_and_longer_and_as_a_child(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows().write_csv("t.csv")

    def run(words):
        assert main(shlex.split(words)) == 0
        text = capsys.readouterr().out
        return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    fitted = "fit t.csv --target class --model linear --quiet --json"
    first = run(f"{fitted} --by town --epochs 4")
    again = run(f"{fitted} --by town --epochs 2")
    longer = run("resume t-2 --epochs +2 --quiet --json")
    child = run("resume t-1 --set by=size --epochs +1 --quiet --json")
    for result in (first, again, longer, child):
        assert len(result["importance"]) == 5
        assert len(result["worst"]) == 10
    assert longer["groups"]["column"] == "town"
    assert child["groups"]["column"] == "size"
    assert 'by = "town"' in (tmp_path / "runs/t-2/run.toml").read_text()
    page = (tmp_path / "runs/t-1/report.html").read_text()
    assert "What mattered" in page
    assert main(["report", "t-1", "--json"]) == 0
    assert (tmp_path / "runs/t-1/report.html").read_text() == page


def test_every_fold_has_its_own():
    folds = fit(folds=2, by="town", epochs=1)
    for run in folds.runs:
        assert len(run.result["importance"]) == 5
        assert run.result["groups"]["rows"] == run.result["task"]["test_rows"]
    first, second = (run.result["worst"] for run in folds.runs)
    assert first != second


def test_texts_are_told_apart_by_a_column_that_is_no_input():
    words = ["good fine", "bad poor"]
    texts = pl.DataFrame(
        {
            "text": [f"{words[i % 2]} {i % 7}" for i in range(300)],
            "kind": ["yes" if i % 2 == 0 else "no" for i in range(300)],
            "town": ["a" if i % 3 else "b" for i in range(300)],
        }
    )
    run = thalweg.fit(texts, target="kind", text="text", by="town", steps=5, out=None, quiet=True)
    found = run.result["groups"]
    assert [row["name"] for row in found["groups"]] == ["a", "b"]
    assert sum(row["rows"] for row in found["groups"]) == run.result["task"]["test_rows"]
    with pytest.raises(DataError, match="did you mean 'town'"):
        thalweg.fit(texts, target="kind", text="text", by="twon", steps=5, out=None, quiet=True)
