"""Tables: what columns are taken for, how they become numbers, the split, and the baselines."""

from __future__ import annotations

import datetime
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import thalweg
from thalweg.errors import DataError
from thalweg.state.folder import Folder
from thalweg.tasks import baselines
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.describe import Dropped, describe_columns
from thalweg.tasks.table.encode import encode_inputs, encode_target, tree_inputs
from thalweg.tasks.table.kinds import Column
from thalweg.tasks.table.levels import MOST_LEVELS
from thalweg.tasks.table.measured import MOST_DEVIATIONS
from thalweg.tasks.table.read import read_table
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.split import LEAST_ROWS, split
from thalweg.tasks.table.study import of_table
from thalweg.tasks.table.target import MOST_CLASSES, Target, describe_target
from thalweg.tasks.table.values import LARGEST

NAN, INF = math.nan, math.inf
DAY = datetime.date(2024, 2, 28)


def days(count):
    return [DAY + datetime.timedelta(days=i) for i in range(count)]


def schema_of(frame: pl.DataFrame, target: Target | None = None) -> Schema:
    columns, dropped = describe_columns(frame.iter_columns())
    return Schema(columns, dropped, target or Target("y", "regression"))


def inputs_of(frame: pl.DataFrame, learnt_from: pl.DataFrame | None = None) -> np.ndarray:
    """The inputs of a frame, by a schema learnt from it or from another."""
    return encode_inputs(frame, schema_of(frame if learnt_from is None else learnt_from))


KINDS = [
    ("whole numbers", pl.Series([1, 2, 3]), "number"),
    ("small whole numbers", pl.Series([1, 2, 3], dtype=pl.UInt8), "number"),
    ("numbers", pl.Series([0.5, 2, -3]), "number"),
    ("beyond int64", pl.Series([2**70, 2**71, 5], dtype=pl.Int128), "number"),
    ("decimals", pl.Series(["1.5", "2.5", "0.1"]).cast(pl.Decimal(10, 2)), "number"),
    ("booleans", pl.Series([True, False, True]), "boolean"),
    ("days", pl.Series(days(3)), "date"),
    ("times", pl.Series([datetime.datetime(2024, 1, i + 1) for i in range(3)]), "date"),
    ("durations", pl.Series([datetime.timedelta(i) for i in range(3)]), "number"),
    ("times of day", pl.Series([datetime.time(i) for i in range(3)]), "number"),
    ("texts", pl.Series(["a", "b", "a"]), "category"),
    ("categories", pl.Series(["a", "b", "a"], dtype=pl.Categorical), "category"),
    ("an enum", pl.Series(["a", "b", "a"], dtype=pl.Enum(["b", "a"])), "category"),
    ("one text or none", pl.Series(["a", None, "a"]), "category"),
    ("one number or none", pl.Series([1.0, None, 1.0]), "number"),
    ("lists", pl.Series([[1], [2], [3]]), None),
    ("bytes", pl.Series([b"a", b"b", b"a"]), None),
    ("objects", pl.Series([object(), object(), object()], dtype=pl.Object), None),
    ("nothing", pl.Series([None, None, None]), None),
    ("one value", pl.Series([7, 7, 7]), None),
    ("only infinities", pl.Series([INF, -INF, NAN]), None),
]


@pytest.mark.parametrize(("name", "values", "kind"), KINDS, ids=[row[0] for row in KINDS])
def test_kind(name, values, kind):
    schema = schema_of(read_table(values.alias(name).to_frame()).frame)
    if kind is None:
        assert [row.name for row in schema.dropped] == [name]
        assert schema.dropped[0].reason
    else:
        assert [(row.name, row.kind) for row in schema.columns] == [(name, kind)]


def test_numbers_are_standardised():
    inputs = inputs_of(pl.DataFrame({"a": [1.0, 2.0, 3.0, 6.0]}))
    deviation = math.sqrt((4 + 1 + 0 + 9) / 4)
    expected = np.array([[-2], [-1], [0], [3]]) / deviation
    np.testing.assert_allclose(inputs, expected, rtol=1e-7)
    assert inputs.dtype == np.float32


