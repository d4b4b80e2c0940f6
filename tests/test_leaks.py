"""Rows in two parts and columns that give the target away: found where planted, else silent."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

import thalweg
from thalweg.draw.report import render
from thalweg.tasks.table.asked import Asked, Parting
from thalweg.tasks.table.found import Found
from thalweg.tasks.table.leaks import LEAST_MISTAKES, too_good
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.study import of_table
from thalweg.tasks.table.twins import chance_of, keys_of_array, twins_of

ROWS = 1000


def inputs(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 5))


def frame_of(values: np.ndarray, y) -> pl.DataFrame:
    return pl.DataFrame({**{f"x{i}": values[:, i] for i in range(values.shape[1])}, "y": y})


def classes(values: np.ndarray, noise: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(5)
    score = values[:, 0] + values[:, 1] + noise * rng.normal(size=len(values))
    return np.digitize(score, [-0.8, 0.8])


def numbers(values: np.ndarray) -> np.ndarray:
    return np.exp(values[:, 0] + 0.3 * np.random.default_rng(5).normal(size=len(values)))


def found(frame: pl.DataFrame, **asked) -> Found:
    study = of_table(frame, Asked(target="y", **asked), source="data")
    assert study.found is not None
    return study.found


def names(frame: pl.DataFrame, **asked) -> list[str]:
    return [leak.column for leak in found(frame, **asked).leaks]


CLASS_LEAKS = {
    "a copy": lambda y: y,
    "other numbers": lambda y: 7 - 3 * y,
    "words": lambda y: np.array(["low", "middle", "high"])[y],
    "several words each": lambda y: [f"{'abc'[c]}{i % 4}" for i, c in enumerate(y)],
    "an identifier in the target's order": lambda y: 1e6 + np.argsort(np.argsort(y)) * 3.0,
    "a copy with few mistakes": lambda y: np.where(np.arange(len(y)) % 400 == 7, 0, y),
    "a copy, unknown where it is 0": lambda y: [None if c == 0 else float(c) for c in y],
}


@pytest.mark.parametrize("leak", CLASS_LEAKS)
def test_a_column_that_gives_classes_away_is_named(leak):
    values = inputs()
    y = classes(values)
    frame = frame_of(values, y).with_columns(leak=pl.Series(CLASS_LEAKS[leak](y)))
    assert names(frame) == ["leak"]


NUMBER_LEAKS = {
    "a copy": lambda y: y,
    "another unit": lambda y: 3.2 - 1.7 * y,
    "its logarithm": np.log,
    "rounded": lambda y: np.round(y, 2),
    "almost": lambda y: y * (1 + 0.005 * np.random.default_rng(1).normal(size=len(y))),
    "an identifier in the target's order": lambda y: np.argsort(np.argsort(y)),
}


@pytest.mark.parametrize("leak", NUMBER_LEAKS)
def test_a_column_that_gives_numbers_away_is_named(leak):
    values = inputs()
    y = numbers(values)
    frame = frame_of(values, y).with_columns(leak=pl.Series(NUMBER_LEAKS[leak](y)))
    assert names(frame, task="regression") == ["leak"]


def test_two_copies_are_both_named():
    values = inputs()
    y = classes(values)
    assert sorted(names(frame_of(values, y).with_columns(one=y, two=-y))) == ["one", "two"]


HONEST = [
    ("noise", lambda v: np.random.default_rng(2).integers(0, 3, len(v))),
    ("three classes", classes),
    ("numbers", numbers),
    ("strong but honest", lambda v: (v[:, 0] + 0.03 * v[:, 1] > 0).astype(int)),
    ("a number that follows one column", lambda v: v[:, 0] + 0.1 * v[:, 1]),
    ("few of one class", lambda v: (np.arange(len(v)) < LEAST_MISTAKES // 2).astype(int)),
]


@pytest.mark.parametrize("target", [row[1] for row in HONEST], ids=[row[0] for row in HONEST])
def test_honest_columns_are_not_accused(target):
    assert found(frame_of(inputs(), target(inputs()))).warnings == ()


SETS = [load_iris, load_wine, load_breast_cancer, load_digits, load_diabetes]


@pytest.mark.parametrize("load", SETS, ids=lambda load: load.__name__)
def test_honest_sets_are_not_accused(load):
    values, y = load(return_X_y=True)
    seen = found(frame_of(np.asarray(values), y))
    assert seen.leaks == ()
    assert seen.twins_said == ()


def test_an_easy_task_is_no_leak():
    scores = {"a": 1.0, "b": 0.999, "c": 0.5}
    assert too_good(scores, "classification") == []
    assert too_good({**scores, "d": 0.1}, "classification") == ["a", "b"]
    assert too_good({"a": 0.995, "b": 0.985, "c": 0.2}, "classification") == []


COPIES = [0, 20, 100]


@pytest.mark.parametrize("count", COPIES)
@pytest.mark.parametrize("has_target", [True, False])
def test_copies_are_counted_as_a_look_at_every_pair_counts_them(count, has_target):
    values = inputs()
    values[ROWS - count :] = values[:count]
    y = classes(inputs())
    if has_target:
        y[ROWS - count :] = y[:count]
    study = of_table(frame_of(values, y), Asked(target="y"), source="data")
    parts = study.found.parts.rows
    train = {values[i].tobytes() for i in parts.train}
    labelled = {(values[i].tobytes(), y[i]) for i in parts.train}
    for seen, rows in zip(study.found.twins, (parts.validation, parts.test), strict=False):
        assert seen.count == sum(values[i].tobytes() in train for i in rows)
        assert seen.num_same == sum((values[i].tobytes(), y[i]) in labelled for i in rows)
        assert all(np.array_equal(values[one], values[other]) for one, other in seen.examples)
    said = [text for text in study.found.warnings if "in two parts" in text]
    assert bool(said) == bool(count)


def test_few_columns_with_few_values_are_alike_by_chance():
    rng = np.random.default_rng(0)
    seen = found(frame_of(rng.integers(0, 3, (ROWS, 4)), rng.integers(0, 2, ROWS)))
    assert seen.twins[0].count > 90
    assert seen.twins_said == ()


def test_one_copy_between_files_is_said_with_its_rows():
    values, held = inputs(), inputs(1, rows=100)
    held[41] = values[6]
    validation, test = (frame_of(v, classes(v)) for v in (held, inputs(2, rows=100)))
    seen = found(frame_of(values, classes(values)), validation=validation, test=test)
    assert "1 of 100 validation rows (1.0%) in train (row 42 is 7" in seen.warnings[0]


def test_a_class_that_is_never_trained_on_is_said():
    frame = frame_of(inputs(), np.arange(ROWS) * 3 // ROWS).with_columns(t=pl.int_range(ROWS) // 2)
    assert found(frame, parting=Parting(how="time:t")).unlearnt == ()
    seen = found(frame, parting=Parting(how="time:t", validation_share=0.2, test_share=0.2))
    assert seen.unlearnt == ("2",)
    assert "'2'" in seen.warnings[-1]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
def test_rows_of_arrays_have_the_same_number_only_where_they_are_alike(dtype):
    values = np.random.default_rng(0).integers(0, 200, (500, 3, 4)).astype(dtype)
    values[300] = values[7]
    keys = keys_of_array(values)
    assert keys[300] == keys[7]
    assert len(np.unique(keys)) == 499


def test_chance_is_the_share_of_pairs_alike_by_halves():
    first, second = np.array([1, 1, 2, 3], np.uint64), np.array([5, 5, 5, 6], np.uint64)
    assert chance_of([first, second]) == pytest.approx(1 / 6 * 3 / 6)


def test_no_rows_have_no_copies():
    keys = np.arange(10, dtype=np.uint64)
    rows = Split(np.arange(10), np.arange(0), np.arange(0))
    assert [row.count for row in twins_of(keys, np.zeros(10), rows, chance=0.0)] == [0, 0, 0]


def test_what_is_found_stands_in_the_result_the_record_and_the_report():
    values = inputs()
    values[900:] = values[:100]
    y = classes(values)
    frame = frame_of(values, y).with_columns(
        code=pl.Series(y).replace_strict([0, 1, 2], list("abc"))
    )
    run = thalweg.fit(frame, target="y", steps=20, out=None, quiet=True)
    warnings = run.result["split"]["warnings"]
    assert "in two parts" in warnings[0]
    assert "left in; --drop code to leave it out" in warnings[1]
    assert set(warnings) <= {event.text for event in run.record.events}
    page = render(run.record, title="leaks")
    assert "Column &#x27;code&#x27; gives the target away" in page
    assert "gives the target away: a value for each class" in page
