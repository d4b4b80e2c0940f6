"""Tables as people have them: delimiters, encodings, compressions, notations of numbers, parts."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from thalweg.errors import DataError
from thalweg.tasks.table import delimited as delimited_file
from thalweg.tasks.table.read import Table, read_table
from thalweg.tasks.table.typed import simple

ROWS = 40
PLAIN = pl.DataFrame(
    {
        "size": [i % 7 + 0.5 for i in range(ROWS)],
        "count": [i * 1000 for i in range(ROWS)],
        "colour": [("rot", "grün", "a, b; c|d", 'so "genannt"')[i % 4] for i in range(ROWS)],
        "price": [i * 1234.25 for i in range(ROWS)],
    }
)


def csv_of(frame: pl.DataFrame, separator: str = ",", **more) -> str:
    return frame.write_csv(separator=separator, **more)


def german(frame: pl.DataFrame) -> str:
    """Semicolons, decimal commas, points between thousands."""
    price = [f"{v:,.2f}".translate(str.maketrans(",.", ".,")) for v in frame["price"]]
    return csv_of(frame.with_columns(price=pl.Series(price)), ";", decimal_comma=True)


def swiss(frame: pl.DataFrame) -> str:
    price = [f"{v:,.2f}".replace(",", "'") for v in frame["price"]]
    return csv_of(frame.with_columns(price=pl.Series(price)), "\t")


def english(frame: pl.DataFrame) -> str:
    return csv_of(frame.with_columns(price=pl.Series([f"{v:,}" for v in frame["price"]])))


def french(frame: pl.DataFrame) -> str:
    price = [f"{v:,.2f}".replace(",", "\u202f").replace(".", ",") for v in frame["price"]]
    return csv_of(frame.with_columns(price=pl.Series(price)), ";", decimal_comma=True)


def zstd(raw: bytes) -> bytes:
    return pa.compress(raw, codec="zstd", asbytes=True)


def binary(writer: str, **more) -> bytes:
    buffer = io.BytesIO()
    getattr(PLAIN, writer)(buffer, **more)
    return buffer.getvalue()


TEXTS = {
    "commas": csv_of(PLAIN),
    "semicolons": csv_of(PLAIN, ";"),
    "tabs": csv_of(PLAIN, "\t"),
    "pipes": csv_of(PLAIN, "|"),
    "everything quoted": csv_of(PLAIN, quote_style="always"),
    "CRLF": csv_of(PLAIN, line_terminator="\r\n"),
    "CR": csv_of(PLAIN, line_terminator="\r"),
    "sep=": "sep=;\r\n" + csv_of(PLAIN, ";", line_terminator="\r\n"),
    "German": german(PLAIN),
    "Swiss": swiss(PLAIN),
    "English": english(PLAIN),
    "French": french(PLAIN),
    "JSON lines": PLAIN.write_ndjson(),
    "JSON": json.dumps(PLAIN.to_dicts()),
}
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
PACKINGS = {
    "bare": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
BINARIES = {
    "Parquet": binary("write_parquet"),
    "Arrow": binary("write_ipc"),
    "Arrow of zstd": binary("write_ipc", compression="zstd"),
    "Arrow stream": binary("write_ipc_stream"),
}


def read(folder: Path, raw: bytes, name: str = "data") -> Table:
    (folder / name).write_bytes(raw)
    return read_table(folder / name)


def test_the_plain_file_needs_no_word(tmp_path):
    assert read(tmp_path, csv_of(PLAIN).encode()).notices == ()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", TEXTS)
def test_every_text_in_every_encoding_is_the_same_table(text, encoding, tmp_path):
    if encoding == "cp1252" and text == "French":
        pytest.skip("Windows-1252 has no narrow blank")
    table = read(tmp_path, TEXTS[text].encode(encoding))
    assert table.frame.cast(PLAIN.schema).equals(PLAIN)
    assert table.doubts == ()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("packing", [*PACKINGS, "zstd"])
def test_every_text_in_every_packing_is_the_same_table(text, packing, tmp_path):
    pack = zstd if packing == "zstd" else PACKINGS[packing]
    table = read(tmp_path, pack(TEXTS[text].encode()), "data.txt")
    assert table.frame.cast(PLAIN.schema).equals(PLAIN)
    assert packing == "bare" or packing in table.notices[0]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("binary", BINARIES)
def test_every_binary_in_every_packing_is_the_same_table(binary, packing, tmp_path):
    table = read(tmp_path, PACKINGS[packing](BINARIES[binary]))
    assert table.frame.equals(PLAIN)


COLUMNS = [
    ("decimal commas", ";", ["1,5", "2", "-0,25", "3,5E-2"], [1.5, 2, -0.25, 0.035]),
    ("millions", ",", ["1,234,567", "12", "-3,000,000"], [1234567, 12, -3e6]),
    ("lakhs", ",", ["12,34,567", "1,234.5", "7"], [1234567, 1234.5, 7]),
    ("points between", ";", ["1.234.567", "12", "3.000.000,5"], [1234567, 12, 3000000.5]),
    ("blanks", ",", ["1 234", "12", "1 234 567.5"], [1234, 12, 1234567.5]),
    ("hard blanks", ",", ["1\u00a0234", "12", "1\u202f234\u202f567.5"], [1234, 12, 1234567.5]),
    ("blanks and commas", ";", ["1 234,5", "12", "7,25"], [1234.5, 12, 7.25]),
    ("apostrophes", ",", ["1'234.5", "12", "1\u2019234\u2019567"], [1234.5, 12, 1234567]),
    ("gaps", ";", ["1,5", "", "NA", " 2,5 "], [1.5, None, None, 2.5]),
    ("leading zeros are decimals", ",", ["0,123", "1,234"], [0.123, 1.234]),
    ("quoted gaps among texts", ",", ["x", "", "NA", "y"], ["x", None, None, "y"]),
    ("plain numbers with blanks", ",", [" 1.5", "2 ", "3"], [1.5, 2, 3]),
    ("points of plain numbers", ",", ["1.234", "2.345"], [1.234, 2.345]),
    ("points that part no thousands", ";", ["1.234", "0.345"], [1.234, 0.345]),
    ("dates", ";", ["01.02.2020", "31.12.2021"], ["01.02.2020", "31.12.2021"]),
    ("addresses", ";", ["192.168.1.1", "10.0.0.1"], ["192.168.1.1", "10.0.0.1"]),
    ("lists", ",", ["1,2,3", "4", "5,6"], ["1,2,3", "4", "5,6"]),
    ("wrong groups", ",", ["1,2345,6", "12"], ["1,2345,6", "12"]),
    ("codes", ",", ["A7", "B12", "1,5"], ["A7", "B12", "1,5"]),
    ("one text", ";", ["1,5", "2,5", "3,5", "cheap"], ["1,5", "2,5", "3,5", "cheap"]),
]
"""A name, the file's delimiter, values as they stand there, and what they mean."""