def test_a_missing_number_is_the_mean_and_marked():
    inputs = inputs_of(pl.DataFrame({"a": [1.0, None, 3.0]}))
    np.testing.assert_array_equal(inputs, [[-1, 0], [0, 1], [1, 0]])


@pytest.mark.parametrize("value", [NAN, INF, -INF, LARGEST, -LARGEST, 1e308])
def test_a_number_without_a_finite_square_is_missing(value):
    inputs = inputs_of(pl.DataFrame({"a": [1.0, value, 3.0]}))
    np.testing.assert_array_equal(inputs, [[-1, 0], [0, 1], [1, 0]])


def test_missing_only_when_predicting_is_the_mean_without_a_mark():
    inputs = inputs_of(pl.DataFrame({"a": [None, 3.0]}), pl.DataFrame({"a": [1.0, 3.0]}))
    np.testing.assert_array_equal(inputs, [[0], [1]])


def test_an_absurd_number_is_cut_off_so_that_the_model_stays_finite():
    inputs = inputs_of(pl.DataFrame({"a": [1e140, -1e140]}), pl.DataFrame({"a": [1.0, 3.0]}))
    np.testing.assert_array_equal(inputs, [[MOST_DEVIATIONS], [-MOST_DEVIATIONS]])


def test_no_training_row_can_reach_the_cut():
    values = np.zeros(1_000_000)
    values[0] = 1e100
    largest = inputs_of(pl.DataFrame({"a": values})).max()
    assert largest < MOST_DEVIATIONS / 100


def test_a_category_is_one_hot_with_a_place_for_others():
    learnt = pl.DataFrame({"c": ["b", "a", "b", "c"]})
    inputs = inputs_of(pl.DataFrame({"c": ["b", "a", "c", "zebra", None]}), learnt)
    np.testing.assert_array_equal(
        inputs, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    )


