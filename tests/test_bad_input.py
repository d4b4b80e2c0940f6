"""Bad input: each kind gets its exit code and one line that says what, where and what to do.

A row of the table is a command line, what lies in the folder, the exit code of DESIGN section 9,
and what the line must say. The law is the same for all: one line on standard error, nothing on
standard output, no traceback, and the folder afterwards as it was before.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import resource
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xxhash

from thalweg.cli.main import main
from thalweg.record.lock import Lock

USAGE, DATA, RUN = 2, 4, 5

HEADER = "size,weight,colour,kind\n"
ROWS = [
    f"{i % 7}.{i % 10},{i * i % 11},{('red', 'green', 'blue')[i % 3]},{'ab'[i % 2]}\n"
    for i in range(40)
]
GOOD = HEADER + "".join(ROWS)
PRICES = "size,weight,price\n" + "".join(f"{i % 7},{i * i % 11},{i / 3:.3f}\n" for i in range(40))
ZEROS = "size,kind\n" + "7,a\n7,b\n" * 20


def parquet(text: str = GOOD) -> bytes:
    """The table in a CSV text as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    pl.read_csv(text.encode()).write_parquet(buffer)
    return buffer.getvalue()


RUBBISH = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()

Prepare = Callable[[], object]


def write(content: str | bytes, name: str = "data.csv") -> Prepare:
    """Put a file into the folder."""
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda: Path(name).write_bytes(raw)


def damage(name: str, change: Callable[[bytes], bytes | None], run: str = "runs/kinds") -> Prepare:
    """Change a file of a run; None deletes it."""

    def apply() -> None:
        path = Path(run, name)
        changed = change(path.read_bytes())
        path.unlink() if changed is None else path.write_bytes(changed)

    return apply


