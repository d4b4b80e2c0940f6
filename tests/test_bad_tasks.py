"""Bad input to every kind of task: tables, splits, pictures, texts, functions of one's own.

A row of `REFUSED` is refused: one line on standard error that says what, where and what to do, and
the folder as it was before. A row of `TAKEN` is taken: what was done is said in one line, and the
run works. `test_bad_input` holds the rows of plain tables and of the command line itself.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from album import picture, write_album, write_table
from test_bad_input import content_of
from thalweg.cli.main import main
from thalweg.tasks.images import shelf

USAGE, DATA = 2, 4

Prepare = Callable[[], object]
HEAD = ("size", "weight", "colour", "kind")


def base(i: int) -> list[str]:
    return [f"{i % 7}.{i % 10}", f"{i * i % 11}", ("red", "green", "blue")[i % 3], "ab"[i % 2]]


def table(
    name: str = "d.csv",
    rows: int = 60,
    first: int = 0,
    last: str = "",
    **more: Callable[[int], Any],
) -> Prepare:
    """Rows of size, weight, colour and kind; more: columns by name; last: a row below them."""

    def apply() -> None:
        lines = [",".join([*HEAD, *more])]
        for i in range(first, first + rows):
            lines.append(",".join([*base(i), *(str(value(i)) for value in more.values())]))
        Path(name).write_text("\n".join([*lines, *([last] if last else [])]) + "\n")

    return apply


def all_of(*steps: Prepare) -> Prepare:
    def apply() -> None:
        for step in steps:
            step()

    return apply


def write(content: str | bytes, name: str) -> Prepare:
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda: Path(name).write_bytes(raw)


def chosen(name: str, *columns: str, rows: int = 20, last: str = "") -> Prepare:
    """A file with these columns of the table, in this order."""

    def apply() -> None:
        places = [HEAD.index(column) for column in columns]
        lines = [",".join(columns)]
        lines += [",".join(base(i)[place] for place in places) for i in range(70, 70 + rows)]
        Path(name).write_text("\n".join([*lines, *([last] if last else [])]) + "\n")

    return apply


GOOD = table()


@dataclass(frozen=True)
class Case:
    """says: parts of its line, or of the notice; then: a command that must work afterwards."""

    name: str
    words: str
    code: int
    says: tuple[str, ...]
    prepare: Prepare = GOOD
    then: str = ""

    def __str__(self) -> str:
        return self.name


FIT = "fit d.csv --target kind --steps 2 --model linear"
NUMBERS = "fit d.csv --target size --steps 2 --model linear"


def refused(
    name: str,
    options: str,
    *says: str,
    code: int = DATA,
    prepare: Prepare = GOOD,
    fit: str = FIT,
) -> Case:
    return Case(name, f"{fit} {options}", code, says, prepare)


def wrong(options: str, *says: str, fit: str = FIT, prepare: Prepare = GOOD) -> Case:
    """A wish that cannot be."""
    return Case(f"{fit.partition('--steps')[0]}{options}", f"{fit} {options}", USAGE, says, prepare)


def taken(name: str, words: str, *says: str, prepare: Prepare = GOOD, then: str = "") -> Case:
    return Case(name, words, 0, says, prepare, then)


# tables

DAYS = 90_100


def day(i: int) -> str:
    return f"{2000 + i // 360 % 20:04d}-{i // 30 % 12 + 1:02d}-{i % 28 + 1:02d}"


def dates(bad: str, *rows: int, count: int = 200) -> Prepare:
    """A column of dates in which some rows, from 1, hold something else."""

    def apply() -> None:
        lines = [
            f"{bad if i in rows else day(i)},{i * 7 % 13},{'ab'[i % 2]}"
            for i in range(1, count + 1)
        ]
        Path("d.csv").write_text("\n".join(["when,size,kind", *lines]) + "\n")

    return apply


def no_date(name: str, bad: str, row: int, options: str = "", count: int = 200) -> Case:
    says = ("d.csv", f"row {row:,}", "'when'", repr(bad), "no date", "mend that row")
    return refused(name, options, *says, prepare=dates(bad, row, count=count))


def typo() -> None:
    """A class that is seen once."""
    table(last="1,2,red,aa")()


TABLES = [
    no_date("a date that is none in row 90,000", "2004-13-45", 90_000, count=DAYS),
    no_date("a word for a date in row 90,000", "soon", 90_000, "--types when=date", count=DAYS),
    no_date("a date that is none at the end", "soon", 200),
    no_date("a date that is none in the middle", "31.02.2004", 100),
    no_date("of a declared format", "01/02/2004", 7, "--types when=date:%Y-%m-%d"),
    refused("text declared a number", "--types colour=number", "d.csv", "'colour'", "'red'",
            "row 1", "--types colour=mixed"),
    refused("one text declared a number", "--types x=number", "'x'", "'n/k'", "row 51",
            prepare=table(x=lambda i: "n/k" if i == 50 else i / 3)),
    refused("text declared a date", "--types colour=date", "'colour'", "'red'", "date:%d.%m.%Y"),
    refused("three words declared a boolean", "--types colour=boolean", "'colour'", "3",
            "'red', 'green', 'blue'", "--types colour=category"),
    refused("words declared pictures", "--types colour=image", "d.csv", "'colour'", "red",
            "does not exist"),
    refused("a type for no column", "--types colur=category", "'colur'", "did you mean 'colour'"),
    wrong("--types colour=catgory", "colour=catgory", "did you mean 'category'"),
    wrong("--types colour", "'colour'", "COLUMN=KIND"),
    wrong("--types size=number,size=category", "'size'", "twice"),
    wrong("--types kind=number", "'kind'", "target"),
    wrong("--schema my.toml", "my.toml", "No such file"),
    wrong("--schema d.csv", "d.csv", "not TOML", "line 1"),
    *(
        wrong(f"--schema my.toml # {what}", *says, prepare=all_of(table(), write(text, "my.toml")))
        for what, text, says in (
            ("kind", '[[columns]]\nname = "size"\nkind = "numbre"\n', ("'size'", "'number'")),
            ("column", '[[columns]]\nname = "sise"\nkind = "number"\n', ("'sise'", "'size'")),
            ("key", '[[columns]]\nname = "size"\nkind = "number"\nfoo = 3\n', ("'size'", "'foo'")),
            ("target", '[[columns]]\nname = "kind"\nkind = "number"\n', ("'kind'", "target")),
        )
    ),
    refused("only blanks in the target", "--target t", "'t'", "missing", "row 1", "remove",
            prepare=table(t=lambda i: ""), fit="fit d.csv --steps 2"),
    refused("words among several targets", "", "'kind'", "'a'", "each one is a number",
            fit="fit d.csv --target size,kind --steps 2"),
    refused("labels of numbers", "--separator ';'", "'size'", "numbers", "leave --separator out",
            fit=NUMBERS),
]  # fmt: skip

# splits, files of their own, weights

CONSTANT = table(g=lambda i: "x", t=lambda i: "2004-01-01", w=lambda i: 0)


def gaps(i: int) -> str:
    return "" if i in (7, 9) else f"2004-01-{i % 28 + 1:02d}"


def weights(name: str, value: Callable[[int], Any], *says: str) -> Case:
    return refused(name, "--weights w", "d.csv", "'w'", *says, prepare=table(w=value))


def at(row: int, value: Any) -> Callable[[int], Any]:
    """1 for every row but one, counted from 1."""
    return lambda i: value if i == row - 1 else 1


def held(
    name: str, prepare: Prepare, *says: str, options: str = "", part: str = "validation"
) -> Case:
    """A file of its own that does not fit; the line names it."""
    return refused(name, f"--{part} v.csv {options}", "v.csv", *says,
                   prepare=all_of(table(), prepare))  # fmt: skip


V = chosen("v.csv", *HEAD)

SPLITS = [
    refused("a time split on words", "--split time:colour", "'colour'", "'red'", "row 1", "no time",
            "2024-01-31"),
    refused("a time split on dates of which one is none", "--split time:when", "'soon'", "row 90",
            prepare=dates("soon", 90)),
    refused("a time split with a gap", "--split time:t", "'t'", "missing", "row 8",
            prepare=table(t=gaps)),
    refused("a time split on one moment", "--split time:t", "'t'", "1 distinct time",
            prepare=CONSTANT),
    refused("a time split on no column", "--split time:nope", "'nope'", "its columns are"),
    refused("one group", "--split group:g", "'g'", "1 group", "'x': 60 rows", "at least 3 groups",
            prepare=CONSTANT),
    refused("two groups", "--split group:kind", "'kind'", "2 groups", "at least 3"),
    refused("groups with gaps", "--split group:g", "'g'", "3 rows", "row 1", "name their group",
            prepare=table(g=lambda i: "" if i < 3 else i // 4)),
    wrong("--split time", "names no column", "time:COL"),
    wrong("--split gruop:colour", "'gruop:colour'", "group:COL"),
    wrong("--split stratified:kind", "takes no column"),
    wrong("--folds 1", "folds is 1", "2 or more"),
    refused("more folds than rows", "--folds 61", "60 rows", "61 folds"),
    wrong("--folds 2 --fold 3", "fold is 3", "1 .. 2"),
    wrong("--validation-share 0", "validation-share is 0.0", "larger than 0"),
    wrong("--validation-share 1", "validation 1", "nothing is left to train on"),
    wrong("--validation-share 1.5", "validation 1.5", "nothing is left to train on"),
    wrong("--validation-share nan", "validation-share is nan"),
    held("validation without a column", chosen("v.csv", "size", "colour", "kind"), "'weight'",
         "its columns are size, colour, kind"),
    held("validation with a column in other letters",
         all_of(V, lambda: Path("v.csv").write_text(Path("v.csv").read_text().replace("we", "We"))),
         "'weight'", "rename 'Weight'"),
    held("validation without the target", chosen("v.csv", "size", "weight", "colour"), "'kind'"),
    held("validation with a class that is new", chosen("v.csv", *HEAD, last="1,2,red,z"), "'z'",
         "row 21", "mend"),
    held("validation with a gap in the target", chosen("v.csv", *HEAD, last="1,2,red,"), "row 21"),
    held("validation with a word for a number", chosen("v.csv", *HEAD, last="big,2,red,a"),
         "row 21", "'size'", "'big'", "mend"),
    held("validation without rows", chosen("v.csv", *HEAD, rows=0), "no rows"),
    held("empty validation", write("", "v.csv"), "is empty"),
    held("validation that is not there", lambda: None, "does not exist"),
    held("a date that is none in the validation file",
         all_of(table(when=day), table("v.csv", 20, when=lambda i: "soon" if i == 9 else day(i))),
         "'when'", "'soon'", "row 10"),
    held("validation that weighs nothing", all_of(table(w=at(1, 2)), table("v.csv", w=lambda i: 0)),
         "'w'", "every row is 0", options="--weights w"),
    held("a test file without a column", chosen("v.csv", "size", "kind"), "2 columns", "'weight'",
         part="test"),
    weights("a negative weight", at(6, -1), "row 6", "-1", "0 or more", "mend or remove"),
    weights("a missing weight", at(6, ""), "missing", "row 6"),
    weights("NaN as a weight", at(6, "NaN"), "missing", "row 6"),
    weights("an infinite weight", at(6, "inf"), "row 6", "inf", "finite"),
    weights("a word as a weight", at(6, "big"), "'big'", "row 6"),
    weights("weights that are too large", lambda i: 1e300, "1e+300", "row 1", "1e+30"),
    weights("weights that are too small", lambda i: 1e-320, "row 1", "1e-30"),
    weights("all weights 0", lambda i: 0, "every row is 0", "nothing would be learnt"),
    weights("weights of a part all 0", lambda i: int(i < 6), "every row to", "another seed"),
    refused("weights that are no column", "--weights nope", "'nope'", "its columns are"),
    wrong("--weights kind", "'kind'", "target"),
    wrong("--weights weight --drop weight", "'weight'", "leave it out of --drop"),
]  # fmt: skip

# losses, metrics, settings

TERMS = [
    wrong("--class-weights balanced", "class-weights has no effect", "no classes", fit=NUMBERS),
    wrong("--class-weights z=2", "'z'", "a, b"),
    wrong("--class-weights a=-2", "'a' is -2.0", "above 0"),
    wrong("--label-smoothing 0.1", "label-smoothing", "mse", "cross_entropy and bce", fit=NUMBERS),
    wrong("--label-smoothing 1", "label-smoothing is 1", "below 1"),
    wrong("--quantiles 0,1", "'0,1'", "0.1,0.5,0.9", fit=NUMBERS),
    wrong("--quantiles 0.1,1.5", "'0.1,1.5'", "0.1,0.5,0.9", fit=NUMBERS),
    wrong("--quantiles 0.5,0.5", "twice", fit=NUMBERS),
    wrong("--quantiles 0.1,0.9", "quantile", "for numbers"),
    wrong("--metric rmse", "'rmse'", "the target holds classes", "accuracy"),
    wrong("--metric auc", "'auc'", "the target holds numbers", "rmse", fit=NUMBERS),
    wrong("--metric acuracy", "'acuracy'", "accuracy"),
    wrong("--loss mse", "'mse'", "cross_entropy"),
    wrong("--loss focal:gamma=-1", "gamma is '-1'", "larger than 0"),
    wrong("--loss bce", "bce", "has 3", "cross_entropy", fit="fit d.csv --target colour --steps 2"),
    refused("counts below 0", "--loss poisson", "row 2", "-4.66667", "such as mse",
            fit="fit d.csv --target y --steps 2", prepare=table(y=lambda i: i / 3 - 5)),
    refused("counts below 0 to validate", "--loss poisson --validation v.csv", "v.csv, row 2", "-2",
            fit="fit d.csv --target y --steps 2",
            prepare=all_of(table(y=lambda i: i / 3), table("v.csv", y=at(2, -2)))),
    wrong("--layer-decay 0", "layer-decay is 0.0", "larger than 0"),
    wrong("--layer-decay 2", "layer-decay is 2", "between 0 and 1"),
    wrong("--layer-decay nan", "layer-decay is nan"),
    wrong("--freeze encoder.*", "'encoder.*'", "matches no parameter", "weight, bias"),
    wrong("--freeze *", "all 2 parameters", "nothing is left to train"),
]  # fmt: skip

# pictures

PICTURES = "fit data --steps 2 --model conv:8"


def raw(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def album(**files: bytes) -> Prepare:
    """30 pictures of each of two classes, and these in one of them; a name ends in _SUFFIX."""

    def apply() -> None:
        write_album(Path("data"))
        for name, content in files.items():
            Path("data", "dark", name.replace("_", ".")).write_bytes(content)

    return apply


def every(content: bytes) -> Prepare:
    """Every picture is this instead."""

    def apply() -> None:
        write_album(Path("data"))
        for path in Path("data").rglob("*.png"):
            path.write_bytes(content)

    return apply


def linked() -> None:
    """Links that lead back to where they stand."""
    write_album(Path("data"))
    os.symlink("..", "data/dark/up")
    os.symlink("self", "data/self")
    os.symlink("z.png", "data/dark/z.png")


def piped() -> None:
    write_album(Path("data"))
    os.mkfifo("data/dark/z.png")


def broken_held() -> None:
    write_album(Path("data"))
    write_album(Path("v"), count=5, first=90)
    for path in Path("v").rglob("*.png"):
        path.write_bytes(b"")


def emptied(classes: tuple[str, ...]) -> Prepare:
    def apply() -> None:
        write_album(Path("data"), classes=classes)
        Path("data/none").mkdir()

    return apply


def named(old: str, new: str) -> Prepare:
    """A table of pictures in which something else stands."""

    def apply() -> None:
        path = write_table(Path("t.csv"), "pictures")
        path.write_text(path.read_text().replace(old, new))

    return apply


OF_TABLE = "fit t.csv --target label --steps 2 --model conv:8"
PNG, JPEG = raw(picture(1, 500)), raw(picture(1, 501, side=64, mode="RGB"), "JPEG")


def picture_refused(name: str, prepare: Prepare, *says: str, words: str = PICTURES) -> Case:
    return Case(name, words, DATA, says, prepare)


def picture_taken(name: str, content: bytes, *says: str, suffix: str = "png") -> Case:
    more = album(**{f"z_{suffix}": content})
    return taken(name, PICTURES, *says, prepare=more, then="evaluate last data")


ALBUMS = [
    picture_refused("every picture empty", every(b""), "data", "none of 60", "000.png", "0 bytes"),
    picture_refused("every picture a text", every(b"hello"), "no picture", "b'hello'", "replace"),
    picture_refused("every picture cut short", every(JPEG[:22]), "begins as a JPEG", "cut short"),
    picture_refused("too many empty", album(**{f"z{i}_png": b"" for i in range(9)}), "9 of 69",
                    "5%", "z0.png", "mend or remove"),
    picture_refused("one class", emptied(("only",)), "only one value", "'only'", "for each class"),
    picture_refused("no class", lambda: Path("data/a").mkdir(parents=True), "'a'", "each class"),
    picture_refused("few pictures", lambda: write_album(Path("data"), count=4), "8 rows", "10"),
    picture_refused("empty pictures to validate", broken_held, "validation", "10 of 10",
                    words=f"{PICTURES} --validation v"),
    picture_refused("no pictures to validate", album(), "validation v", "for each class",
                    words=f"{PICTURES} --validation v"),
    picture_refused("a gap in a column of pictures", named("pictures/dark/003.png", ""), "t.csv",
                    "'photo'", "row 8", words=OF_TABLE),
    picture_refused("pictures that are not there", named("pictures/dark", "nowhere"), "t.csv",
                    "'photo'", "30 of 60", "does not exist",
                    words=f"{OF_TABLE} --types photo=image"),
]  # fmt: skip

ALBUMS_TAKEN = [
    picture_taken("a 0-byte picture", b"", "1 of 61", "left out", "z.png", "0 bytes"),
    picture_taken("a text named .png", b"hello", "1 of 61", "z.png", "no picture", "b'hello'"),
    picture_taken("a truncated PNG", PNG[:-40], "1 of 61", "z.png", "truncated"),
    picture_taken("a truncated JPEG", JPEG[:-300], "z.jpg", "truncated", suffix="jpg"),
    picture_taken("half a head", PNG[:20], "1 of 61", "z.png", "cannot be decoded"),
    picture_taken("CMYK", raw(Image.new("CMYK", (10, 10), (0, 9, 9, 90)), "JPEG"), "1 of 61",
                  "CMYK", "red, green and blue", suffix="jpg"),
    picture_taken("16 bits", raw(Image.fromarray(np.full((10, 10), 30_000, np.uint16))), "1 of 61",
                  "more than 8 bits"),
    picture_taken("a moving GIF", raw(picture(1, 1), "GIF", save_all=True,
                                      append_images=[picture(1, 2)]),
                  "1 of 61", "move", "the first picture", suffix="gif"),
    picture_taken("grey with alpha", raw(Image.new("LA", (10, 10), (7, 30))), "grey, 10x10"),
    picture_taken("a palette", raw(picture(1, 1, mode="RGB").quantize(8)), "colour", "are grey"),
    picture_taken("one pixel", raw(Image.new("L", (1, 1), 7)), "their middle is 10x10"),
    picture_taken("20,000 pixels in a row", raw(Image.new("L", (20_000, 1))), "middle is 10x10"),
    picture_taken("a drawing", b"<svg/>", "no picture by name", "z.svg", suffix="svg"),
    taken("links that lead back", PICTURES, "1 of 61", "z.png", "symbolic links", prepare=linked),
    taken("a pipe named .png", PICTURES, "1 of 61", "z.png", "a pipe", prepare=piped),
    taken("an empty folder of three", PICTURES, "1 folder", "no class", "none",
          prepare=emptied(("a", "b"))),
    taken("a picture that is not there", OF_TABLE, "1 of 60", "nope.png", "does not exist",
          prepare=named("pictures/dark/003.png", "pictures/dark/nope.png")),
]  # fmt: skip

# texts

LANGUAGE = "fit e.txt --task lm --steps 2 --model transformer:16x1 --context 16"
TEXT = "fit d.csv --target kind --steps 2"
PROSE = "".join(f"the {('cat', 'dog')[i % 2]} sat on {i}. " for i in range(200))


SPOILT_PROSE = write(PROSE.encode() + b"\0\xfc\xff \0" + PROSE.encode(), "e.txt")


def spoilt() -> None:
    """Row 7 holds a byte that is no UTF-8, row 9 a NUL."""
    table(t=lambda i: f"grüße {i % 5}")()
    lines = Path("d.csv").read_bytes().split(b"\n")
    lines[7] = lines[7].replace("ü".encode(), b"\xfc")
    lines[9] = lines[9].replace(b"gr", b"g\0r")
    Path("d.csv").write_bytes(b"\n".join(lines))


def plain(name: str, content: str | bytes, *says: str, words: str = LANGUAGE) -> Case:
    return Case(name, words, DATA, ("e.txt", *says), write(content, "e.txt"))


TEXTS = [
    plain("an empty text", b"", "is empty"),
    plain("a text of blanks", " \n" * 500, "is empty"),
    plain("a text shorter than a context", "hello world", "too short", "give a longer text"),
    plain("a context longer than the text", PROSE, "too short", "smaller context",
          words=LANGUAGE.replace("16", "9999")),
    Case("a short text to validate", f"{LANGUAGE} --validation v.txt", DATA,
         ("validation v.txt", "3 bytes"), all_of(write(PROSE, "e.txt"), write("abc", "v.txt"))),
    Case("a short text to score", "evaluate runs/spoken v.txt", DATA, ("v.txt", "2 bytes"),
         write("ab", "v.txt")),
    wrong("--target x", "target has no effect", "--task lm", fit=LANGUAGE,
          prepare=write(PROSE, "e.txt")),
    Case("a prompt to a table's model", "predict runs/kinds --prompt hello", USAGE,
         ("a prompt is for a language model", "classification", "give it rows")),
    Case("a prompt beside data", "predict runs/spoken d.csv --prompt a", USAGE,
         ("data and --prompt", "both")),
    Case("rows for a language model", "predict runs/spoken d.csv", USAGE, ("give it a prompt",)),
    Case("a prompt, colder than cold", "predict runs/spoken --prompt a --temperature -1", USAGE,
         ("temperature is -1", "0")),
    refused("a column of no texts", "--text t", "every text of 't' is empty", fit=TEXT,
            prepare=table(t=lambda i: "")),
    refused("a column of one text", "--text t", "every text of 't' is 'hello'", fit=TEXT,
            prepare=table(t=lambda i: "hello")),
    refused("texts that are no column", "--text nope", "'nope'", "its columns are", fit=TEXT),
    wrong("--text kind", "text and target are both 'kind'", fit=TEXT),
    wrong("--text colour --context 0", "context is 0", "8 .. 65,536", fit=TEXT),
    wrong("--context 9", "context is 9", "--text COL"),
]  # fmt: skip

TEXTS_TAKEN = [
    taken("NULs and broken UTF-8 in texts", f"{TEXT} --text t", "2 texts", "NULs", "no UTF-8",
          "row 7", "read as", prepare=spoilt, then="evaluate last d.csv"),
    taken("NULs in a table", FIT, "1 NUL byte", "line 10", "read as", prepare=spoilt),
    taken("broken UTF-8 in a table", FIT, "but for 1 place", "line 8", "read as", prepare=spoilt),
    taken("broken UTF-8 in a plain text", LANGUAGE, "2 places", "no UTF-8", prepare=SPOILT_PROSE,
          then="evaluate last e.txt"),
    taken("NULs in a plain text", LANGUAGE, "2 NUL bytes", prepare=SPOILT_PROSE,
          then="predict last --prompt a --length 9"),
    taken("numbers as texts", f"{TEXT} --text size", "'size' holds numbers", "read as texts"),
]  # fmt: skip

# functions of one's own

MINE = """
import torch, thalweg
from torch import nn
from torch.nn.functional import cross_entropy