def test_a_missing_category_is_marked():
    inputs = inputs_of(pl.DataFrame({"c": ["b", "a", None]}))
    np.testing.assert_array_equal(inputs, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def test_levels_are_ordered_by_count_then_name_whatever_the_order_of_rows():
    rows = ["x"] * 3 + ["b"] * 2 + ["a"] * 2 + ["z"]
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(rows).tolist()
        assert schema_of(pl.DataFrame({"c": shuffled})).columns[0].levels == ("x", "a", "b", "z")


def test_of_many_levels_the_rarest_share_one_input():
    rows = [f"common {i % 60}" for i in range(600)] + [f"rare {i}" for i in range(30)]
    column = schema_of(pl.DataFrame({"c": rows})).columns[0]
    assert len(column.levels) == MOST_LEVELS
    assert column.width == MOST_LEVELS + 1
    assert set(column.levels) >= {f"common {i}" for i in range(60)}

    inputs = inputs_of(pl.DataFrame({"c": ["rare 29", "never seen"]}), pl.DataFrame({"c": rows}))
    np.testing.assert_array_equal(inputs[:, -1], [1, 1])
    np.testing.assert_array_equal(inputs.sum(axis=1), [1, 1])


def test_tree_inputs_are_codes_and_gaps():
    frame = pl.DataFrame({"n": [1.0, None, INF], "c": ["b", "a", None]})
    expected = [[1, 1], [NAN, 0], [NAN, NAN]]
    np.testing.assert_array_equal(tree_inputs(frame, schema_of(frame)), expected)


def test_the_units_of_a_time_do_not_matter():
    times = pl.Series("t", [datetime.datetime(2024, 1, i + 1) for i in range(4)])
    learnt = times.dt.cast_time_unit("ns").to_frame()
    for unit in ("ms", "us", "ns"):
        frame = times.dt.cast_time_unit(unit).to_frame()
        np.testing.assert_array_equal(inputs_of(frame, learnt), inputs_of(learnt))
    np.testing.assert_array_equal(inputs_of(times.cast(pl.Date).to_frame(), learnt)[:, 0] < 2, True)


def test_texts_that_are_numbers_are_taken_where_numbers_were_learnt():
    learnt = pl.DataFrame({"a": [1.0, 3.0]})
    np.testing.assert_array_equal(inputs_of(pl.DataFrame({"a": ["3", "1.0"]}), learnt), [[1], [-1]])


@pytest.mark.parametrize(
    ("values", "says"),
    [(["3", "three"], "row 2: column 'a' holds 'three'"), ([[1], [3]], "holds List")],
)
def test_what_is_no_number_is_refused_where_numbers_were_learnt(values, says):
    with pytest.raises(DataError, match=says):
        inputs_of(pl.DataFrame({"a": values}), pl.DataFrame({"a": [1.0, 3.0]}))


NAMES = [
    "y2",
    "prediction",
    "count",
    "literal",
    "level",
    "name",
    "target",
    "columns",
    "x0",
    "",
    "größe",
    "体重",
    "a b",
    "a.b",
    'quo"ted',
    "line\nbreak",
    "tab\t",
    "back\\slash",
    "[table]",
    "# no comment",
    "= 3",
    "nul\0",
    "del\x7f",
    "🜁",
    "probability_a",
    "x" * 1000,
]
"""Column names that mean something elsewhere, or that a file format could stumble over."""


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.4], ["b", "a", None]], ids=["number", "category"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_column_and_survives_its_way_to_disk(name, values, tmp_path):
    schema = schema_of(pl.DataFrame({name: values}))
    assert [column.name for column in schema.columns] == [name]

    folder = Folder(tmp_path)
    folder.write_toml("schema.toml", schema.to_dict())
    assert Schema.from_dict(folder.read_toml("schema.toml")) == schema


FLOATS = [0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 1.0, 1e22, 123456789.123456789]


def test_the_schema_comes_back_exactly(tmp_path):
    columns = tuple(
        Column(f"n{i}", "number", mean=value, deviation=abs(value), has_missing=i % 2 == 0)
        for i, value in enumerate(FLOATS)
    )
    levels = tuple(f"{name}{i}" for i, name in enumerate(NAMES * 50))
    schema = Schema(
        (*columns, Column("c", "category", levels=levels)),
        (Dropped("id", "identifier-like"), Dropped('"', "it's \\ \n odd")),
        Target("y", "classification", classes=tuple(NAMES), class_type="text", mean=0.1),
    )
    folder = Folder(tmp_path)
    folder.write_toml("schema.toml", schema.to_dict())
    back = Schema.from_dict(folder.read_toml("schema.toml"))
    assert back == schema
    signs = [math.copysign(1, column.mean) for column in back.columns[: len(FLOATS)]]
    assert signs == [math.copysign(1, value) for value in FLOATS]


MIXED = pl.DataFrame(
    {
        "size": [0.1, 2.5, None, 1e-7, 3.0, 123456.789] * 10,
        "count": [1, 2, 3, 4, 5, -6] * 10,
        "colour": ["red", "grün", None, "red", "blue, dark", 'so "called"'] * 10,
        "is_new": [True, False, None, True, True, False] * 10,
        "price": [i / 7 for i in range(60)],
    }
)


def as_csv(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_csv(folder / "data.csv")
    return folder / "data.csv"


def as_semicolons(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_csv(folder / "data.csv", separator=";", line_terminator="\r\n", include_bom=True)
    return folder / "data.csv"


def as_parquet(frame: pl.DataFrame, folder: Path) -> Path:
    frame.write_parquet(folder / "data.parquet")
    return folder / "data.parquet"


SOURCES = {
    "CSV": as_csv,
    "CSV of semicolons": as_semicolons,
    "Parquet": as_parquet,
    "pandas": lambda frame, folder: frame.to_pandas(),
    "pandas with arrow": lambda frame, folder: frame.to_pandas(use_pyarrow_extension_array=True),
    "arrow": lambda frame, folder: frame.to_arrow(),
}


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_inputs_to_the_bit(source, task, tmp_path):
    target = "price" if task == "regression" else "count"
    ours = of_table(MIXED, Asked(target=target, task=task, seed=3), source="ours")
    table = read_table(SOURCES[source](MIXED, tmp_path)).frame
    other = of_table(table, Asked(target=target, task=task, seed=3), source="other")

    assert other.schema == ours.schema
    for name in ("train", "validation", "test"):
        mine, its = getattr(ours, name), getattr(other, name)
        assert mine.inputs.numpy().tobytes() == its.inputs.numpy().tobytes()
        assert mine.targets.numpy().tobytes() == its.targets.numpy().tobytes()


def test_blanks_and_blank_lines_in_a_csv_mean_nothing(tmp_path):
    plain = "size,colour,kind\n1,red,a\n2.5,,b\n,blue,a\n"
    spaced = plain.replace(",", " , ").replace("\n", "  \n\n \n")
    (tmp_path / "plain.csv").write_text(plain)
    (tmp_path / "spaced.csv").write_text(spaced)
    spaced, plain_ = (read_table(tmp_path / f"{name}.csv") for name in ("spaced", "plain"))
    assert spaced.frame.equals(plain_.frame)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,nan\n2,3\n", [None, 3]),
        ("a,b\n1,inf\n2,3\n", [INF, 3]),
        ("a,b\n1,-Infinity\n2,3\n", [-INF, 3]),
        ('a,b\n"1","2"\n"3","4"\n', [2, 4]),
        ("a, b\n1, 2\n3, 4\n", [2, 4]),
        ("a,b\n1,+2\n3,4\n", [2, 4]),
        ("a,b\n1,1e3\n3,4\n", [1000, 4]),
        ("a,b\n1,99999999999999999999\n3,4\n", [99999999999999999999, 4]),
        ("a,b\n1,x\n,\n3,y\n", ["x", None, "y"]),
        ("a,b\n1,x\n\n   \n3,y\n\n", ["x", "y"]),
        ("a,b\n1,TRUE\n3,false\n", [True, False]),
        ('a,b\n1,"x\ny"\n3,"u,v"\n', ["x\ny", "u,v"]),
        ("\n\na,b\n1,2\n", [2]),
        ("a;b\n1,5;x\n2,5;y\n", ["x", "y"]),
        ("a\tb\n1\tx\n2\ty\n", ["x", "y"]),
    ],
)
def test_what_a_csv_means(text, expected, tmp_path):
    (tmp_path / "data.csv").write_text(text)
    assert read_table(tmp_path / "data.csv").frame["b"].to_list() == expected


@pytest.mark.parametrize("name", ["data[1].csv", "data (1).csv", "*.csv", "a b.csv", "é.csv"])
def test_any_file_name_is_only_a_name(name, tmp_path):
    (tmp_path / "other.csv").write_text("a\n5\n")
    (tmp_path / name).write_text("a\n1\n2\n")
    assert read_table(tmp_path / name).frame["a"].to_list() == [1, 2]


def test_pandas_that_no_table_can_hold_is_refused():
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    mixed = pd.DataFrame({"a": [1.0, "x"]}, dtype=object)
    for frame in (twice, mixed, pd.DataFrame({"a": [1 + 2j]})):
        with pytest.raises(DataError, match="cannot be taken as a table"):
            read_table(frame)


CLASSES = [
    ("texts", ["no", "yes"], pl.String),
    ("texts like numbers", ["007", "1e3", "x"], pl.String),
    ("whole numbers", [3, -1, 10], pl.Int64),
    ("whole floats", [3.0, -1.0, 10.0], pl.Int64),
    ("floats", [0.5, 1.5, 2.0], pl.Float64),
    ("booleans", [True, False], pl.Boolean),
    ("big whole numbers", [2**62, -(2**62), 2**62 + 1], pl.Int64),
    ("beyond int64", [2**64 - 1, 0], pl.String),
    ("unicode", ["ß", "体", ""], pl.String),
]


@pytest.mark.parametrize(("name", "classes", "dtype"), CLASSES, ids=[row[0] for row in CLASSES])
def test_classes_come_back_as_they_were(name, classes, dtype):
    labels = pl.Series("y", classes * 12, strict=False)
    frame = pl.DataFrame({"x": np.arange(len(labels)) % len(classes) * 1.0}).with_columns(labels)
    run = thalweg.fit(
        frame, target="y", task="classification", out=None, quiet=True, epochs=80, lr=0.01
    )

    predicted = run.predict(frame)
    assert predicted["prediction"].dtype == dtype
    assert predicted["prediction"].to_list() == labels.cast(dtype).to_list()
    probabilities = predicted.drop("prediction")
    assert len(probabilities.columns) == len(classes)
    np.testing.assert_allclose(probabilities.sum_horizontal(), 1, rtol=1e-12)
    assert run.evaluate(frame)["accuracy"] == 1


SPELLINGS = [
    ("integer", [1, 2, 10], ["1", "2", "10"], ["1", "2", "10"]),
    ("integer", [1, 2, 10], [1.0, 2.0, 10.0], ["1", "2", "10"]),
    ("integer", [1.0, 2.0, 10.0], [10, 2, 1], ["10", "2", "1"]),
    ("float", [0.5, 1.0, 2.0], [1, 2], ["1.0", "2.0"]),
    ("float", [0.5, 1.0, 2.0], ["0.5", "2"], ["0.5", "2.0"]),
    ("boolean", [True, False], ["True", "FALSE", "true"], ["true", "false", "true"]),
    ("text", ["1", "2", "x"], ["1", "x"], ["1", "x"]),
]


@pytest.mark.parametrize(("class_type", "learnt", "seen", "classes"), SPELLINGS)
def test_a_class_is_known_in_any_spelling(class_type, learnt, seen, classes):
    target = describe_target(pl.DataFrame({"y": learnt * 4}), "y", "classification")
    assert target.class_type == class_type
    ids = encode_target(pl.DataFrame({"y": seen}), target)
    assert [target.classes[i] for i in ids] == classes


@pytest.mark.parametrize("seen", [[1.0, 2.5], ["1", "x"], [1, 3], [1.0, 1e100]])
def test_an_unknown_class_is_refused_with_its_row(seen):
    target = describe_target(pl.DataFrame({"y": [1, 2] * 5}), "y", "classification")
    with pytest.raises(DataError, match=r"row 2: class .* is unknown"):
        encode_target(pl.DataFrame({"y": seen}, strict=False), target)


TASKS = [
    ("texts", ["a", "b", "c"] * 10, "classification"),
    ("booleans", [True, False] * 10, "classification"),
    ("few whole numbers", list(range(MOST_CLASSES)) * 3, "classification"),
    ("few whole floats", [0.0, 1.0] * 10, "classification"),
    ("many whole numbers", list(range(MOST_CLASSES + 1)) * 3, "regression"),
    ("few fractions", [0.5, 1.5] * 10, "regression"),
    ("numbers", [i / 7 for i in range(30)], "regression"),
]


@pytest.mark.parametrize(("name", "values", "task"), TASKS, ids=[row[0] for row in TASKS])
def test_the_task_follows_from_the_target(name, values, task):
    assert describe_target(pl.DataFrame({"y": values}), "y", "auto").task == task


def test_the_task_can_be_chosen():
    frame = pl.DataFrame({"y": [0, 1, 2] * 10})
    assert describe_target(frame, "y", "regression").task == "regression"
    frame = pl.DataFrame({"y": [0.5, 1.5] * 10})
    assert describe_target(frame, "y", "classification").classes == ("0.5", "1.5")


@pytest.fixture(scope="module")
def mixed_run():
    return thalweg.fit(MIXED, target="price", out=None, quiet=True, epochs=5)


def test_the_order_of_columns_does_not_matter(mixed_run):
    order = ["is_new", "colour", "size", "count"]
    assert mixed_run.predict(MIXED.select(order)).equals(mixed_run.predict(MIXED))


def test_other_columns_are_ignored(mixed_run):
    more = MIXED.with_columns(pl.lit("x").alias("other"), pl.Series("list", [[1]] * 60))
    assert mixed_run.predict(more.reverse()).equals(mixed_run.predict(MIXED).reverse())


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_predictions(source, mixed_run, tmp_path):
    predicted = mixed_run.predict(SOURCES[source](MIXED.drop("price"), tmp_path))
    assert isinstance(predicted, pd.DataFrame) == source.startswith("pandas")
    expected = mixed_run.predict(MIXED)["prediction"].to_list()
    assert predicted["prediction"].to_list() == expected


def test_categories_that_look_like_numbers_in_the_new_file_stay_texts(tmp_path):
    codes = ["01", "x", "2"] * 20
    frame = pl.DataFrame({"code": codes, "y": [1.5, 7.5, 4.5] * 20})
    run = thalweg.fit(frame, target="y", out=None, quiet=True, epochs=5)
    (tmp_path / "new.csv").write_text("code\n01\n2\n")
    expected = run.predict(frame)["prediction"].to_list()
    predicted = run.predict(tmp_path / "new.csv")["prediction"].to_list()
    assert predicted == pytest.approx([expected[0], expected[2]], rel=1e-5)


SPLITS = [
    ("two classes", [50, 50]),
    ("a rare class", [990, 10]),
    ("a pair", [100, 2]),
    ("single rows", [60, 1, 1, 1]),
    ("pairs and single rows", [2] * 20 + [1] * 60),
    ("many classes", [7] * 40),
    ("uneven classes", [333, 77, 19, 5, 3, 2, 1]),
    ("the fewest rows", [5, 5]),
]


def strata_of(counts, seed):
    rows = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(rows)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "counts"), SPLITS, ids=[row[0] for row in SPLITS])
