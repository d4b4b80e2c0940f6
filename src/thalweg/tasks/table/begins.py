"""How a delimited text begins: what parts its fields, lines of comment, and a header or none."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

TAB, COMMENT = "\t", "#"
DELIMITERS = {";": "';'", TAB: "tabs", "|": "'|'", ",": "','"}
"""What may part fields, and its name. Where two fit alike, the first is meant: a comma stands in
texts and numbers too.
"""

IN_COMMENT = "a header in a line of comment"

_JUDGED_ROWS = 200
_SEP = "sep="
"""Excel's own first line, which names the delimiter."""

_UNKNOWN = ("", "?", "NA", "NaN", "nan", "null")
_AROUND, _BETWEEN = re.compile(rb"[ \t]*(\r?\n)[ \t]*"), re.compile(rb"[ \t]+")


@dataclass(frozen=True, slots=True)
class Beginning:
    """delimiter: of a text of which runs of blanks part the fields it is a tab, see `with_tabs`

    names: of the columns; skips: lines before the header, or before the first row where has_header
    is False; facts: what of it is worth a word
    """

    delimiter: str
    is_of_blanks: bool
    names: tuple[str, ...]
    skips: int
    has_header: bool
    facts: tuple[str, ...]


def beginning_of(text: str) -> Beginning:
    """What the first lines of a text say; the last of them may be cut."""
    first, _, rest = text.partition("\n")
    told = first.strip("\r\n")[len(_SEP) :] if first.lower().startswith(_SEP) else ""
    skips = 1 if told in DELIMITERS else 0
    lines = (rest if skips else text).split("\n")
    count = _num_before(lines)
    comments = [line for line in lines[:count] if line.strip()]
    text = "\n".join(lines[count:])
    text = text[: text.rfind("\n") + 1] or text
    delimiter = told if skips else _delimiter(text)
    is_of_blanks = delimiter is None and _are_parted_by_blanks(text)
    if is_of_blanks:
        delimiter, text = TAB, with_tabs(text.encode()).decode()
        comments = [TAB.join(line.split()) for line in comments]
    delimiter = delimiter or ","
    rows = [row for row in islice(_rows(text, delimiter), _JUDGED_ROWS) if row] or [[]]
    names, has_header, said = _names(rows, comments, delimiter)
    between = "blanks" if is_of_blanks else DELIMITERS[delimiter]
    facts = [f"{between} between fields"] if delimiter != "," else []
    facts += [said] if said else []
    others = len(comments) - (said == IN_COMMENT)
    facts += [f"{others:,} {'line' if others == 1 else 'lines'} of comment"] if others else []
    return Beginning(delimiter, is_of_blanks, tuple(names), skips + count, has_header, tuple(facts))


def _num_before(lines: Sequence[str]) -> int:
    """Lines up to the last comment that stands before anything else."""
    count = 0
    for i, line in enumerate(lines):
        if line.startswith(COMMENT):
            count = i + 1
        elif line.strip():
            break
    return count


def with_tabs(raw: bytes) -> bytes:
    """The same lines with one tab for each run of blanks, and none around them."""
    return _BETWEEN.sub(b"\t", _AROUND.sub(rb"\1", raw).strip(b" \t"))


def numbered(count: int) -> list[str]:
    """Names of columns that have none; polars gives the same."""
    return [f"column_{i + 1}" for i in range(count)]


def _delimiter(text: str) -> str | None:
    """The one that parts most of the first rows as it parts the header, quotes respected."""
    found = {delimiter: _agreement(text, delimiter) for delimiter in DELIMITERS}
    best = max(found, key=lambda delimiter: found[delimiter])
    return best if found[best] > 0 else None


def _agreement(text: str, delimiter: str) -> float:
    """Share of the first rows with as many fields as the header; 0 where that has one only."""
    rows = [row for row in islice(_rows(text, delimiter), _JUDGED_ROWS) if any(map(str.strip, row))]
    width = len(rows[0]) if rows else 0
    return sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0


def _are_parted_by_blanks(text: str) -> bool:
    """Do runs of blanks part each line into as many fields, more than one?"""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    widths = set(map(len, lines))
    return len(lines) > 1 and len(widths) == 1 and widths != {1} and '"' not in text


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Rows of a text, up to what Python's reader cannot take."""
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error:
        return


def _names(
    rows: Sequence[list[str]], comments: Sequence[str], delimiter: str
) -> tuple[list[str], bool, str]:
    """The columns' names, whether the first row holds them, and what to say of that."""
    holds_values = _holds_values(rows)
    told = comments[-1] if comments else ""
    last = next(_rows(told.lstrip(COMMENT).strip(), delimiter), [])
    is_meant = told[1:2].strip() != "" or holds_values or any(map(_is_number, rows[0]))
    if len(last) == len(rows[0]) > 1 and is_meant:
        return [name.strip() for name in last], False, IN_COMMENT
    if not holds_values:
        return rows[0], True, ""
    names = numbered(len(rows[0]))
    span = " .. ".join(dict.fromkeys((names[0], names[-1])))
    return names, False, f"no header ({span})"


def _holds_values(rows: Sequence[Sequence[str]]) -> bool:
    """Does the first row hold values, as those below do, and no names?

    In each column it has a number among numbers, or a text that comes again; and not all numbers
    are whole ones in even steps, as the names 0, 1, 2 or 2019, 2020 are.
    """
    first, *others = [[field.strip() for field in row] for row in rows]
    others = [row for row in others if len(row) == len(first)]
    numbers = [field for field in first if _is_number(field)]
    if not others or not numbers or _are_steps(numbers):
        return False
    return all(map(_is_alike, first, zip(*others, strict=True)))


def _is_alike(field: str, column: Sequence[str]) -> bool:
    if field in _UNKNOWN:
        return field != ""
    if not _is_number(field):
        return field in column
    return all(_is_number(value) or value in _UNKNOWN for value in column)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text not in _UNKNOWN


def _are_steps(numbers: Sequence[str]) -> bool:
    values = [float(number) for number in numbers]
    steps = {after - before for before, after in pairwise(values)}
    return len(steps) == 1 and steps != {0} and all(value.is_integer() for value in values)