class Net(nn.Module):
    def __init__(self, width, end):
        super().__init__()
        self.layer, self.end = nn.LazyLinear(width), end
    def forward(self, x):
        return self.end(self.layer(x))

def wide(): return Net(3, lambda x: x)
def short(): return Net(2, lambda x: x[:-1])
def deep(): return Net(2, lambda x: x[:, None])
def pair(): return Net(2, lambda x: (x, 1))
def whole(): return Net(2, lambda x: x.long())
def cut(): return Net(2, lambda x: x.detach())
def narrow(): return nn.Linear(99, 2)
def nothing(): return 3

def each_output(outputs, targets): return outputs
def some(outputs, targets): return cross_entropy(outputs, targets, reduction="none")[:3]
def number(outputs, targets): return 1.0
def counted(outputs, targets): return (outputs.argmax(1) == targets).float().mean()
def raising(outputs, targets): return outputs[:, 0] * targets[:3]

def answers(targets, answers): return answers
def words(targets, answers): return "good"
def failing(targets, answers): return answers[99, 0]
def unknown(targets, answers): return float("nan")

X, Y = torch.randn(100, 4), torch.randn(100)
def error(model, batch): return (model(batch[0]).squeeze(1) - batch[1]) ** 2
def of(loss): return thalweg.Task(nn.Linear(4, 1), (X, Y), batch_loss=loss)
def task_rows(): return of(error)
def task_named(): return of(lambda m, b: {"a": error(m, b).mean(), "b": error(m, b)})
def task_none(): return of(lambda m, b: None)
def task_cut(): return of(lambda m, b: error(m, b).mean().detach())
def task_raising(): return of(lambda m, b: 1 / 0)
def task_good(): return of(lambda m, b: error(m, b).mean())
def task_model(): return thalweg.Task(nn.Linear(5, 1), (X, Y), loss="mse")
def task_loss(): return thalweg.Task(nn.Linear(4, 1), (X, Y), loss=lambda o, t: o)
def task_lengths(): return thalweg.Task(nn.Linear(4, 1), (X, Y[:50]), loss="mse")
def task_nothing(): return None
"""


def own(setting: str, function: str, *says: str) -> Case:
    """A function that does not give what it must; the line names it, and the shapes."""
    fit = "fit d.csv --target kind --steps 2"
    return wrong(f"--{setting} mine:{function}", f"mine:{function}", *says, fit=fit,
                 prepare=all_of(table(), write(MINE, "mine.py")))  # fmt: skip


def own_task(function: str, *says: str, options: str = "") -> Case:
    prepare = write(MINE, "mine.py")
    return wrong(options, *says, fit=f"fit mine:{function} --steps 2", prepare=prepare)


OWN = [
    own("model", "wide", "(2, 3)", "(2, 6)", "2 classes need (2, 2)"),
    own("model", "short", "(1, 2)", "(2, 6)", "2 classes need (2, 2)"),
    own("model", "deep", "(2, 1, 2)", "2 classes need (2, 2)"),
    own("model", "pair", "a tuple", "2 classes need (2, 2)"),
    own("model", "whole", "torch.int64", "float32"),
    own("model", "cut", "without a gradient", "detach"),
    own("model", "narrow", "(2, 6)", "2x6 and 99x2"),
    own("model", "nothing", "returned 3", "nn.Module"),
    own("model", "wid", "holds nothing of that name", "'wide'"),
    own("loss", "each_output", "(6, 2)", "(6,)", "must be the mean loss, (), or each row's, (6,)"),
    own("loss", "some", "(3,)", "(6, 2)", "(6,)"),
    own("loss", "number", "a float", "a tensor"),
    own("loss", "counted", "without a gradient", "argmax"),
    own("loss", "raising", "(6, 2)", "(6,)", "RuntimeError"),
    own("metric", "answers", "(6, 2)", "(6,)", "one number"),
    own("metric", "words", "str", "one number"),
    own("metric", "failing", "(6, 2)", "IndexError"),
    own("metric", "unknown", "NaN", "must return a number"),
    own_task("task_rows", "error", "(10,)", "of shape ()"),
    own_task("task_named", "'b'", "(10,)", "of shape ()"),
    own_task("task_none", "NoneType", "of shape ()"),
    own_task("task_cut", "without a gradient"),
    own_task("task_raising", "ZeroDivisionError"),
    own_task("task_model", "10x4 and 5x1"),
    own_task("task_loss", "(10, 1)", "(10,)"),
    own_task("task_lengths", "100 inputs but 50 targets"),
    own_task("task_nothing", "mine:task_nothing", "NoneType", "thalweg.Task"),
    own_task("task_good", "'nope'", "matches no parameter", options="--freeze nope"),
    own_task("task_good", "target has no effect", options="--target nope"),
    wrong("--loss nomod:x", "nomod.py", "in the current folder"),
]  # fmt: skip

# weights to begin with

WEIGHTS = Path("runs/kinds/model.safetensors")
NET = "fit d.csv --target kind --steps 2 --model mlp:8"
OTHER = write("a,kind\n" + "1,a\n2,b\n" * 20, "x.csv")


def begun(name: str, make: Prepare, *says: str) -> Case:
    """A file of weights that cannot be begun with; the line names it."""
    more = ("w.safetensors", *says)
    return refused(name, "--init w.safetensors", *more, prepare=all_of(table(), make), fit=NET)


def saved(change: Callable[[torch.Tensor], torch.Tensor]) -> Prepare:
    def apply() -> None:
        kept = {name: change(value) for name, value in load_file(WEIGHTS).items()}
        save_file(kept, "w.safetensors")

    return apply


INITS = [
    begun("no file to begin with", lambda: None, "does not exist"),
    begun("a table to begin with", table("w.safetensors"), "no safetensors file", "save_model"),
    begun("an empty file to begin with", write(b"", "w.safetensors"), "no safetensors file"),
    begun("truncated weights to begin with",
          lambda: Path("w.safetensors").write_bytes(WEIGHTS.read_bytes()[:-20]), "no safetensors"),
    begun("a pickle to begin with", lambda: torch.save({"a": torch.ones(3)}, "w.safetensors"),
          "no safetensors file"),
    begun("weights of other names", lambda: save_file({"foo": torch.ones(3)}, "w.safetensors"),
          "no tensor of this model", "foo", "0.weight"),
    begun("weights of other shapes", saved(lambda value: torch.ones(3)), "no tensor", "shape"),
    begun("weights that are NaN", saved(lambda value: value * torch.nan), "0.weight", "not finite"),
    begun("no weights at all", lambda: save_file({}, "w.safetensors"), "it has none"),
    refused("a folder to begin with", "--init runs", "runs is a folder", "safetensors", fit=NET),
    refused("a run of other columns", "--init runs/kinds", "x.csv", "'size'", "runs/kinds",
            fit="fit x.csv --target kind --steps 2", prepare=OTHER),
    refused("the old task's data are gone", "--init runs/kinds --forgetting nope.csv", "nope.csv",
            "does not exist", fit="fit d.csv --target kind --steps 2"),
    refused("the old task's data are others", "--init runs/kinds --forgetting x.csv", "x.csv",
            "'size'", "trained on", fit="fit d.csv --target kind --steps 2",
            prepare=all_of(table(), OTHER)),
    wrong("--forgetting d.csv", "without --init"),
]  # fmt: skip


def new(name: str, content: str, *says: str, code: int = DATA) -> Case:
    """Rows to predict."""
    return Case(name, "predict runs/kinds x.csv", code, says, write(content, "x.csv"))


PREDICTED = [
    new("new rows without a column", "size,colour\n1,red\n", "x.csv", "'weight'", "trained on",
        "its columns are size, colour"),
    new("an empty file of new rows", "", "x.csv", "is empty"),
    new("new rows of other letters", "size,Weight,colour\n1,2,red\n", "rename 'Weight'"),
    new("a word among new numbers", "size,weight,colour\nbig,2,red\n", "row 1", "'big'", "mend"),
]  # fmt: skip

DRIFTED = "size,weight,colour\n" + "1000,2,mauve\n2000,3,red\n" * 10

TABLES_TAKEN = [
    taken("missing dates", FIT, "1 column of dates", prepare=dates("", 3, 5, 7),
          then="evaluate last d.csv"),
    taken("a category with a value for each row", FIT, "'who' left out", "240 distinct texts",
          prepare=table(rows=300, who=lambda i: f"name {i}x"), then="evaluate last d.csv"),
    taken("such a category, declared one", f"{FIT} --types who=category", "who (64)",
          prepare=table(rows=300, who=lambda i: f"name {i}x"), then="evaluate last d.csv"),
    taken("a class of one row, a typo", FIT, "'aa'", "one row (61)", "is it 'a'?", prepare=typo,
          then="evaluate last d.csv"),
    taken("such a class that cannot be learnt", f"{FIT} --split random --seed 3", "'aa'", "one row",
          prepare=typo),
    taken("validation without a column that is left out", f"{FIT} --validation v.csv --drop weight",
          "20 validation", prepare=all_of(table(), chosen("v.csv", "kind", "colour", "size"))),
    taken("validation without columns that nobody asked for",
          f"{FIT} --validation v.csv --columns size,weight", "20 validation",
          prepare=all_of(table(), chosen("v.csv", "weight", "kind", "size"))),
    taken("validation in another order of columns", f"{FIT} --validation v.csv", "20 validation",
          prepare=all_of(table(), chosen("v.csv", "kind", "colour", "weight", "size")),
          then="evaluate last v.csv"),
    taken("some weights 0", f"{FIT} --weights w", "weigh 0 and are left out",
          prepare=table(w=lambda i: i % 2), then="evaluate last d.csv"),
    taken("groups of unlike sizes", f"{FIT} --split group:g", "groups stay together", "10.0%",
          prepare=table(g=lambda i: "x" if i < 56 else i)),
    taken("an infinite value", FIT, "'v': 1 infinite value counts as missing",
          prepare=table(v=lambda i: "inf" if i == 7 else i % 5 + 0.5), then="evaluate last d.csv"),
    taken("quantiles out of order", f"{NUMBERS} --quantiles 0.9,0.1", "0.1, 0.5, 0.9"),
    taken("one quantile", f"{NUMBERS} --quantiles 0.5", "the quantiles 0.5",
          then="predict last d.csv"),
    taken("labels that nothing parts", f"{FIT} --separator ';'", "';' stands in no row"),
    taken("a column declared a text", f"{FIT} --types colour=text", "--text colour", "free text"),
    taken("weights of another width", "fit d.csv --target kind --steps 2 --model mlp:9 --init w",
          "0.weight", "another shape", "begin anew", prepare=all_of(
              table(), lambda: shutil.copy(WEIGHTS, "w"))),
    taken("new rows that have drifted: numbers", "predict runs/kinds x.csv", "'size'", "100.0%",
          "0 .. 6.7", "from 1000 to 2000", prepare=write(DRIFTED, "x.csv")),
    taken("new rows that have drifted: words", "predict runs/kinds x.csv", "'colour'", "50.0%",
          "'mauve'", prepare=write(DRIFTED, "x.csv")),
    taken("new rows that hold nothing", "predict runs/kinds x.csv", "'size'", "100.0%", "missing",
          prepare=write("size,weight,colour\n,,\n", "x.csv")),
]  # fmt: skip

REFUSED = [*TABLES, *SPLITS, *TERMS, *ALBUMS, *TEXTS, *OWN, *INITS, *PREDICTED]
TAKEN = [*TABLES_TAKEN, *ALBUMS_TAKEN, *TEXTS_TAKEN]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run on a table and a language model."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        all_of(table(), write(PROSE, "e.txt"))()
        runs = {"kinds": NET, "spoken": LANGUAGE}
        for name, words in runs.items():
            assert main(shlex.split(f"{words} --quiet --name {name}")) == 0
        Path("d.csv").unlink()
        Path("e.txt").unlink()
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Path:
    """The working folder; `runs` stands in it, and the cache of pictures beside it."""
    shutil.copytree(trained, tmp_path / "here")
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(shelf, "folder", lambda name: tmp_path / "cache")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_it_is_refused_in_one_line_and_nothing_is_left_behind(case, place, capsys):
    case.prepare()
    if "runs" not in case.words:
        shutil.rmtree("runs")  # and must not come back, be it empty
    before = content_of(place)

    code = main(shlex.split(case.words, comments=True))

    out, err = capsys.readouterr()
    *progress, line = err.splitlines()
    assert code == case.code, err
    assert out == ""
    assert line.startswith("thalweg: ")
    for part in case.says:
        assert part in line, (part, line)
    assert len(progress) <= 2
    assert not any(other.startswith("thalweg: ") for other in progress)
    assert "Traceback" not in err
    assert drop_compiled(content_of(place)) == before


def drop_compiled(content: dict[str, str]) -> dict[str, str]:
    """Without what Python writes where it imports a file."""
    return {path: value for path, value in content.items() if "__pycache__" not in path}


@pytest.mark.filterwarnings("default::UserWarning")  # which the command line prints
@pytest.mark.parametrize("case", TAKEN, ids=str)
def test_it_is_taken_with_a_notice_and_the_run_works(case, place, capsys):
    case.prepare()

    code = main(shlex.split(case.words))

    _, err = capsys.readouterr()
    assert code == 0, err
    assert "Traceback" not in err
    found = [line for line in err.splitlines() if all(part in line for part in case.says)]
    assert len(found) == 1, (case.says, err)
    if case.words.startswith("fit"):
        (run,) = [path for path in Path("runs").iterdir() if path.name not in ("kinds", "spoken")]
        assert (run / "run.manifest").exists()
    if case.then:
        assert main(shlex.split(case.then)) == 0, capsys.readouterr().err


def test_every_row_has_a_name_of_its_own():
    names = [case.name for case in (*REFUSED, *TAKEN)]
    assert len(set(names)) == len(names)