def replace(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content, "the damage must hit"
        return content.replace(old.encode(), new.encode())

    return change


def flip(content: bytes) -> bytes:
    """One bit in the last third."""
    place = -len(content) // 3
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def torn(content: bytes) -> bytes:
    """Cut off behind an equals sign, near the middle."""
    return content[: content.index(b"=", len(content) // 2) + 1]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def gone(content: bytes) -> None:
    return None


@dataclass(frozen=True)
class Bad:
    """words: the command; says: parts of its line; prepare: what lies in the folder besides
    good.csv, prices.csv and runs/kinds (trained on good.csv), runs/prices.
    """

    name: str
    words: str
    code: int
    says: tuple[str, ...]
    prepare: Prepare = field(default=lambda: None)

    def __str__(self) -> str:
        return self.name


def of_file(name: str, content: str | bytes, *says: str, file: str = "data.csv") -> Bad:
    """A file that fit refuses; the line names it."""
    words = f"fit {shlex.quote(file)} --target kind --steps 2"
    return Bad(name, words, DATA, (file, *says), write(content, file))


def of_target(name: str, value: str, *says: str) -> Bad:
    """A value in the target of prices.csv; the line names file, column and row."""
    content = PRICES + f"1,2,{value}\n"
    words = "fit data.csv --target price --steps 2"
    return Bad(name, words, DATA, ("data.csv", "'price'", "row 41", *says), write(content))


def of_option(options: str, *says: str, code: int = USAGE) -> Bad:
    """An option of fit that cannot be used."""
    return Bad(options, f"fit good.csv --target kind {options}", code, says)


def of_toml(name: str, content: str, *says: str) -> Bad:
    """A file that --config cannot take."""
    return Bad(name, "fit --config my.toml", USAGE, says, write(content, "my.toml"))


def of_new_data(name: str, content: str, *says: str, command: str = "predict kinds") -> Bad:
    """Data that a trained run cannot take; the line names it."""
    return Bad(name, f"{command} data.csv", DATA, ("data.csv", *says), write(content))


def of_run(name: str, file: str, change: Callable[[bytes], bytes | None], *says: str) -> Bad:
    """A damaged run; the line names the file."""
    return Bad(name, "predict kinds good.csv", RUN, (file, *says), damage(file, change))


def of_place(name: str, words: str, *says: str, prepare: Prepare = lambda: None) -> Bad:
    return Bad(name, words, USAGE, says, prepare)


FILES = [
    Bad("no such file", "fit nope.csv --target y", DATA, ("nope.csv", "does not exist", "check")),
    Bad("a file name that is too long", f"fit {'x' * 300} --target y", DATA, ("too long",)),
    Bad("a directory", "fit runs --target y", DATA, ("runs is a folder", "give one CSV")),
    Bad("a device", "fit /dev/zero --target y", DATA, ("/dev/zero", "save the data to a file")),
    Bad("no data", "fit --target y", USAGE, ("no data", "thalweg fit FILE --target COL")),
    Bad("no target", "fit good.csv", USAGE, ("no target", "--target COL")),
    Bad(
        "no such column",
        "fit good.csv --target knid",
        DATA,
        ("good.csv", "'knid'", "did you mean 'kind'?"),
    ),
    Bad(
        "a column in other letters",
        "fit good.csv --target KIND",
        DATA,
        ("'KIND'", "did you mean 'kind'?"),
    ),
    Bad(
        "a column like no other",
        "fit good.csv --target zzz",
        DATA,
        ("'zzz'", "its columns are size, weight, colour, kind"),
    ),
    of_file("empty", "", "is empty"),
    of_file("only blanks", "  \n\n \n", "is empty"),
    of_file("only a byte order mark", b"\xef\xbb\xbf", "is empty"),
    of_file("only a header", HEADER, "header but no rows"),
    of_file("only a header, no line end", HEADER.strip(), "header but no rows"),
    of_file("duplicate header", "a,kind,a\n1,2,3\n", "'a'", "2 times", "rename"),
    of_file("duplicate header but for blanks", "a,kind, a\n1,2,3\n", "'a'", "2 times", "rename"),
    of_file("columns without a name", "a,,,kind\n1,2,3,4\n", "without a name", "rename"),
    of_file(
        "no header", "5,5,1\n" * 30, "'kind'", "column_1, column_2, column_3", "without a header"
    ),
    of_file(
        "a header of numbers twice", "0,0,1\n" + "a,b,c\n" * 30, "'0'", "2 times", "put a header"
    ),
    of_file("a row too long", GOOD + "1,2,red,a,9\n", "line 42", "5 fields", "has 4", "mend"),
    of_file("a row too short", GOOD + "1,2\n" + ROWS[0], "line 42", "2 fields", "has 4", "mend"),
    of_file("a quote that never ends", GOOD + '1,2,"red,a\n' + ROWS[0], "fields where", "mend"),
    of_file("a NUL byte", GOOD + "1,2,r\0d,a\n", "NUL"),
    of_file("binary rubbish", RUBBISH, "binary data", "save the table as one of these"),
    of_file("binary rubbish without NUL", RUBBISH.replace(b"\0", b""), "binary data", "CSV nor"),
    of_file("half of gzip", half(gzip.compress(GOOD.encode())), "gzip", "cut short", file="d.gz"),
    of_file("Excel", b"PK\x03\x04" + bytes(100), "Excel", "as CSV", file="data.xlsx"),
    of_file("truncated Parquet", half(parquet()), "cut short", "write it again", file="d.parquet"),
    of_file("the first bytes of Parquet", b"PAR1", "cut short", file="d.parquet"),
    of_file("Parquet without its end", parquet()[:-1], "cut short", file="d.parquet"),
    of_file("no Parquet", GOOD, "no Parquet file", "lacks the mark PAR1", file="d.parquet"),
    of_file("an empty Parquet file", b"", "is empty", file="d.parquet"),
    of_file("Parquet without rows", parquet(HEADER), "no rows", file="d.parquet"),
    of_file("3 rows", HEADER + "".join(ROWS[:3]), "3 rows are too few", "at least 10"),
    of_file("9 rows", HEADER + "".join(ROWS[:9]), "9 rows are too few", "at least 10"),
    of_file("one class only", "size,kind\n" + "1,a\n2,a\n" * 10, "'kind'", "only one value, 'a'"),
    of_file("constant target", "size,kind\n" + "1,3.5\n2,3.5\n" * 10, "only one value, 3.5"),
    of_file("only the target", "kind\n" + "a\nb\n" * 10, "no column is left", "only the target"),
    of_file("all columns dropped", ZEROS, "no column is left", "'size': constant", "give"),
    of_file(
        "only a row number",
        "n,kind\n" + "".join(f"{i},{i % 2}\n" for i in range(20)),
        "no column is left",
        "'n'",
        "counts the rows",
    ),
    of_file(
        "a class for every row",
        "n,kind\n" + "".join(f"{i % 3},name{i}\n" for i in range(300)),
        "'kind'",
        "300 distinct",
        "too many to be classes",
        "--task regression",
    ),
    of_file(
        "classes of one row each",
        "n,kind\n" + "".join(f"{i % 3},name{i}\n" for i in range(30)),
        "only one row",
        "several rows each",
    ),
]

TARGETS = [
    of_target("NaN in the target", "NaN", "missing", "remove"),
    of_target("missing in the target", "", "missing", "remove"),
    of_target("a blank in the target", "  ", "missing", "remove"),
    of_target("Inf in the target", "inf", "is inf", "finite", "remove or mend"),
    of_target("minus Infinity in the target", "-Infinity", "is -inf", "finite"),
    of_target("an absurd number in the target", "1e200", "1e+200", "below 1e+150"),
    of_target("text among the target's numbers", "cheap", "'cheap'", "number in most others"),
    Bad(
        "NaN in the target of a Parquet file",
        "fit d.parquet --target price",
        DATA,
        ("d.parquet", "'price'", "is nan in row 1"),
        lambda: pl.DataFrame(
            {"size": range(20), "price": [float("nan"), *range(19)]}, strict=False
        ).write_parquet("d.parquet"),
    ),
    Bad(
        "lists in the target",
        "fit d.parquet --target kind",
        DATA,
        ("d.parquet", "'kind'", "List", "must be numbers or texts"),
        lambda: pl.DataFrame({"n": range(20), "kind": [[1]] * 20}).write_parquet("d.parquet"),
    ),
]

OPTIONS = [
    of_option("--lr -1", "lr is -1.0", "larger than 0"),
    of_option("--lr 0", "lr is 0.0", "larger than 0"),
    of_option("--lr nan", "lr is nan", "larger than 0"),
    of_option("--lr inf", "lr is inf", "larger than 0"),
    of_option("--lr fast", "--lr", '"fast"', "float", "--help"),
    of_option("--optimizer adamm", "'adamm'", "did you mean adam?", "sgd, momentum, nesterov"),
    of_option("--optimizer tiger", "'tiger'", "choose one of sgd"),
    of_option("--clip vaule:1", "clip is 'vaule:1'", "tensor:1.0, value:0.5, adaptive"),
    of_option("--clip value", "clip is 'value'", "needs its limit", "value:1.0"),
    of_option("--clip adaptive:much", "clip is 'adaptive:much'", "'much'", "adaptive:0.01"),
    of_option("--clip adaptive:0.1,eps=-1", "eps must be a finite number >= 0"),
    of_option("--clip 0", "clip is 0.0", "give a norm > 0"),
    of_option("--clip value:1 --optimizer muon", "ByValue(limit=1.0)", "muon", "leave it out"),
    of_option("--precision fp16-weights", "'fp16-weights'", "did you mean bf16-weights?"),
    of_option("--precision bf16-true", "'bf16-true'", "float32, bf16, fp16, bf16-weights"),
    of_option("--optimizer ''", "optimizer ''", "choose one of"),
    of_option("--optimizer adam:foo=1", "'foo'", "beta1, beta2, eps, weight_decay, amsgrad"),
    of_option("--optimizer sgd:lr=1", "'lr'", "--lr"),
    of_option("--optimizer adam:weight_decay", "'weight_decay'", "NAME=VALUE"),
    of_option("--optimizer adam:weight_decay=x", "weight_decay is 'x'", "must be a number"),
    of_option("--optimizer adam:weight_decay=nan", "weight_decay is nan", "weight_decay >= 0"),
    of_option("--optimizer adam:amsgrad=maybe", "amsgrad is 'maybe'", "true or false"),
    of_option("--optimizer adam:weight_decay=-1", "weight_decay is -1.0", "weight_decay >= 0"),
    of_option("--optimizer momentum:momentum=2", "momentum is 2.0", "0 <= momentum < 1"),
    of_option("--batch-size 0", "batch-size is 0", "auto, full, or a whole number >= 1"),
    of_option("--batch-size -1", "batch-size is -1", "a whole number >= 1"),
    of_option("--batch-size 1.5", "batch-size is '1.5'", "a whole number >= 1"),
    of_option("--batch-size big", "batch-size is 'big'", "auto, full"),
    of_option("--nosuch 1", "--nosuch", "--help"),
    of_option("--learning-rate 1", "--learning-rate", "--help"),
    of_option("another.csv", "nothing is expected at 'another.csv'", "--help"),
    of_option("--lr", "--lr", "requires an argument"),
    of_option("--steps 5 --steps 6", "--steps", "multiple times"),
    of_option("--schedule cos", "'cos'", "did you mean cosine?"),
    of_option("--schedule cosine:floor=2", "cosine: floor is 2", "0 .. 1"),
    of_option("--schedule cosine:flor=0", "cosine has no setting 'flor'", "floor"),
    of_option("--schedule cosine:floor", "cosine: floor is 'floor'", "give a number"),
    of_option("--schedule 'cosine(floor=0.1'", "cannot be read", "warmup(100) >> cosine"),
    of_option("--schedule 'cosine >> linear'", "cosine() has no end", "warmup(100)"),
    of_option("--schedule ''", "schedule: ''", "warmup(100) >> cosine"),
    of_option("--schedule warmup", "warmup needs steps"),
    of_option("--schedule 'warmup:5 >> cosine' --warmup 3", "warmup is 3", "--warmup 0"),
    of_option("--schedule one_cycle --warmup 3", "a warm-up of its own", "'one_cycle'"),
    of_option("--compile maybe", "compile 'maybe'", "off, auto, on"),
    of_option("--compile another.csv", "compile 'another.csv'", "off, auto, on"),
    of_option("--recompute=maybe", "--recompute", '"maybe"', "--help"),
    of_option("--recompute --model linear", "recompute finds no blocks", "nn.Sequential"),
    of_option("--model cnn", "'cnn'", "linear, or mlp:WIDTH"),
    of_option("--model mlp:0", "'mlp:0'", "mlp:256,256"),
    of_option("--model mlp:8,,8", "'mlp:8,,8'", "mlp:256,256"),
    of_option("--model mlp:²", "'mlp:²'", "mlp:256,256"),
    of_option("--model mlp:99999999999", "does not fit into memory", "smaller"),
    of_option("--task clustering", "'clustering'", "auto, classification, regression"),
    of_option("--task regresion", "did you mean regression?"),
    of_option("--task regression", "good.csv", "'kind'", "no numbers", "'a'", code=DATA),
    of_option("--loss hinge", "'hinge'", "cross_entropy"),
    of_option("--loss mse", "'mse'", "cross_entropy", "leave the loss out"),
    of_option("--device gpu", "'gpu'", "choose auto, cpu, cuda"),
    of_option("--device cuda:99", "'cuda:99' is not there", "choose auto or cpu"),
    of_option("--device meta", "'meta' is not there", "choose auto or cpu"),
    of_option("--steps 0", "steps is 0", "1 or more"),
    of_option("--steps -5", "steps is -5", "1 or more"),
    of_option("--steps 1.5", "--steps", "1.5 is not a whole number"),
    of_option("--steps many", "--steps", '"many"'),
    of_option("--epochs 0", "epochs is 0.0", "larger than 0"),
    of_option("--epochs nan", "epochs is nan", "larger than 0"),
    of_option("--time 0", "time is 0.0", "90s, 5m or 2h"),
    of_option("--time soon", "time is 'soon'", "90s, 5m or 2h"),
    of_option("--time=-5s", "time is '-5s'", "90s, 5m or 2h"),
    of_option("--until accuracy", "'accuracy'", "NAME=NUMBER", "accuracy=0.98"),
    of_option("--until accuracy=high", "'accuracy=high'", "accuracy=0.98"),
    of_option("--until beauty=1", "'beauty'", "choose one of loss, accuracy"),
    of_option("--until rmse=1", "'rmse'", "choose one of loss, accuracy"),
    of_option("--patience 0", "patience is 0", "1 or more"),
    of_option("--evaluate-every 0", "evaluate-every is 0", "1 or more"),
    of_option("--warmup -1", "warmup is -1", "0 or more"),
    of_option("--horizon 0", "horizon is 0", "1 or more"),
    of_option("--threads 0", "threads is 0", "1 .. 1,024"),
    of_option("--threads 99999999", "threads is 99999999", "1 .. 1,024"),
    of_option("--seed -1", "seed is -1", "0 .. 4,294,967,295"),
    of_option("--seed 99999999999999999999", "seed is", "0 .. 4,294,967,295"),
    of_option("--seed x", "--seed", '"x"'),
]

COMMANDS = [
    Bad("an unknown command", "nosuch", USAGE, ('"nosuch"', "fit, resume, demo, predict")),
    Bad("predict without a run", "predict", USAGE, ("RUN requires an argument",)),
    Bad("predict without data", "predict kinds", USAGE, ("no data was given", "--prompt")),
    Bad("a word too many", "runs extra", USAGE, ("nothing is expected at 'extra'",)),
    Bad("demo with a wrong seed", "demo --seed -1", USAGE, ("seed is -1", "0 .. 4,294,967,295")),
    Bad("demo into a file", "demo --out good.csv", USAGE, ("good.csv is a file", "--out")),
    Bad("a line break in a name", "fit 'a\nb.csv' --target y", DATA, ("b.csv does not exist",)),
]

TOMLS = [
    Bad("no such --config", "fit --config nope.toml", USAGE, ("nope.toml", "cannot be read")),
    Bad("a folder as --config", "fit --config runs", USAGE, ("runs", "cannot be read")),
    of_toml("no TOML", GOOD, "my.toml", "not TOML", "line 1"),
    of_toml("no settings", "x = 1\n", "my.toml", "needs a [settings] table"),
    of_toml("settings that are none", "settings = 3\n", "my.toml", "[settings] table"),
    of_toml("data that is no text", "data = 3\n[settings]\n", "my.toml"),
    of_toml("an unknown setting", "[settings]\nlearning = 1\n", "'learning'", "not a setting"),
    of_toml("a misspelt setting", "[settings]\noptimiser = 'sgd'\n", "did you mean 'optimizer'?"),
    of_toml("a text for a number", "[settings]\nlr = 'x'\n", "lr is 'x'", "a number larger than 0"),
    of_toml("a number for a text", "[settings]\ndevice = 3\n", "device is 3", "must be a text"),
    of_toml("a broken whole number", "[settings]\nsteps = 1.5\n", "steps is 1.5", "whole number"),
    of_toml("true for a number", "[settings]\nseed = true\n", "seed is True", "whole number"),
    of_toml("a wrong value", "[settings]\nschedule = 'cos'\n", "did you mean cosine?"),
    of_toml("a number for a schedule", "[settings]\nschedule = 3\n", "schedule is 3", "a text"),
    of_toml("no data in it", "[settings]\ntarget = 'y'\n", "no data was given"),
]

FIT = "fit good.csv --target kind --steps 2"

PLACES = [
    of_place("a file as --out", f"{FIT} --out good.csv", "good.csv is a file", "another --out"),
    of_place("below a file", f"{FIT} --out good.csv/x", "good.csv/x", "Not a directory", "--out"),
    of_place("/proc as --out", f"{FIT} --out /proc/x", "/proc/x", "cannot be written", "--out"),
    of_place("a long --out", f"{FIT} --out {'x' * 300}", "too long", "another --out"),
    of_place("a name that exists", f"{FIT} --name kinds", "runs/kinds exists already", "--name"),
    of_place("a name with ../", f"{FIT} --name ../x", "'../x'", "letters, digits"),
    of_place("a name with a slash", f"{FIT} --name a/b", "'a/b'", "letters, digits"),
    of_place("a name that is too long", f"{FIT} --name {'x' * 300}", "at most 60 letters"),
    of_place("a name that means another", f"{FIT} --name last", "'last'"),
    of_place("an empty name", f"{FIT} --name ''", "name ''", "letters, digits"),
    of_place("--to an unknown kind", "predict kinds good.csv --to x.txt", "x.txt", ".csv or"),
    of_place("--to no folder", "predict kinds good.csv --to no/x.csv", "no/x.csv", "No such file"),
    of_place("--to below a file", "predict kinds good.csv --to good.csv/x.csv", "Not a directory"),
    of_place("--to /proc", "predict kinds good.csv --to /proc/x.csv", "/proc/x.csv", "cannot be"),
    of_place("--to a long name", f"predict kinds good.csv --to {'x' * 300}.csv", "too long"),
    of_place("--to the data", "predict kinds good.csv --to ./good.csv", "good.csv", "another file"),
    of_place(
        "--to a folder",
        "predict kinds good.csv --to x.csv",
        "x.csv",
        "Is a directory",
        prepare=lambda: Path("x.csv").mkdir(),
    ),
]

NEW_DATA = [
    Bad("predict no such file", "predict kinds nope.csv", DATA, ("nope.csv", "does not exist")),
    Bad("evaluate a folder", "evaluate kinds runs", DATA, ("runs is a folder",)),
    of_new_data("a missing column", "size,colour\n1,red\n", "'weight'", "was trained on"),
    of_new_data("missing columns", "weight,x\n1,2\n", "2 columns", "'size', 'colour'"),
    of_new_data("text for a number", "size,weight,colour\n1,2,red\nbig,2,red\n", "row 2", "'big'"),
    of_new_data("only a header to predict", HEADER, "no rows"),
    of_new_data("a ragged row to predict", GOOD + "1\n", "line 42", "1 fields"),
    of_new_data(
        "no target to score",
        "size,weight,colour\n1,2,red\n",
        "'kind'",
        "cannot be scored",
        command="evaluate kinds",
    ),
    of_new_data(
        "an unknown class",
        HEADER + ROWS[0] + "1,2,red,z\n",
        "row 2",
        "'z'",
        "unknown to the run",
        command="evaluate kinds",
    ),
    of_new_data(
        "a missing class",
        HEADER + ROWS[0] + "1,2,red,\n",
        "'kind'",
        "row 2",
        "missing",
        command="evaluate kinds",
    ),
    of_new_data(
        "a missing number to score",
        PRICES + "1,2,\n",
        "'price'",
        "row 41",
        "missing",
        command="evaluate prices",
    ),
    of_new_data(
        "an infinite number to score",
        "size,weight,price\n1,2,3\n1,2,inf\n",
        "'price'",
        "row 2",
        "inf",
        command="evaluate prices",
    ),
    of_new_data(
        "text for a number to score",
        "size,weight,price\n1,2,3\n1,2,cheap\n",
        "'price'",
        "row 2",
        "'cheap'",
        command="evaluate prices",
    ),
]

CHANGED = "changed or damaged since the run ended"

RUNS = [
    Bad("no such run", "predict nope good.csv", RUN, ("'nope'", "there: ", "kinds", "prices")),
    Bad("a run of a long name", f"predict {'x' * 300} good.csv", RUN, ("there is no run",)),
    Bad("a file as a run", "predict good.csv good.csv", RUN, ("good.csv is not", "run.toml")),
    Bad("a folder that is no run", "evaluate runs good.csv", RUN, ("runs is not", "run.toml")),
    Bad("last where there is none", "report last --out no", RUN, ("no run in no", "thalweg fit")),
    Bad("report of no run", "report nope", RUN, ("'nope'",)),
    Bad("delete no run", "runs delete nope", RUN, ("'nope'", "there: ")),
    Bad("delete a file", "runs delete good.csv", RUN, ("good.csv is not the folder of a run",)),
    Bad("delete the folder of runs", "runs delete runs", RUN, ("runs is not",)),
    Bad(
        "delete one's own folder that holds a copy of run.toml",
        "runs delete .",
        RUN,
        ("is not the folder of a run",),
        lambda: shutil.copy("runs/kinds/run.toml", "run.toml"),
    ),
    of_run("a bit flip in the weights", "model.safetensors", flip, CHANGED, "train again"),
    of_run("truncated weights", "model.safetensors", half, CHANGED),
    of_run("no weights", "model.safetensors", gone, "runs/kinds holds no"),
    of_run("a truncated record", "record.sqlite", half, CHANGED),
    of_run("a bit flip in the record", "record.sqlite", flip, CHANGED),
    of_run("no record", "record.sqlite", gone, "runs/kinds holds no"),
    of_run("a hand-edited run.toml", "run.toml", replace("mlp:8", "mlp:9"), CHANGED),
    of_run("a hand-edited schema.toml", "schema.toml", replace('"red"', '"rot"'), CHANGED),
    of_run("a manifest that is no JSON", "run.manifest", half, "is damaged"),
    of_run("a manifest that is no table", "run.manifest", lambda _: b"[]", "is damaged"),
    Bad(
        "a manifest without files",
        "predict kinds good.csv",
        RUN,
        ("runs/kinds holds no",),
        damage("run.manifest", lambda _: b'{"files": 3}'),
    ),
    of_run("an unfinished run", "run.manifest", gone, "was not finished"),
    Bad(
        "report of a truncated record",
        "report kinds",
        RUN,
        ("record.sqlite", CHANGED),
        damage("record.sqlite", half),
    ),
    Bad(
        "report of an unfinished run with a truncated record",
        "report kinds",
        RUN,
        ("record.sqlite", "not a record"),
        lambda: (damage("run.manifest", gone)(), damage("record.sqlite", half)()),
    ),
]

RESUMED = "runs/kinds/checkpoints/step-00000002"


def together(*all_: Prepare) -> Prepare:
    """One after the other."""

    def apply() -> None:
        for prepare in all_:
            prepare()

    return apply


CUT = damage("run.manifest", gone)
"""The run of good.csv is then one that was killed after its last step."""


def of_resume(name: str, words: str, *says: str, prepare: Prepare = CUT, code: int = RUN) -> Bad:
    """A run that cannot be gone on with."""
    return Bad(name, f"resume {words}", code, says, prepare)


def of_cut(name: str, file: str, change: Callable[[bytes], bytes | None], *says: str) -> Bad:
    """A file of an unfinished run was changed."""
    return of_resume(name, "kinds", *says, prepare=together(CUT, damage(file, change)))


def other_format(content: bytes) -> bytes:
    """A checkpoint's manifest as a later version may write it."""
    body = content[: content.rindex(b' "xxh3"')].replace(b'"format": 2', b'"format": 7')
    return body + b' "xxh3": "%s"}\n' % xxhash.xxh3_64_hexdigest(body).encode()


def other_record(version: int) -> Prepare:
    def apply() -> None:
        with closing(sqlite3.connect("runs/kinds/record.sqlite")) as connection:
            connection.execute(f"PRAGMA user_version={version}")
            connection.commit()

    return apply


def locked() -> None:
    """As while it runs; the lock ends with this process."""
    Lock(Path("runs/kinds/record.lock"))


def without_model(content: bytes) -> bytes:
    """run.toml of a run whose model was an object."""
    return content.replace(b'model = "mlp:8"\n', b"")


RESUMES = [
    of_resume("resume without a run", "", "RUN requires an argument", code=USAGE),
    of_resume("resume no run", "nope", "there is no run 'nope'", "kinds"),
    of_resume("resume a folder that is no run", "runs", "runs is not the folder of a run"),
    of_resume("resume a file", "good.csv", "good.csv is not the folder of a run"),
    of_resume(
        "resume a finished run",
        "kinds",
        "runs/kinds is finished",
        "--epochs +20",
        prepare=lambda: None,
    ),
    of_cut("a run.toml of another schema", "run.toml", replace("schema = 1", "schema = 7"),
           "run.toml is of schema 7", "reads schema 1"),
    of_cut("a run.toml without settings", "run.toml", lambda _: b"schema = 1", "[settings] table"),
    of_cut("a run.toml that is no TOML", "run.toml", torn, "run.toml is damaged"),
    of_cut("a setting that is unknown", "run.toml", replace("lr = ", "lrr = "),
           "run.toml cannot be used", "'lrr' is not a setting"),
    of_cut("another model in run.toml", "run.toml", replace("mlp:8", "mlp:9"),
           "the checkpoint is of another model", "(8, 6) there and float32 (9, 6) here"),
    of_cut("another depth in run.toml", "run.toml", replace("mlp:8", "mlp:8,8"),
           "the checkpoint", "other parameters"),
    of_cut("another seed in run.toml", "run.toml", replace("seed = 0", "seed = 3"),
           "this is not the run that was saved", "data was"),
    of_cut("another batch size in run.toml", "run.toml", replace("size = 32", "size = 9"),
           "batch_size was 32, is 9"),
    of_cut("a model that was an object", "run.toml", without_model,
           "the model of runs/kinds was given as an object", "thalweg.resume(run, data, model="),
    of_cut("data that was an object", "run.toml", replace('data = "', 'dat = "'),
           "the data of runs/kinds was given as an object", "from Python"),
    of_resume(
        "data that has changed",
        "kinds good.csv",
        "good.csv has changed since runs/kinds began",
        "bring the old file back",
        prepare=together(CUT, write(GOOD + ROWS[0], "good.csv")),
    ),
    of_resume(
        "data that is gone",
        "kinds",
        "gone.csv, the data of runs/kinds, is not there any more",
        "thalweg resume RUN DATA",
        prepare=together(
            CUT,
            lambda: Path("runs/kinds/run.toml").write_text(
                re.sub("data = .*", 'data = "gone.csv"', Path("runs/kinds/run.toml").read_text())
            ),
        ),
    ),
    of_resume("no such data", "kinds nope.csv", "nope.csv does not exist", code=DATA),
    of_cut("a damaged checkpoint", f"checkpoints/{Path(RESUMED).name}/tensors.safetensors", flip,
           "holds no checkpoint that can be used", "step-00000002 cannot be used"),
    of_cut("half a checkpoint", f"checkpoints/{Path(RESUMED).name}/state.json", half,
           "holds no checkpoint that can be used", "state.json has"),
    of_cut("a checkpoint of another format", f"checkpoints/{Path(RESUMED).name}/MANIFEST.json",
           other_format, "it is of format 7", "reads format 2", "the version that wrote it"),
    of_cut("a record that is cut off", "record.sqlite", half, "record.sqlite", "not a record"),
    of_cut("a record that is gone", "record.sqlite", gone, "runs/kinds is not the folder of a run"),
    of_resume("a later record", "kinds", "record.sqlite", "version 99",
              prepare=together(CUT, other_record(99))),
    of_resume("an earlier record", "kinds", "record.sqlite", "version 1", "earlier thalweg",
              prepare=together(CUT, other_record(1))),
    of_resume("a run that still runs", "kinds", "is still being written by a run", "wait",
              prepare=together(CUT, locked)),
    of_resume("longer than a run that still runs", "kinds --epochs +1", "is still being written",
              prepare=locked),
    of_resume("longer than a damaged record", "kinds --epochs +1", CHANGED,
              prepare=damage("record.sqlite", flip)),
    of_resume("longer by an absolute number", "kinds --epochs 20", "epochs is '20'", "epochs +20",
              code=USAGE),
    of_resume("longer by words", "kinds --steps more", "steps is 'more'", "+500", code=USAGE),
    of_resume("longer by both", "kinds --steps +1 --epochs +1", "give one of them", code=USAGE),
    of_resume("a child of no step", "kinds --from-step 1", "step 1 of runs/kinds is not kept",
              "its checkpoints are of 2"),
    of_resume("a child of a word", "kinds --from-step x", "--from-step", '"x"', code=USAGE),
    of_resume("a child without a value", "kinds --set lr", "'lr' is not NAME=VALUE", code=USAGE),
    of_resume("a child with a wrong value", "kinds --set lr=fast", "lr is 'fast'", code=USAGE),
    of_resume("a child with an unknown setting", "kinds --set lrr=1", "did you mean 'lr'",
              code=USAGE),
    of_resume("a child with another target", "kinds --set target=size", "another target",
              code=USAGE),
    of_resume("a child set twice", "kinds --set lr=1 --set lr=2", "lr was given twice", code=USAGE),
    of_resume("a child of two meanings", "kinds --set epochs=+5", "two things", code=USAGE),
    of_resume("a child with nothing to do", "kinds --set lr=0.1", "nothing is left to do",
              "--from-step N"),
    of_resume("a name without a child", "kinds --name new", "names a child", code=USAGE),
    of_resume("a child of a name that exists", "kinds --set lr=0.1 --steps +2 --name prices",
              "runs/prices exists already", code=USAGE),
]  # fmt: skip

BAD = [*RESUMES, *FILES, *TARGETS, *OPTIONS, *COMMANDS, *TOMLS, *PLACES, *NEW_DATA, *RUNS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with good.csv, prices.csv and a run on each."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "good.csv").write_text(GOOD)
    (folder / "prices.csv").write_text(PRICES)
    for name, target in {"good": "kind", "prices": "price"}.items():
        words = f"fit {folder}/{name}.csv --target {target} --steps 2 --model mlp:8 --quiet"
        place = f"--out {folder}/runs --name {target}s"
        assert main(shlex.split(f"{words} {place}")) == 0
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, as the working directory."""
    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def content_of(folder: Path) -> dict[str, str]:
    """What lies below a folder: a hash of each file, and every folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_input_gets_one_line_and_leaves_nothing_behind(bad, place, capsys):
    bad.prepare()
    before = content_of(place)

    code = main(shlex.split(bad.words))

    out, err = capsys.readouterr()
    *progress, line = err.splitlines()
    assert code == bad.code, err
    assert out == ""
    assert line.startswith("thalweg: ")
    for part in bad.says:
        assert part in line, (part, line)
    assert len(progress) <= 2
    assert not any(other.startswith("thalweg: ") for other in progress)
    assert "Traceback" not in err
    assert content_of(place) == before


def test_every_row_of_the_table_has_a_name_of_its_own():
    names = [bad.name for bad in BAD]
    assert len(set(names)) == len(names)


def test_a_file_left_behind_would_be_noticed(place):
    before = content_of(place)
    Path("runs", "left").mkdir()
    assert content_of(place) != before


PROCESSES = [
    bad
    for bad in BAD
    if bad.name in ("--nosuch 1", "delete no run", "no such file", "a row too long")
]


@pytest.mark.parametrize("bad", PROCESSES, ids=str)
def test_the_same_from_a_real_process(bad, place):
    bad.prepare()
    words = [sys.executable, "-m", "thalweg", *shlex.split(bad.words)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == bad.code
    assert done.stdout == ""
    assert all(part in done.stderr.splitlines()[-1] for part in bad.says)
    assert "Traceback" not in done.stderr
    assert "\r" not in done.stderr


NOBODY = """
import contextlib, io, os, shutil, sys
from thalweg.cli.main import main
_, words, run = sys.argv
shutil.copytree(run, run + "-copy")
with contextlib.redirect_stdout(io.StringIO()):  # a first time with all rights, to import all
    main(words.replace(run, run + "-copy").split())
if os.getuid() == 0:
    os.setuid(65534)  # permissions do not bind root
os.chdir("/")
sys.exit(main(words.split()))
"""


@pytest.mark.parametrize(
    ("options", "prepare", "says"),
    [
        ("", CUT, "record.sqlite cannot be continued: Permission denied"),
        ("--epochs +1", lambda: None, "cannot be gone on with: Permission denied; copy it"),
    ],
    ids=["unfinished", "longer"],
)
def test_a_read_only_run_cannot_be_gone_on_with(options, prepare, says, place):
    prepare()
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is for its owner alone
        os.chmod(name, 0o755)
        run = shutil.copytree("runs/kinds", Path(name, "kinds"))
        shutil.copy("good.csv", name)
        run.chmod(0o555)
        before = content_of(run)
        words = f"resume {run} {name}/good.csv --quiet {options}"
        done = subprocess.run(
            [sys.executable, "-c", NOBODY, words, str(run)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=name,
        )
        assert content_of(run) == before
        run.chmod(0o755)
    assert (done.returncode, done.stdout) == (RUN, ""), done.stderr
    assert says in done.stderr.splitlines()[-1]


def test_a_full_disk_leaves_no_run_that_looks_whole(place):
    words = (
        "-m thalweg fit good.csv --target kind --steps 5 --model mlp:256,256 --quiet --name full"
    )
    done = subprocess.run(
        [sys.executable, *shlex.split(words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
    )
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith("thalweg: runs/full/")
    assert " be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("runs/full/run.manifest").exists()
    assert not Path("runs/full/model.safetensors").exists()


def test_a_report_does_not_bless_damage(place, capsys):
    damage("model.safetensors", flip)()
    assert main(["report", "kinds"]) == 0
    assert main(["predict", "kinds", "good.csv"]) == RUN
    assert CHANGED in capsys.readouterr().err


DAMAGES = [
    ("run.toml", torn),
    ("run.toml", lambda _: b""),
    ("run.toml", lambda _: b"settings = 3"),
    ("run.toml", lambda _: RUBBISH),
    ("verdict.json", half),
    ("verdict.json", lambda _: b"3"),
    ("verdict.json", gone),
]


@pytest.mark.parametrize(("file", "change"), DAMAGES)
def test_one_damaged_run_does_not_hide_the_others(file, change, place, capsys):
    damage(file, change)()
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = dict(line.split()[:2] for line in lines)
    assert states["kinds"] == "damaged"
    assert states["prices"] in ("improving", "stalled", "unknown")


def test_a_damaged_run_can_be_deleted(place, capsys):
    damage("run.toml", torn)()
    damage("record.sqlite", gone)()
    assert main(["runs", "delete", "kinds"]) == 0
    assert not Path("runs/kinds").exists()
    assert Path("runs/prices").exists()


def test_deleting_a_link_leaves_what_it_points_to(place, capsys):
    os.symlink("kinds", "runs/link")
    assert main(["runs", "delete", "link"]) == 0
    assert Path("runs/kinds/model.safetensors").exists()
    assert not os.path.lexists("runs/link")


@dataclass(frozen=True)
class Notice:
    """A column that is dropped, and what the notice says of it."""

    name: str
    values: tuple[str, ...]
    says: str

    def __str__(self) -> str:
        return self.name


def column(name: str, values: Callable[[int], str], says: str) -> Notice:
    return Notice(name, tuple(values(i) for i in range(300)), says)


NOTICES = [
    column("all missing", lambda i: "", "every value is missing"),
    column("all missing but for words for it", lambda i: "NA", "every value is missing"),
    column("all infinite", lambda i: "inf", "missing or infinite"),
    column("constant number", lambda i: "4", "constant: every value is 4"),
    column("constant text", lambda i: "x", "constant: every value is 'x'"),
    column("identifier", lambda i: f"user-{i}", "identifier-like: 240 distinct texts"),
    column("row number from 0", lambda i: f"{i}", "it counts the rows, 0, 1, ..."),
    column("row number from 1", lambda i: f"{i + 1}", "it counts the rows, 1, 2, ..."),
    column(
        "many texts among numbers",
        lambda i: f"{i}.5" if i % 9 else f"old {i}",
        "text, such as 'old 0'",
    ),
]


@pytest.mark.parametrize("notice", NOTICES, ids=str)
def test_a_useless_column_is_dropped_with_a_notice_and_the_fit_goes_on(
    notice, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i % 5},{value},{'ab'[i % 2]}" for i, value in enumerate(notice.values)]
    Path("data.csv").write_text("\n".join(["size,bad,kind", *rows]))

    assert main(shlex.split("fit data.csv --target kind --steps 2 --model linear")) == 0

    _, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "'bad' left out" in line]
    assert len(lines) == 1
    assert notice.says in lines[0]
    schema = tomllib.loads(Path("runs/data-1/schema.toml").read_text())
    assert [row["name"] for row in schema["columns"]] == ["size"]


def test_a_million_distinct_strings_are_dropped_with_a_notice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    count = 1_000_000
    names = pl.Series("who", np.arange(count)).cast(pl.String) + "-x"
    frame = pl.DataFrame({"size": np.arange(count) % 5, "who": names, "kind": np.arange(count) % 2})
    frame.write_parquet("data.parquet")

    words = "fit data.parquet --target kind --steps 2 --evaluate-every 9 --model linear --quiet"
    assert main([*words.split(), "--json"]) == 0
    assert "identifier-like: 800,000 distinct texts" in Path("runs/data-1/schema.toml").read_text()
