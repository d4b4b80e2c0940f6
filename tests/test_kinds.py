"""Kinds of columns: how each is recognised, what it becomes, and what is refused with its row."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from thalweg.errors import DataError
from thalweg.tasks.table import dates
from thalweg.tasks.table.describe import Wanted, describe_columns, notices_of
from thalweg.tasks.table.encode import encode_inputs, tree_inputs
from thalweg.tasks.table.kinds import KINDS, MOST_WORDS
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.target import Target
from thalweg.tasks.table.truths import PAIRS

TARGET = Target("y", "regression")
FIRST = datetime.datetime(2021, 3, 4, 5, 6, 7)
TIMES = [FIRST + datetime.timedelta(days=37 * i, hours=i) for i in range(40)]
NUMBERS = [f"{i / 4}" for i in range(60)]


def schema_of(frame: pl.DataFrame, **wanted: Wanted) -> Schema:
    columns, dropped = describe_columns(frame.iter_columns(), wanted)
    return Schema(columns, dropped, TARGET, frame.height)


def inputs_of(learnt: list, values: list | None = None, **wanted: Wanted) -> np.ndarray:
    """Inputs of a column `a`, learnt from some values, for others."""
    schema = schema_of(pl.DataFrame({"a": learnt}), **wanted)
    return encode_inputs(pl.DataFrame({"a": learnt if values is None else values}), schema)


RECOGNISED = [
    ("yes and no", ["yes", "no"] * 9, "boolean"),
    ("in capitals", ["YES", "No"] * 9, "boolean"),
    ("with gaps", ["yes", None, "no"] * 9, "boolean"),
    ("only yes, or nothing", ["yes", None] * 9, "category"),
    ("yes, no and perhaps", ["yes", "no", "perhaps"] * 9, "category"),
    ("two words", ["left", "right"] * 9, "category"),
    ("numbers and words", [*NUMBERS, "<5", "unknown", "<5"], "mixed"),
    ("numbers, words, gaps", [*NUMBERS, "<5", None], "mixed"),
    ("codes", [f"{i:03d}" for i in range(60)] + ["x"], "category"),
    ("few numbers", ["1", "2", "x"] * 9, "category"),
    ("days", [t.date() for t in TIMES], "date"),
    ("times", TIMES, "date"),
    ("a version", ["1.2.3", "1.2.4"] * 9, "category"),
    ("an address", ["192.168.1.1", "192.168.1.2"] * 9, "category"),
    ("a telephone", ["030-12-4567", "030-13-4567"] * 9, "category"),
    ("a month", ["2024-13-01", "2024-14-01"] * 9, "category"),
    ("seconds", [1_600_000_000 + i for i in range(40)], "number"),
]


@pytest.mark.parametrize(("name", "values", "kind"), RECOGNISED, ids=[r[0] for r in RECOGNISED])
def test_a_column_is_recognised(name, values, kind):
    schema = schema_of(pl.DataFrame({name: values}))
    assert [(column.name, column.kind) for column in schema.columns] == [(name, kind)]


@pytest.mark.parametrize(("no", "yes"), PAIRS)
def test_truths_in_words_are_those_of_a_boolean(no, yes):
    truths = [True, False, False, None, True]
    words = [None if t is None else (yes if t else no.title()) for t in truths]
    np.testing.assert_array_equal(inputs_of(words), inputs_of(truths))
    np.testing.assert_array_equal(inputs_of(words, truths), inputs_of(truths))
    np.testing.assert_array_equal(inputs_of(truths, words), inputs_of(truths))


def test_a_word_that_is_neither_counts_as_missing():
    learnt = ["yes", "no", None]
    np.testing.assert_array_equal(
        inputs_of(learnt, ["maybe", "no"]), inputs_of(learnt, [None, "no"])
    )


def test_any_two_words_are_truths_if_asked():
    inputs = inputs_of(["f", "m", "m", "f"], a=Wanted("boolean"))
    np.testing.assert_array_equal(inputs, [[-1], [1], [1], [-1]])


@pytest.mark.parametrize("format", dates.FORMATS)
def test_dates_in_texts_are_those_in_types(format):
    python = format.replace("%.f", ".%f").replace("%#z", "+00:00")
    texts = [time.strftime(python) for time in TIMES]
    times = [datetime.datetime.strptime(text, python) for text in texts]
    column = schema_of(pl.DataFrame({"a": texts})).columns[0]
    assert (column.kind, column.format) == ("date", format)
    np.testing.assert_array_equal(inputs_of(texts), inputs_of(times))


def test_a_time_with_an_offset_is_that_of_utc():
    texts = [f"2024-01-{i:02d}T03:30:00+02:00" for i in range(1, 29)]
    times = [datetime.datetime(2024, 1, i, 1, 30) for i in range(1, 29)]
    np.testing.assert_array_equal(inputs_of(texts), inputs_of(times))
    zone = pl.Series("a", times).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    schema = schema_of(zone.to_frame())
    np.testing.assert_array_equal(encode_inputs(zone.to_frame(), schema), inputs_of(times))


def test_a_date_becomes_elapsed_time_year_and_circles():
    column = schema_of(pl.DataFrame({"a": TIMES})).columns[0]
    assert column.parts == ("year", "month", "weekday", "hour")
    inputs = inputs_of(TIMES)
    elapsed = np.array([(time - FIRST).total_seconds() for time in TIMES])
    years = np.array([time.year for time in TIMES])
    for place, values in ((0, elapsed), (1, years)):
        expected = (values - values.mean()) / values.std()
        np.testing.assert_allclose(inputs[:, place], expected, atol=1e-5)
    circles = {
        2: [(time.month - 1) / 12 for time in TIMES],
        4: [(time.isoweekday() - 1) / 7 for time in TIMES],
        6: [(time.hour + time.minute / 60) / 24 for time in TIMES],
    }
    for place, turns in circles.items():
        angles = 2 * np.pi * np.array(turns)
        np.testing.assert_allclose(inputs[:, place], np.sin(angles), atol=1e-6)
        np.testing.assert_allclose(inputs[:, place + 1], np.cos(angles), atol=1e-6)


def test_parts_that_are_always_the_same_are_left_out():
    days = [datetime.date(2024, 5, i) for i in range(1, 29)]
    assert schema_of(pl.DataFrame({"a": days})).columns[0].parts == ("weekday",)


def test_a_missing_date_is_in_the_middle_of_all_and_marked():
    inputs = inputs_of([*TIMES, None])
    np.testing.assert_array_equal(inputs[-1], [0, 0, 0, 0, 0, 0, 0, 0, 1])
    assert not inputs[:-1, -1].any()


@pytest.mark.parametrize(
    ("texts", "format", "other"),
    [
        (["01/02/2024", "03/04/2024"], "%m/%d/%Y", "%d/%m/%Y"),
        (["01/02/2024", "13/04/2024"], "%d/%m/%Y", None),
        (["01/02/2024", "04/13/2024"], "%m/%d/%Y", None),
        (["01/02/2024 10:00", "03/04/2024 11:30"], "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"),
        (["01.02.2024", "03.04.2024"], "%d.%m.%Y", None),
    ],
)
def test_of_two_readings_of_a_date_one_is_taken_and_said(texts, format, other):
    frame = pl.DataFrame({"a": texts * 5})
    schema = schema_of(frame)
    assert schema.columns[0].format == format
    notices = notices_of(frame, schema.columns, np.arange(frame.height))
    assert [f"--types a=date:{other} takes that" in line for line in notices] == [True] * bool(
        other
    )


@pytest.mark.parametrize("bad", ["31.02.2024", "soon", "2024-01-01"])
def test_a_bad_date_is_named_with_its_row(bad):
    texts = [time.strftime("%d.%m.%Y") for time in TIMES] * 3000
    texts[90_000 - 1] = bad
    with pytest.raises(DataError, match=rf"row 90,000: column 'a' holds '{bad}', which is no date"):
        inputs_of(texts)


def test_numbers_are_dates_only_if_asked():
    seconds = [int(time.timestamp()) for time in TIMES]
    times = [datetime.datetime.fromtimestamp(s, datetime.UTC).replace(tzinfo=None) for s in seconds]
    for numbers in (seconds, [s * 1000 for s in seconds]):
        np.testing.assert_array_equal(inputs_of(numbers, a=Wanted("date")), inputs_of(times))


def test_a_mixed_column_is_a_number_beside_its_words():
    learnt = [*NUMBERS, "<5", "unknown", "<5", None]
    inputs = inputs_of(learnt, ["0", "<5", "unknown", "new", None, "14.75"])
    numbers = np.array([float(text) for text in NUMBERS])
    low, high = (np.array([0, 14.75]) - numbers.mean()) / numbers.std()
    expected = [
        [low, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
        [high, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(inputs, expected, rtol=1e-6)


def test_a_mixed_column_that_holds_only_numbers_today_is_taken():
    learnt = [*NUMBERS, "<5", "<5"]
    np.testing.assert_array_equal(
        inputs_of(learnt, [0.0, 14.75]), inputs_of(learnt, ["0", "14.75"])
    )


def test_too_many_words_among_numbers_make_no_mixed_column():
    numbers = [str(i / 7) for i in range(400)]
    assert schema_of(pl.DataFrame({"a": numbers + [f"w{i}" for i in range(MOST_WORDS)]})).columns
    dropped = schema_of(pl.DataFrame({"a": numbers + [f"w{i}" for i in range(MOST_WORDS + 1)]}))
    assert "hold text" in dropped.dropped[0].reason


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([f"the mail number {i} is about money" for i in range(300)], "--text a trains on it"),
        ([f"user-{i}" for i in range(300)], "identifier-like"),
        ([f"Ann B{i}son" for i in range(300)], "identifier-like"),
        ([f"{i:x}-4f{i:x}-a{i}" for i in range(300)], "identifier-like"),
    ],
)
def test_free_text_is_offered_and_identifiers_are_not(texts, says):
    (dropped,) = schema_of(pl.DataFrame({"a": texts})).dropped
    assert says in dropped.reason


def test_categories_of_numbers_do_not_depend_on_their_type():
    learnt = pl.DataFrame({"a": [3, 1, 3, 2]})
    schema = schema_of(learnt, a=Wanted("category"))
    assert schema.columns[0].levels == ("3", "1", "2")
    expected = encode_inputs(learnt, schema)
    for values in ([3.0, 1.0, 3.0, 2.0], ["3", "1", "3", "2"]):
        np.testing.assert_array_equal(encode_inputs(pl.DataFrame({"a": values}), schema), expected)


EVERY = {
    "boolean": ["yes", "no", None] * 9,
    "date": ["2024-05-01", "2023-06-02", None] * 9,
    "number": [1.5, 2.5, None] * 9,
    "mixed": [*NUMBERS, "<5", None],
    "category": ["red", "green", None] * 9,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_its_promises(kind):
    frame = pl.DataFrame({"a": EVERY[kind]})
    schema = schema_of(frame)
    (column,) = schema.columns
    assert column.kind == kind
    assert column.has_missing
    assert column.missing == pytest.approx(frame["a"].null_count() / frame.height)

    inputs = encode_inputs(frame, schema)
    assert inputs.shape == (frame.height, column.width)
    assert np.isfinite(inputs).all()
    np.testing.assert_array_equal(inputs[:, -1] == 1, frame["a"].is_null().to_numpy())
    np.testing.assert_array_equal(inputs[frame["a"].is_null().to_numpy(), :-1], 0)

    tree = tree_inputs(frame, schema)[:, 0]
    assert np.isnan(tree[frame["a"].is_null().to_numpy()]).all()
    assert len(np.unique(tree[~np.isnan(tree)])) > 1
    assert Schema.from_dict(schema.to_dict()) == schema
    assert column.use.endswith("missing marked")