class TestSplit:
    """Laws of the split, by class counts and seed."""

    def parts(self, counts, seed):
        strata = strata_of(counts, seed)
        return strata, split(len(strata), seed=seed, share=0.1, strata=strata)

    def test_every_row_is_in_one_part(self, name, counts, seed):
        strata, parts = self.parts(counts, seed)
        rows = np.concatenate([parts.train, parts.validation, parts.test])
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(strata)))
        for part in (parts.train, parts.validation, parts.test):
            np.testing.assert_array_equal(part, np.sort(part))
            assert len(part)

    def test_every_class_is_shared_out_alike(self, name, counts, seed):
        strata, parts = self.parts(counts, seed)
        shared = np.where(np.array(counts) > 1, counts, 0)
        for part in (parts.validation, parts.test):
            got = np.bincount(strata[part], minlength=len(counts))
            assert (np.abs(got - shared * len(part) / shared.sum()) <= 1).all()

    def test_every_class_is_trained_on(self, name, counts, seed):
        strata, parts = self.parts(counts, seed)
        assert set(strata[parts.train]) == set(range(len(counts)))

    def test_the_seed_decides(self, name, counts, seed):
        strata, parts = self.parts(counts, seed)
        again = split(len(strata), seed=seed, share=0.1, strata=strata)
        np.testing.assert_array_equal(parts.test, again.test)
        np.testing.assert_array_equal(parts.validation, again.validation)


