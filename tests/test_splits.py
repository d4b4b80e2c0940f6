"""Splits: shares, by class, by time, by group, files of their own; what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from torch import nn

import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, UsageError
from thalweg.jobs.settings import Settings
from thalweg.tasks.table.asked import Asked, Parting
from thalweg.tasks.table.parts import Parts, parts_of
from thalweg.tasks.table.split import split
from thalweg.tasks.table.study import of_table

ROWS = 240


def table(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    y = np.where(a + 0.5 * b + 0.3 * rng.normal(size=rows) > 0, "yes", "no")
    day = [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in rng.integers(0, 300, rows)]
    return pl.DataFrame(
        {"a": a, "b": b, "group": rng.integers(0, 30, rows), "day": day, "y": y.tolist()}
    )


def parts(how: str, **given) -> Parts:
    strata = (table().get_column("y") == "yes").cast(pl.Int64).to_numpy()
    return parts_of(table(), Parting(how=how, **given), strata)


def each(found: Parts) -> list[np.ndarray]:
    return [found.rows.train, found.rows.validation, found.rows.test]


HOWS = ["random", "stratified", "time:day", "time:group", "group:group", "group:day"]
SHARES = [(0.1, 0.1), (0.3, 0.05), (0.05, 0.4)]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("shares", SHARES)
def test_every_row_stands_in_one_part_and_shares_are_met(how, shares):
    found = parts(how, validation_share=shares[0], test_share=shares[1])
    assert np.sort(np.concatenate(each(found))).tolist() == list(range(ROWS))
    assert len(found.rows.validation) == pytest.approx(shares[0] * ROWS, abs=12)
    assert len(found.rows.test) == pytest.approx(shares[1] * ROWS, abs=12)


@pytest.mark.parametrize("how", [how for how in HOWS if not how.startswith("time")])
def test_parts_are_keyed_by_the_seed(how):
    first, again, other = (parts(how, seed=seed).rows.test.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("column", ["day", "group"])
def test_the_newest_rows_test_and_ties_stay_together(column):
    values = table().get_column(column)
    train, validation, test = (values.gather(rows) for rows in each(parts(f"time:{column}")))
    assert train.max() < validation.min()
    assert validation.max() < test.min()


def test_no_group_stands_in_two_parts():
    groups = [set(table().get_column("group").gather(rows)) for rows in each(parts("group:group"))]
    assert all(groups)
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_uneven_shares_keep_the_classes_alike():
    strata = np.repeat([0, 1], [900, 100])
    found = split(1000, seed=0, strata=strata, share=0.2, test_share=0.05)
    assert [strata[rows].sum() for rows in (found.validation, found.test)] == [
        pytest.approx(20, abs=1),
        pytest.approx(5, abs=1),
    ]


FORMS = [
    ["2024-01-31", "2023-12-01", "2024-02-01"],
    ["31.01.2024", "01.12.2023", "01.02.2024"],
    ["2024-01-31 10:00:00", "2024-01-31 09:59:59", "2024-02-01 00:00:00"],
    ["2024-01-31T10:00:00Z", "2024-01-31T09:00:00Z", "2024-02-01T00:00:00Z"],
    ["01/31/2024", "12/01/2023", "02/01/2024"],
    [2.5, -1.0, 3.0],
]


@pytest.mark.parametrize("values", FORMS, ids=str)
def test_times_are_read_as_people_write_them(values):
    frame = pl.DataFrame({"t": values * 10})
    found = parts_of(frame, Parting(how="time:t", validation_share=0.3, test_share=0.3), None)
    assert [set(rows % 3) for rows in each(found)] == [{1}, {0}, {2}]


def test_what_is_said_of_a_part_is_from_when_to_when_not_from_a_to_z():
    days = [f"{day:02}.{month:02}.2024" for month in range(1, 11) for day in (1, 13, 28)]
    found = parts_of(pl.DataFrame({"t": days}), Parting(how="time:t"), None)
    assert "train 01.01.2024 to 28.08.2024" in found.words[0]
    assert "test 01.10.2024 to 28.10.2024" in found.words[0]


CANNOT_BE = [
    ("time:a", {"a": ["x"] * 20}, "column 'a' is 'x', which is no time, in row 1"),
    ("time:a", {"a": ["2024-01-01"] * 19 + ["soon"]}, "'soon', which is no time, in row 20"),
    ("time:a", {"a": [*range(19), None]}, "column 'a' is missing in row 20"),
    ("time:a", {"a": [*map(float, range(19)), float("nan")]}, "nan, which is no time, in row 20"),
    ("time:a", {"a": [True, False] * 10}, "is True, which is no time"),
    ("time:a", {"a": ["01/02/2024"] * 20}, "the day or with the month first"),
    ("time:a", {"a": [1] * 20}, "has 1 distinct time in 20 rows"),
    ("group:a", {"a": ["x"] * 20}, "has 1 group ('x': 20 rows)"),
    ("group:a", {"a": ["x"] * 12 + ["z"] * 8}, "3 parts need at least 3 groups"),
    ("group:a", {"a": ["x", None] * 10}, "missing in 10 rows (first: row 2)"),
    ("group:nope", {"a": [1] * 20}, "no column 'nope'"),
    ("group:a", {"a": [1, 2, 3]}, "3 rows are too few"),
]


@pytest.mark.parametrize(("how", "columns", "told"), CANNOT_BE, ids=[row[2] for row in CANNOT_BE])
def test_a_column_that_cannot_split_is_refused(how, columns, told):
    with pytest.raises(DataError) as error:
        parts_of(pl.DataFrame(columns), Parting(how=how), None)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_shares_that_groups_cannot_meet_are_said():
    frame = pl.DataFrame({"g": [1] * 40 + [2] * 30 + [3] * 30})
    found = parts_of(frame, Parting(how="group:g"), None)
    assert [len(rows) for rows in each(found)] == [40, 30, 30]
    assert sum("10.0% was asked for" in text for text in found.words) == 2


WISHES = [
    {"split": "nonsense"},
    {"split": "time"},
    {"split": "random:day"},
    {"validation_share": 0},
    {"validation_share": 0.5, "test_share": 0.5},
    {"validation_share": 0.2, "validation": "v.csv"},
    {"folds": 1},
    {"folds": 3, "test": "v.csv"},
    {"folds": 3, "test_share": 0.2},
    {"folds": 3, "split": "time:day"},
    {"folds": 3, "fold": 4},
    {"fold": 1},
]


@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_a_wish_that_cannot_be_is_refused_at_once(wish):
    with pytest.raises(UsageError):
        Settings.of(wish)


def fit(data, **settings):
    return thalweg.fit(data, target="y", steps=20, out=None, quiet=True, **settings)


def rows_of(run) -> list[int]:
    return [run.result["task"][f"{part}_rows"] for part in ("train", "validation", "test")]


def test_a_group_column_is_no_input_and_a_time_column_is_one():
    run = fit(table(), split="group:group")
    assert "group" in [row.name for row in run.schema.dropped]
    assert run.result["split"]["column"] == "group"
    assert len(run.predict(table().drop("group"))) == ROWS
    frame = table().with_columns(pl.col("day").str.to_date())
    run = fit(frame, split="time:day")
    assert "day" in [column.name for column in run.schema.columns]
    assert any("stays an input" in text for text in run.result["split"]["notices"])


def test_groups_of_a_file_that_train_as_well_are_said():
    held = table(20, seed=1).with_columns(group=pl.Series([0, 1, 99, 98] * 5))
    run = fit(table(), validation=held, split="group:group")
    train = [text for text in run.result["split"]["notices"] if "train as well" in text]
    assert len(train) == 1
    assert "of 4 groups of the validation rows" in train[0]
    assert fit(table(), split="group:group").result["split"]["notices"][1:] == []


GIVEN = [
    ("as it is", lambda frame: frame),
    ("another order", lambda frame: frame.select(frame.columns[::-1])),
    ("a column more", lambda frame: frame.with_columns(more=1)),
    ("other types", lambda frame: frame.with_columns(pl.col("group").cast(pl.Float64))),
]


@pytest.mark.parametrize("change", [row[1] for row in GIVEN], ids=[row[0] for row in GIVEN])
def test_files_of_their_own_give_what_one_table_gives(change):
    frame, held = table(), table(60, seed=1)
    study = of_table(frame, Asked(target="y", validation=change(held), test=held), source="data")
    assert [len(part) for part in (study.train, study.validation, study.test)] == [ROWS, 60, 60]
    again = of_table(frame, Asked(target="y", validation=held, test=held), source="data")
    assert study.schema == again.schema
    assert study.validation.inputs.equal(again.test.inputs)


BAD_FILES = [
    ("lacks", lambda f: f.drop("a", "day"), ["lacks 2 columns: 'a', 'day'"]),
    ("no target", lambda f: f.drop("y"), ["lacks the column 'y'"]),
    (
        "unseen",
        lambda f: f.with_columns(y=pl.Series(["maybe", *f["y"][1:]])),
        ["'maybe'", "first: row 1"],
    ),
    (
        "text",
        lambda f: f.with_columns(a=pl.Series(["1"] * 7 + ["soon"] * 53)),
        ["row 8", "'a'", "'soon'"],
    ),
    (
        "no class",
        lambda f: f.with_columns(y=pl.Series([None, *f["y"][1:]])),
        ["missing in 1 rows"],
    ),
]


@pytest.mark.parametrize(("change", "told"), [row[1:] for row in BAD_FILES])
def test_a_file_that_does_not_fit_is_refused(change, told):
    with pytest.raises(DataError) as error:
        fit(table(), validation=change(table(60, seed=1)))
    for words in ["the validation data", *told]:
        assert words in str(error.value)


def test_a_file_may_lack_what_nobody_learns_from():
    names = [f"n{i}" for i in range(ROWS)]
    frame = table().with_columns(code=pl.Series(names), same=pl.lit("x"))
    assert rows_of(fit(frame, test=table(60, seed=1)))[2] == 60
    with pytest.raises(DataError, match="lacks the column 'code'"):
        fit(frame, test=table(60, seed=1), types={"code": "category"})


def test_numbers_as_classes_may_be_written_otherwise_in_a_file(tmp_path: Path):
    frame = table().with_columns(y=(pl.col("y") == "yes").cast(pl.Int64))
    frame.head(200).write_csv(tmp_path / "train.csv")
    frame.tail(40).with_columns(pl.col("y").cast(pl.Float64)).write_csv(tmp_path / "held.csv")
    run = fit(tmp_path / "train.csv", validation=tmp_path / "held.csv")
    assert rows_of(run) == [180, 40, 20]


def test_arrays_take_shares_and_samples_of_their_own():
    inputs = table().select("a", "b").to_numpy().astype(np.float32)
    targets = (table().get_column("y") == "yes").cast(pl.Int64).to_numpy()
    held = (inputs[:50] + 1, targets[:50])
    for model in (nn.Linear(2, 2), "linear"):
        given = {"model": model, "steps": 5, "out": None, "quiet": True}
        run = thalweg.fit((inputs, targets), validation_share=0.2, test_share=0.3, **given)
        assert rows_of(run) == [120, 48, 72]
        run = thalweg.fit((inputs, targets), validation=held, test=held, **given)
        assert rows_of(run) == [ROWS, 50, 50]


def test_the_command_line_and_a_repeat(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table().write_csv("d.csv")
    words = ["fit", "d.csv", "--target", "y", "--split", "group:group", "--test-share", "0.25"]
    more = ["--steps", "20", "--quiet", "--json"]
    assert main([*words, *more]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["fit", "--config", "runs/d-1/run.toml", "--quiet", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert first["test"] == again["test"]
    assert first["split"] == again["split"]
    assert first["task"]["test_rows"] == pytest.approx(60, abs=8)


def test_a_changed_file_is_refused_by_a_resume(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table().write_csv("d.csv")
    table(60, seed=1).write_csv("v.csv")
    words = ["fit", "d.csv", "--target", "y", "--validation", "v.csv", "--steps", "20", "--quiet"]
    assert main(words) == 0
    assert main(["resume", "last", "--steps", "+5", "--quiet"]) == 0
    table(60, seed=2).write_csv("v.csv")
    assert main(["resume", "last", "--steps", "+5", "--quiet"]) == 5
    assert "v.csv, the validation data, has changed" in capsys.readouterr().err
