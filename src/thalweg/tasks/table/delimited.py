"""Delimited text: the rows below its beginning, each with as many fields as that has."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from thalweg.errors import DataError, first_line
from thalweg.tasks.table.begins import Beginning, beginning_of, numbered, with_tabs
from thalweg.tasks.table.source import Part

MISSING = ["", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL", "null", "None", "?"]
"""Texts that mean "no value" in a CSV file."""

Overrides = dict[str, type[pl.String]]

_QUICK_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Delimited:
    """A part that holds delimited text, and how that begins."""

    part: Part
    begins: Beginning

    @property
    def facts(self) -> tuple[str, ...]:
        """What is worth a word."""
        return self.begins.facts

    @property
    def delimiter(self) -> str:
        """What parts the fields."""
        return self.begins.delimiter

    def read(self, texts: Iterable[str]) -> pl.DataFrame:
        """All rows; numbers are what polars takes for numbers, all else is text as it stands.

        texts: columns to be read as text, whatever they look like
        Raises DataError for a row whose number of fields differs from the header's.
        """
        texts = set(texts)
        names = self.begins.names
        called = names if self.begins.has_header else numbered(len(names))
        pairs = zip(called, names, strict=True)
        overrides: Overrides = {call: pl.String for call, name in pairs if name.strip() in texts}
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
            skip_lines=self.begins.skips,
            has_header=self.begins.has_header,
            new_columns=None if self.begins.has_header else list(self.begins.names),
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
        return self._is_row_of_any() if has_quotes or self.begins.skips else self._is_row_of_plain()

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
        if (is_row & (counts != len(self.begins.names) - 1)).any():
            return self._is_row_of_any()
        return is_row.slice(first + self.begins.has_header)

    def _is_row_of_any(self) -> list[bool]:
        is_row: list[bool] = []
        with self._open() as file:
            for _ in range(self.begins.skips):
                next(file)
            reader = csv.reader(file, delimiter=self.delimiter)
            width = len(self.begins.names)
            try:
                if self.begins.has_header:
                    next(row for row in reader if row)
                for row in reader:
                    is_row.append(len(row) > 1 or "".join(row).strip() != "")
                    if is_row[-1] and len(row) != width:
                        raise self._ragged(reader.line_num + self.begins.skips, len(row), width)
            except csv.Error:  # a field longer than Python's reader takes: nothing can be said
                return []
        return is_row

    def _ragged(self, line: int, count: int, width: int) -> DataError:
        first = "header" if self.begins.has_header else "first row"
        return DataError(
            f"{self.part.name}, line {line}: {count} fields where the {first} has {width}; mend "
            f"that row (a text with {self.delimiter!r} in it needs quotes)"
        )

    def _open(self) -> io.TextIOWrapper:
        content = self.part.content
        file = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
        return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


def delimited(part: Part) -> Delimited:
    """What the first lines of a text say. Raises DataError for a name that stands there twice."""
    head = part.head.decode("utf-8-sig", errors="replace")
    text = head.lstrip("\r\n")
    if part.suffix == ".arff" or text.lower().startswith("@relation"):
        raise DataError(f"{part.name} is an ARFF file: save the table in it as CSV")
    begins = beginning_of(text)
    _check_names(part.name, begins.names)
    blank = head[: len(head) - len(text)].count("\n")
    begins = replace(begins, skips=begins.skips + blank)
    if begins.is_of_blanks:
        part = Part(part.name, with_tabs(part.whole()))
    return Delimited(part, begins)


def _check_names(name: str, names: Sequence[str]) -> None:
    counts = Counter(column.strip() for column in names)
    twice = [column for column, count in counts.items() if count > 1]
    if twice:
        shown = "a column without a name" if twice[0] == "" else f"column {twice[0]!r}"
        raise DataError(
            f"{name}: {shown} stands {counts[twice[0]]} times in the header, which is the first "
            "line; rename all but one, or put a header there"
        )