def column_file(values: list[str], delimiter: str) -> bytes:
    rows = [f'"{value}"{delimiter}x{i}' for i, value in enumerate(values)]
    return "\n".join([f"v{delimiter}k", *rows]).encode()


@pytest.mark.parametrize(
    ("name", "delimiter", "values", "means"), COLUMNS, ids=[c[0] for c in COLUMNS]
)
def test_what_a_column_of_numbers_means(name, delimiter, values, means, tmp_path):
    table = read(tmp_path, column_file(values, delimiter))
    assert table.frame["v"].to_list() == means
    assert table.doubts == ()


DOUBTS = [
    ("semicolons say decimals", ";", {"v": "1,234"}, 1.234, "usual in such a file"),
    ("commas say thousands", ",", {"v": "1,234"}, 1234, "usual in such a file"),
    ("tabs say thousands", "\t", {"v": "1,234"}, 1234, "usual in such a file"),
    ("another column says decimals", "\t", {"v": "1,234", "w": "1,5"}, 1.234, "as others here"),
    ("another column says thousands", ";", {"v": "1,234", "w": "1,234.5"}, 1234, "as others here"),
    ("others disagree", ",", {"v": "1,234", "w": "1,5", "u": "1,234.5"}, 1234, "usual"),
    ("points between thousands", ";", {"v": "1.234", "w": "1,5"}, 1234, "others here have decimal"),
    ("points of either kind", ";", {"v": "1.234"}, 1.234, "with a decimal point"),
    (
        "points are decimal too",
        ";",
        {"v": "1.234", "w": "1,5", "u": "0.5"},
        1.234,
        "with a decimal point",
    ),
    ("several ways in one", ",", {"v": "1,5", "v2": "1.5"}, None, "written in several ways"),
]
"""A name, the delimiter, a value of each column, what `v` means, and what the doubt says."""


