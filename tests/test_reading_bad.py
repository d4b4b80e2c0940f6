"""Files that are no table, or not wholly: one line that names the file, the place, what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import shlex
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from thalweg.cli.main import main
from thalweg.errors import DataError
from thalweg.tasks.table.read import read_table

GOOD = "size,colour,kind\n" + "".join(f"{i % 7}.5,rot,{'ab'[i % 2]}\n" for i in range(40))
LINES = '{"size": 1, "kind": "a"}\n{"size": 2, "kind": "b"}\n'
RUBBISH = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()


def zstd(raw: bytes) -> bytes:
    return pa.compress(raw, codec="zstd", asbytes=True)


def arrow(writer: str = "write_ipc") -> bytes:
    buffer = io.BytesIO()
    getattr(pl.read_csv(GOOD.encode()), writer)(buffer)
    return buffer.getvalue()


def half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def parts(**texts: str | bytes | None) -> dict[str, str | bytes | None]:
    """Files of a folder by stem; None is a folder in it."""
    return {f"d/{stem}.csv": text for stem, text in texts.items()}


Files = dict[str, str | bytes | None]

BAD: list[tuple[str, Files, tuple[str, ...]]] = [
    ("half of zstd", {"d": half(zstd(GOOD.encode()))}, ("zstd", "cut short", "write it again")),
    ("half of gzip", {"d": half(gzip.compress(GOOD.encode()))}, ("gzip", "cut short")),
    ("half of bzip2", {"d": half(bz2.compress(GOOD.encode()))}, ("bzip2", "cut short")),
    ("rubbish in gzip", {"d": b"\x1f\x8b" + RUBBISH}, ("gzip", "damaged")),
    ("rubbish in zstd", {"d": b"\x28\xb5\x2f\xfd" + RUBBISH}, ("zstd", "damaged")),
    ("nothing in gzip", {"d": gzip.compress(b"")}, ("is empty",)),
    ("nothing in zstd", {"d": zstd(b" \n")}, ("is empty",)),
    ("binary data in gzip", {"d": gzip.compress(RUBBISH)}, ("holds binary data",)),
    ("Latin-1 in zstd", {"d": zstd("größe,kind\n".encode("cp1252"))}, ("zstd", "unpack it first")),
    ("a zip", {"d": b"PK\x03\x04" + bytes(90)}, ("zip archive", "as CSV")),
    ("ARFF", {"d": "@RELATION x\n@ATTRIBUTE a NUMERIC\n@DATA\n1\n"}, ("ARFF", "as CSV")),
    ("half of UTF-16", {"d": GOOD.encode("utf-16")[:-1]}, ("UTF-16", "cut short", "byte")),
    ("only a mark of UTF-16", {"d": b"\xff\xfe"}, ("is empty",)),
    ("numbers in memory", {"d": np.arange(300, dtype="<u2").tobytes()}, ("holds binary data",)),
    ("Chinese", {"d": "名,种\n".encode("gbk") + "红色,甲\n".encode("gbk") * 9},
     ("line 1", "0xc3", "neither UTF-8 nor Western", "iconv")),
    ("Russian", {"d": "имя,вид\n".encode("cp1251") + "красный,да\n".encode("cp1251") * 9},
     ("line 1", "neither UTF-8 nor Western")),
    ("half of Arrow", {"d.arrow": half(arrow())}, ("Arrow", "cut short", "write it again")),
    ("half of an Arrow stream", {"d": half(arrow("write_ipc_stream"))}, ("Arrow", "cut short")),
    ("no Arrow", {"d.arrow": GOOD}, ("no Arrow file, though its name says so", "ARROW1")),
    ("no Feather", {"d.feather": GOOD}, ("no Arrow file", "ARROW1")),
    ("Feather of version 1", {"d.feather": b"FEA1" + bytes(90)}, ("version 1", "version 2")),
    ("no JSON lines", {"d.jsonl": GOOD}, ("no JSON objects, though its name", "'size,colour")),
    ("a broken JSON line", {"d": LINES + '{"size": 3, "ki\n'}, ("line 3", "no JSON object")),
    ("a JSON list among lines", {"d": LINES + "[1, 2]\n"}, ("line 3", "'[1, 2]'")),
    ("NaN in JSON", {"d": LINES + '{"size": NaN, "kind": "a"}\n'}, ("line 3", "null for what")),
    ("half a JSON list", {"d": '[{"size": 1}, {"size"'}, ("cannot be read as JSON",)),
    ("no JSON objects", {"d.json": "[1, 2, 3]"}, ("no JSON objects",)),
    ("a row too long after sep=", {"d": "sep=;\na;b\n1;2\n1;2;3\n"}, ("line 4", "3 fields")),
    ("a row too short among quotes", {"d": 'a,b\n"1\n2",3\n4\n'}, ("line 4", "1 fields", "has 2")),
    ("a folder of nothing", {"d/.hidden": "", "d/_SUCCESS": ""}, ("folder without files",)),
    ("a folder of folders", parts(a=GOOD, b=None), ("folders ('b.csv')", "give one CSV")),
    ("an empty part", parts(a=GOOD, b=""), ("b.csv is empty",)),
    ("a part with a column more", parts(a="x,y\n1,2\n", b="x,y,z\n1,2,3\n"),
     ("b.csv has other columns than", "a.csv", "it has 'z' besides")),
    ("a part with a column less", parts(a="x,y\n1,2\n", b="x,z\n1,2\n"), ("b.csv", "lacks 'y'")),
    ("a ragged part", parts(a="x,y\n1,2\n", b="x,y\n1,2\n1\n"), ("b.csv, line 3: 1 fields",)),
    ("parts without rows", parts(a="x,y\n", b="x,y\n"), ("d has a header but no rows",)),
    ("a part that is no table", parts(a=GOOD, b=RUBBISH), ("b.csv holds binary data",)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "says"), BAD, ids=[row[0] for row in BAD])
def test_what_is_no_table_is_refused_in_one_line(name, files, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place, content in files.items():
        path = Path(place)
        path.parent.mkdir(exist_ok=True)
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    data = "d" if Path("d").exists() else next(iter(files))

    assert main(shlex.split(f"fit {data} --target kind --steps 2")) == DataError.exit_code
    out, err = capsys.readouterr()
    *progress, line = err.splitlines()
    assert out == ""
    assert line.startswith(f"thalweg: {data}")
    for part in says:
        assert part in line, (part, line)
    assert len(progress) <= 1
    assert not Path("runs").exists()


LOST = "\ufffd"

MENDED = [
    ("broken UTF-8", "größe,k\nß,a\nüber,b\n".encode() + b"gr\xfcn,c\n\xfc,d\n",
     ["ß", "über", f"gr{LOST}n", LOST], "but for 2 places, the first in line 4"),
    ("a cut character", ("größe,k\n" + "ß,a\n" * 9).encode() + b"\xc3,b\n",
     [*"ß" * 9, LOST], "but for 1 place, the first in line 11"),
    ("NUL bytes", b"size,k\n" + b"x,a\n" * 999 + b"y\0z,b\n",
     [*"x" * 999, f"y{LOST}z"], "holds 1 NUL byte, the first in line 1,001"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "raw", "means", "says"), MENDED, ids=[row[0] for row in MENDED])
def test_what_is_lost_of_a_text_is_counted_and_said(name, raw, means, says, tmp_path):
    (tmp_path / "data.csv").write_bytes(raw)
    table = read_table(tmp_path / "data.csv")
    assert table.frame.to_series(0).to_list() == means
    assert len(table.doubts) == 1
    assert says in table.doubts[0]


def test_a_replacement_that_stands_in_the_file_is_no_loss(tmp_path):
    (tmp_path / "data.csv").write_text(f"size,k\nx{LOST},a\n")
    assert read_table(tmp_path / "data.csv").notices == ()


class Terminal(io.TextIOWrapper):
    """A standard input into which somebody could type."""

    def isatty(self) -> bool:
        return True


PIPES = [
    ("a terminal", Terminal(io.BytesIO(b"")), "standard input is a terminal: pipe a table"),
    ("nothing", io.TextIOWrapper(io.BytesIO(b"")), "standard input is empty"),
    ("rubbish", io.TextIOWrapper(io.BytesIO(RUBBISH)), "standard input holds binary data"),
    ("half", io.TextIOWrapper(io.BytesIO(half(gzip.compress(b"a")))), "standard input is compress"),
]


@pytest.mark.parametrize(("name", "stream", "says"), PIPES, ids=[row[0] for row in PIPES])
def test_bad_standard_input_is_refused(name, stream, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(shlex.split("fit - --target kind")) == DataError.exit_code
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs").exists()