@pytest.mark.parametrize("num_rows", [LEAST_ROWS, 11, 99, 1000])
def test_a_split_without_classes(num_rows):
    parts = split(num_rows, seed=1, share=0.1)
    assert len(parts.validation) == len(parts.test) == max(1, round(num_rows / 10))
    assert len(np.unique(np.concatenate([parts.train, parts.validation, parts.test]))) == num_rows


def test_another_seed_gives_another_split():
    assert not np.array_equal(
        split(100, seed=1, share=0.1).test, split(100, seed=2, share=0.1).test
    )


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="9 rows are too few"):
        split(LEAST_ROWS - 1, seed=0, share=0.1)
    with pytest.raises(DataError, match="only one row"):
        split(50, seed=0, share=0.1, strata=np.arange(50))


def test_nothing_but_the_training_rows_is_learnt_from():
    numbers = np.random.default_rng(0).normal(size=100)
    frame = pl.DataFrame({"n": numbers, "c": ["a", "b"] * 50, "y": numbers * 3})
    study = of_table(frame, Asked(target="y", task="regression", seed=0), source="data")

    parts = split(100, seed=0, share=0.1)
    held = np.concatenate([parts.validation, parts.test])
    changed = frame.with_columns(
        pl.Series("n", np.where(np.isin(np.arange(100), held), 1e9, numbers)),
        pl.Series("c", np.where(np.isin(np.arange(100), held), "other", frame["c"])),
        pl.Series("y", np.where(np.isin(np.arange(100), held), -1e9, numbers * 3)),
    )
    other = of_table(changed, Asked(target="y", task="regression", seed=0), source="data")
    assert other.schema == study.schema
    assert other.train.inputs.numpy().tobytes() == study.train.inputs.numpy().tobytes()
    assert other.train.targets.numpy().tobytes() == study.train.targets.numpy().tobytes()

    moved = frame.with_columns(
        pl.Series("n", np.where(np.arange(100) == parts.train[0], 9, numbers))
    )
    assert (
        of_table(moved, Asked(target="y", task="regression", seed=0), source="data").schema
        != study.schema
    )