@pytest.mark.parametrize(
    ("name", "delimiter", "row", "means", "says"), DOUBTS, ids=[d[0] for d in DOUBTS]
)
def test_what_may_be_meant_otherwise_is_said(name, delimiter, row, means, says, tmp_path):
    is_mixed = means is None
    rows = [{"v": value} for value in row.values()] if is_mixed else [row] * 3
    rows = [{**row, "k": "x"} for row in rows]
    table = read(tmp_path, csv_of(pl.DataFrame(rows), delimiter).encode())
    assert table.frame["v"][0] == (row["v"] if is_mixed else means)
    assert len(table.doubts) == 1
    assert "column 'v'" in table.doubts[0]
    assert says in table.doubts[0]
    assert table.doubts[0] in table.notices


def test_in_a_column_of_numbers_a_text_stands_out(tmp_path):
    (tmp_path / "data.csv").write_bytes(column_file(["1,5", "cheap, n.v.", "2.000,5", ""], ";"))
    column = read_table(tmp_path / "data.csv", numbers=["v"]).frame["v"]
    assert column.to_list() == ["1.5", "cheap, n.v.", "2000.5", None]


def test_a_column_of_texts_stays_as_it_stands(tmp_path):
    (tmp_path / "data.csv").write_bytes(column_file(["1,5", "007", "2.0"], ";"))
    assert read_table(tmp_path / "data.csv", texts=["v"]).frame["v"].to_list() == [
        "1,5",
        "007",
        "2.0",
    ]


LATER = [
    "7",
    "-3",
    "1.5",
    "1e3",
    "inf",
    "x",
    "true",
    "",
    "99999999999999999999",
    " 4",
    "4 ",
    "1,5",
    "007",
]


@pytest.mark.parametrize("first", ["1", "1.5", "", "true", "x"])
@pytest.mark.parametrize("later", LATER)
def test_a_later_row_means_the_same_as_an_early_one(first, later, tmp_path, monkeypatch):
    rows = [first] * 4 + [later]
    raw = "\n".join(["a;b", *(f"{value};{i}" for i, value in enumerate(rows))]).encode()
    whole = read(tmp_path, raw).frame
    monkeypatch.setattr(delimited_file, "_QUICK_ROWS", 2)
    quick = read(tmp_path, raw).frame
    assert quick.schema == whole.schema
    assert quick.equals(whole)


SNIFFED = [
    ("a comma in the header's names", "size, cm;weight, kg;k\n1,5;2,25;a\n2;3;b\n", 3),
    ("semicolons in quotes", 'a,b\n"x;y;z",1\n"u;v",2\n', 2),
    ("semicolons in a text", "a,b\nx;y;z,1\nu;v,2\n", 2),
    ("commas in every text", "id\ttext\n1\tone, two, three\n2\tfour, five\n", 2),
    ("line breaks in quotes", 'a;b\n"x\n1,2\n3,4";5\n"y";6\n', 2),
    ("one column", "text\nx\ny\n", 1),
    ("one column of texts", "text\nwell, well\nso; so\n", 1),
    ("one ragged row is not the rule", "a|b|c\n" + "1|2|3\n" * 20, 3),
    ("a header alone", "a;b\n", 2),
]


@pytest.mark.parametrize(("name", "text", "width"), SNIFFED, ids=[s[0] for s in SNIFFED])
def test_the_delimiter_is_judged_by_many_lines(name, text, width, tmp_path):
    if name == "a header alone":
        with pytest.raises(DataError, match="a header but no rows"):
            read(tmp_path, text.encode())
    elif name == "one column of texts":
        with pytest.raises(DataError, match="line 2: 2 fields where the header has 1"):
            read(tmp_path, text.encode())
    else:
        assert read(tmp_path, text.encode()).frame.width == width


def test_fields_of_an_object_are_columns_of_their_own(tmp_path):
    rows = [{"id": 1.5, "user": {"age": 30 + i, "home": {"town": "ab"[i % 2]}}} for i in range(9)]
    table = read(tmp_path, "\n".join(json.dumps(row) for row in rows).encode())
    assert table.frame.columns == ["id", "user.age", "user.home.town"]
    assert table.frame["user.age"].to_list() == list(range(30, 39))
    clash = pl.DataFrame({"user": [{"age": 1}], "user.age": [2]})
    assert simple(clash).schema == clash.schema
