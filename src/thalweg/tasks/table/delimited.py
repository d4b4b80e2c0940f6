"""Delimited text: which character parts its fields, what its header says, and its rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from thalweg.errors import DataError, first_line
from thalweg.tasks.table.source import Part

MISSING = ["", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL", "null", "None", "?"]
"""Texts that mean "no value" in a CSV file."""

DELIMITERS = {";": "';'", "\t": "tabs", "|": "'|'", ",": "','"}
"""What may part fields, and its name. Where two fit alike, the first is meant: a comma stands in
texts and numbers too.
"""

Overrides = dict[str, type[pl.String]]

_JUDGED_ROWS = 200
_QUICK_ROWS = 10_000
_SEP = "sep="
"""Excel's own first line, which names the delimiter."""


@dataclass(frozen=True, slots=True)
class Delimited:
    """A part that holds delimited text; names: of its header; skips: lines before the header."""

    part: Part
    delimiter: str
    names: tuple[str, ...]
    skips: int

    @property
    def facts(self) -> tuple[str, ...]:
        """What parts its fields, where that is worth a word."""
        return () if self.delimiter == "," else (f"{DELIMITERS[self.delimiter]} between fields",)

    def read(self, texts: Iterable[str]) -> pl.DataFrame:
        """All rows; numbers are what polars takes for numbers, all else is text as it stands.

        texts: columns to be read as text, whatever they look like
        Raises DataError for a row whose number of fields differs from the header's.
        """
        texts = set(texts)
        overrides: Overrides = {n: pl.String for n in self.names if n.strip() in texts}
        frame = self._read_quickly(overrides)
        frame = self._read(overrides) if frame is None else frame
        if frame.width > 1 and frame.get_column(frame.columns[-1]).null_count():
            is_row = self._is_row()
            frame = frame.filter(is_row) if len(is_row) == frame.height else frame
        return frame.rename(str.strip)

    def _read_quickly(self, overrides: Overrides) -> pl.DataFrame | None:
        """With the types of the first rows, six times faster; None where later ones may differ."""
        try:
            frame = self._polars(overrides, _QUICK_ROWS)
        except (PolarsError, OSError):
            return None
        is_open = any(
            column.head(_QUICK_ROWS).null_count() == _QUICK_ROWS
            and column.null_count() < len(column)
            for column in frame.iter_columns()
        )
        return None if is_open else frame

    def _read(self, overrides: Overrides) -> pl.DataFrame:
        try:
            return self._polars(overrides, None)
        except (PolarsError, OSError) as error:
            self._is_row_of_any()
            raise DataError(
                f"{self.part.name} cannot be read as CSV: {first_line(error)}"
            ) from None

    def _polars(self, overrides: Overrides, judged: int | None) -> pl.DataFrame:
        return pl.read_csv(
            self.part.content,
            glob=False,
            separator=self.delimiter,
            skip_rows=self.skips,
            null_values=MISSING,
            infer_schema_length=judged,
            schema_overrides=overrides,
            raise_if_empty=False,
        )

    def _is_row(self) -> pl.Series | list[bool]:
        """For each line after the header: is it a row, rather than blank?

        Empty where nothing can be said. Raises DataError with the first row whose number of fields
        differs from the header's.
        """
        has_quotes = any(b'"' in block for block in self.part.blocks())
        return self._is_row_of_any() if has_quotes or self.skips else self._is_row_of_plain()

    def _is_row_of_plain(self) -> pl.Series | list[bool]:
        """The same for a text without quotes, where every line is a row: many times faster."""
        try:
            lines = pl.read_csv(
                self.part.content,
                glob=False,
                has_header=False,
                separator="\x1f",
                quote_char=None,
                schema={"line": pl.String},
            ).get_column("line")
        except PolarsError:
            return self._is_row_of_any()
        counts = lines.fill_null("").str.count_matches(self.delimiter, literal=True)
        is_row = (counts > 0) | (lines.fill_null("").str.strip_chars() != "")
        first = int(is_row.arg_max() or 0)
        if (is_row & (counts != len(self.names) - 1)).any():
            return self._is_row_of_any()
        return is_row.slice(first + 1)

    def _is_row_of_any(self) -> list[bool]:
        is_row: list[bool] = []
        with self._open() as file:
            for _ in range(self.skips):
                next(file)
            reader = csv.reader(file, delimiter=self.delimiter)
            try:
                width = len(next(row for row in reader if row))
                for row in reader:
                    is_row.append(len(row) > 1 or "".join(row).strip() != "")
                    if is_row[-1] and len(row) != width:
                        raise self._ragged(reader.line_num + self.skips, len(row), width)
            except csv.Error:  # a field longer than Python's reader takes: nothing can be said
                return []
        return is_row

    def _ragged(self, line: int, count: int, width: int) -> DataError:
        return DataError(
            f"{self.part.name}, line {line}: {count} fields where the header has {width}; mend "
            f"that row (a text with {self.delimiter!r} in it needs quotes)"
        )

    def _open(self) -> io.TextIOWrapper:
        content = self.part.content
        file = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
        return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


def delimited(part: Part) -> Delimited:
    """What the first lines of a text say. Raises DataError for a name that stands there twice."""
    text = part.head.decode("utf-8-sig", errors="replace").lstrip("\r\n")
    if part.suffix == ".arff" or text.lower().startswith("@relation"):
        raise DataError(f"{part.name} is an ARFF file: save the table in it as CSV")
    first, _, rest = text.partition("\n")
    told = first.strip("\r\n")[len(_SEP) :] if first.lower().startswith(_SEP) else ""
    skips = 1 if told in DELIMITERS else 0
    text = rest if skips else text
    delimiter = told if skips else _delimiter(text)
    names = next((row for row in _rows(text, delimiter) if row), [])
    _check_names(part.name, names)
    return Delimited(part, delimiter, tuple(names), skips)


def _delimiter(text: str) -> str:
    """The one that parts most of the first rows as it parts the header, quotes respected."""
    whole = text[: text.rfind("\n") + 1] or text
    found = {delimiter: _agreement(whole, delimiter) for delimiter in DELIMITERS}
    best = max(found, key=lambda delimiter: found[delimiter])
    return best if found[best] > 0 else ","


def _agreement(text: str, delimiter: str) -> float:
    """Share of the first rows with as many fields as the header; 0 where that has one only."""
    rows = [row for row in islice(_rows(text, delimiter), _JUDGED_ROWS) if any(map(str.strip, row))]
    width = len(rows[0]) if rows else 0
    return sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Rows of a text, up to what Python's reader cannot take."""
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error:
        return


def _check_names(name: str, names: list[str]) -> None:
    counts = Counter(column.strip() for column in names)
    twice = [column for column, count in counts.items() if count > 1]
    if twice:
        shown = "a column without a name" if twice[0] == "" else f"column {twice[0]!r}"
        raise DataError(
            f"{name}: {shown} stands {counts[twice[0]]} times in the header, which is the first "
            "line; rename all but one, or put a header there"
        )
