"""How delimited texts begin, signs of money and percent, and times of day."""

from __future__ import annotations

import polars as pl
import pytest

from thalweg.errors import DataError
from thalweg.tasks.table.begins import beginning_of, numbered
from thalweg.tasks.table.dates import format_of, parsed
from thalweg.tasks.table.dates import parts as parts_of
from thalweg.tasks.table.read import read_table
from thalweg.tasks.table.signs import without_sign
from thalweg.tasks.table.values import find_column

ROWS = [(i / 2, i % 7, "ab"[i % 2]) for i in range(1, 30)]
BODY = "".join(f"{x},{n},{word}\n" for x, n, word in ROWS)
NAMES = ["x", "n", "word"]

BEGINNINGS = {
    "a header": ("x,n,word\n", ","),
    "a comment": ("# made by hand\nx,n,word\n", ","),
    "a comment below a blank line": ("\n# made by hand\nx,n,word\n", ","),
    "a header in a comment": ("# x,n,word\n", ","),
    "a header after a #": ("# made by hand\n#x,n,word\n", ","),
    "blanks": ("  x   n  word\n", "   "),
    "one blank": ("x n word\n", " "),
    "blanks, a header in a comment": ("# x n word\n", "  "),
}
NO_HEADER = {
    "commas": ("", ","),
    "semicolons": ("", ";"),
    "blanks": ("", "  "),
    "blank lines": ("\n\n", ","),
    "a comment": ("# made, by hand\n", ","),
    "sep=": ("sep=;\n", ";"),
}


def read(folder, text, **more):
    (folder / "t.csv").write_bytes(text.encode())
    return read_table(folder / "t.csv", **more)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("name", BEGINNINGS)
def test_however_it_begins_it_is_the_same_table(name, newline, tmp_path):
    begins, between = BEGINNINGS[name]
    table = read(tmp_path, (begins + BODY.replace(",", between)).replace("\n", newline))
    assert table.frame.columns == NAMES
    assert table.frame.rows() == ROWS


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("name", NO_HEADER)
def test_without_a_header_no_row_is_lost(name, newline, tmp_path):
    begins, between = NO_HEADER[name]
    table = read(tmp_path, (begins + BODY.replace(",", between)).replace("\n", newline))
    assert table.frame.columns == numbered(3)
    assert table.frame.rows() == ROWS
    assert "no header (column_1 .. column_3)" in table.notices[0]


HEADERS = [
    "0,1,2\n" + BODY,  # a frame without names, as it is written
    "2019,2020,word\n" + BODY,
    "1,2\n3,4\n5,6\n",  # steps: may be either
    "a,b\n1,2\n",
    "7,8\n",  # nothing to compare with
    "x,1.5\ny,2.5\nz,3.5\n",  # x comes but once
    "a,b\nc,d\n",
    ",1\na,2\na,3\n",
]


@pytest.mark.parametrize("text", HEADERS)
def test_what_may_be_a_header_is_one(text):
    assert beginning_of(text).has_header


@pytest.mark.parametrize(
    "text", ["1.5,2\n0.3,1\n", "?,3.5\n1,2.5\n", "1,x\n4,x\n2,x\n", "1.5\n2.5\n", "5,a,NA\n6,a,1\n"]
)
def test_what_holds_values_is_none(text):
    assert not beginning_of(text).has_header


def test_codes_stay_codes_without_a_header(tmp_path):
    table = read(tmp_path, "007,1.5\n008,2.5\n009,3.0\n", texts=["column_1"])
    assert table.frame["column_1"].to_list() == ["007", "008", "009"]


def test_a_name_that_cannot_be_there_says_why(tmp_path):
    table = read(tmp_path, BODY)
    with pytest.raises(DataError, match=r"no column 'word'.*column_3 \(a file without a header\)"):
        find_column(table.frame, "word", table.name)


@pytest.mark.parametrize("begins", ["", "# made by hand\n"])
def test_a_row_that_is_short_is_named_without_a_header_too(begins, tmp_path):
    with pytest.raises(DataError, match=r"line 3.: 2 fields where the first row has 3"):
        read(tmp_path, begins + BODY + "\n" * (not begins) + "1,2\n")


@pytest.mark.parametrize(
    "text", ["name\nAnna Berg\nBert Cohn\n", 'the name\n"Anna Berg"\nBert C\n']
)
def test_blanks_in_one_column_of_texts_part_nothing(text, tmp_path):
    assert read(tmp_path, text).frame.width == 1


SIGNS = [
    (["$1,234.50", "$5", "-$3.2", None, "often"], ["1,234.50", "5", "-3.2", None, "often"], "$"),
    (["12.5%", "3 %", "-1%"], ["12.5", "3", "-1"], "%"),
    (["1.234,50 €", "5€"], ["1.234,50", "5"], "€"),
    (["EUR 5", "7 EUR"], ["5", "7"], "EUR"),
    (["US$5", "US$ 6"], ["5", "6"], "US$"),
    (["5 $", "5 €"], ["5 $", "5 €"], None),
    (["5", "6", "7%"], ["5", "6", "7%"], None),
    (["a$", "%b", "EUR"], ["a$", "%b", "EUR"], None),
    ([None, None], [None, None], None),
]


@pytest.mark.parametrize(("texts", "bare", "sign"), SIGNS)
def test_one_sign_is_left_out_of_numbers(texts, bare, sign):
    found = without_sign(pl.Series("x", texts, dtype=pl.String))
    assert (found[0].to_list(), found[1]) == (bare, sign)


def test_money_is_read_as_numbers_and_that_is_said(tmp_path):
    rows = "".join(f'"${1000 * i:,.2f}";{i}%;{i} kg\n' for i in range(1, 40))
    table = read(tmp_path, "price;share;weight\n" + rows)
    assert table.frame["price"].to_list() == [1000.0 * i for i in range(1, 40)]
    assert table.frame["share"].to_list() == list(range(1, 40))
    assert table.frame["weight"].dtype == pl.String
    assert "numbers with '$', which is left out: 'price'" in table.notices
    kept = read(tmp_path, "price;share;weight\n" + rows, texts=["price"])
    assert kept.frame["price"][0] == "$1,000.00"


@pytest.mark.parametrize(
    ("texts", "format", "hours"),
    [
        (["09:30", "23:15", None], "%H:%M", [9.5, 23.25]),
        (["9:30:30", "0:00:00.5"], "%H:%M:%S%.f", [9.5, 0.0]),
    ],
)
def test_times_of_day_are_dates_of_one_day(texts, format, hours):
    series = pl.Series("t", texts)
    found = format_of(series)
    assert found is not None
    assert found.text == format
    known = parts_of(parsed(series, format))["hour"]
    assert known[: len(hours)].tolist() == hours


def test_a_score_is_no_time():
    assert format_of(pl.Series("t", ["3:1", "0:2", "10:9"])) is None
    assert format_of(pl.Series("t", ["75:30", "61:10", "90:00"])) is None