def test_a_target_far_from_zero_keeps_its_digits():
    target = 1.7e9 + np.arange(100) / 100
    frame = pl.DataFrame({"n": np.arange(100) % 7, "y": target})
    schema = of_table(frame, Asked(target="y", task="regression", seed=0), source="data").schema
    train = split(100, seed=0, share=0.1).train
    assert schema is not None
    assert schema.target.mean == pytest.approx(target[train].mean(), abs=1e-6)
    assert schema.target.deviation == pytest.approx(target[train].std(), rel=1e-6)


def test_constant_baseline_of_classes():
    scores = baselines.constant(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 0]), ("no", "yes"))
    assert scores == {"label": "always yes", "accuracy": 0.25}


def test_constant_baseline_of_numbers():
    scores = baselines.constant(np.array([1.0, 3.0]), np.array([1.0, 2.0, 6.0]), None)
    assert scores["label"] == "always the mean, 2"
    assert scores["rmse"] == pytest.approx(math.sqrt((1 + 0 + 16) / 3))
    assert scores["r2"] == pytest.approx(1 - 17 / 14)


def test_errors_of_a_constant_target_have_no_r2():
    scores = baselines.errors(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    assert scores["rmse"] == pytest.approx(math.sqrt(0.5))
    assert math.isnan(scores["r2"])


def test_tree_baseline_finds_a_threshold():
    inputs = np.arange(20.0).reshape(-1, 1)
    inputs[3] = NAN
    classes, numbers = (inputs[:, 0] > 9).astype(int), np.where(inputs[:, 0] > 9, 5.0, 1.0)
    train, test = (inputs, classes), (np.array([[2.0], [15.0], [9.0]]), np.array([0, 1, 1]))
    scores = baselines.tree(train, test, is_classification=True, seed=0)
    assert scores == {"label": "decision tree, depth 6", "accuracy": pytest.approx(2 / 3)}

    test = (np.array([[2.0], [15.0]]), np.array([1.0, 8.0]))
    scores = baselines.tree((inputs, numbers), test, is_classification=False, seed=0)
    assert scores["rmse"] == pytest.approx(math.sqrt(9 / 2))


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e9])
@pytest.mark.parametrize("unit", [1e-25, 1e-9, 1e15])
def test_the_tree_is_the_same_in_any_unit(size, unit):
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(300, 2))
    inputs[:9, 1] = np.nan
    targets = 3 * inputs[:, 0] + inputs[:, 0] ** 2
    found = [
        baselines.tree(
            (inputs[:200] * a, targets[:200] * b),
            (inputs[200:] * a, targets[200:] * b),
            is_classification=False,
            seed=0,
        )["r2"]
        for a, b in [(1, 1), (size, unit)]
    ]
    assert found[0] > 0.9
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_of_many_rows_the_tree_is_grown_on_some(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_ROWS", 100)
    assert baselines.some_of(np.arange(100)).tolist() == list(range(100))
    some = baselines.some_of(np.arange(1000) * 2)
    assert (len(some), some[0], some[-1]) == (100, 0, 1998)
    frame = pl.DataFrame(
        {"x": np.arange(400.0), "y": ["a" if i < 200 else "b" for i in range(400)]}
    )
    run = thalweg.fit(frame, target="y", out=None, quiet=True, steps=1, model="linear")
    tree = run.result["baselines"]["tree"]
    assert tree["label"] == "decision tree, depth 6, of 100 rows"
    assert tree["accuracy"] > 0.9


@pytest.mark.parametrize("value", [INF, -INF, 1e39, 1e149])
def test_an_absurd_number_does_not_stop_the_tree(value):
    inputs = np.array([[value], [0.0], [1.0], [2.0]])
    labels = np.array([1, 0, 0, 1])
    scores = baselines.tree((inputs, labels), (inputs, labels), is_classification=True, seed=0)
    assert scores["accuracy"] == 1


def test_a_file_in_memory_is_no_table():
    with pytest.raises(DataError, match="data is a BytesIO: give a path"):
        read_table(io.BytesIO(b"a,b\n1,2\n"))
