"""Columns of text as they come from a file: without blanks, and as numbers where they are ones."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import polars as pl
from polars import selectors

from thalweg.tasks.table.delimited import MISSING
from thalweg.tasks.table.notation import (
    COMMA_GROUPED_BY_POINT,
    Notation,
    Reading,
    has_grouping_points,
    may_have_grouping_points,
    reading_of,
)
from thalweg.tasks.table.signs import without_sign
from thalweg.tasks.table.values import first_known

Reread = Callable[[Collection[str]], pl.DataFrame]
"""The same table once more, with these columns as the texts that stand there."""

_MOST_NAMES = 8


@dataclass(slots=True)
class Tidied:
    """Columns by name, and what was found of them.

    proven: decimal signs that some column leaves no doubt of
    notations: of the columns that were no plain numbers; signs: of money or percent that were left
    out; doubts: what may be meant otherwise
    """

    columns: dict[str, pl.Series]
    delimiter: str
    proven: set[str] = field(default_factory=set)
    notations: dict[str, Notation] = field(default_factory=dict)
    signs: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    @property
    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.columns.values()))

    @property
    def notices(self) -> list[str]:
        """A line for each notation and each sign."""
        lines = []
        for notation in dict.fromkeys(self.notations.values()):
            names = [name for name, row in self.notations.items() if row == notation]
            lines.append(f"numbers written like {notation.example}: {_listed(names)}")
        for sign in dict.fromkeys(self.signs.values()):
            names = [name for name, row in self.signs.items() if row == sign]
            lines.append(f"numbers with {sign!r}, which is left out: {_listed(names)}")
        return lines


def tidied(
    frame: pl.DataFrame,
    *,
    texts: Collection[str],
    numbers: Collection[str],
    delimiter: str,
    reread: Reread,
) -> Tidied:
    """The table with its texts bare, and numbers of any notation as numbers.

    texts: columns that stay texts
    numbers: columns in which numbers are written plainly even where texts stand among them, so that
    those stand out
    """
    found = Tidied({row.name: _bare(row, texts) for row in frame.iter_columns()}, delimiter)
    for name, column in found.columns.items():
        if column.dtype == pl.String and name not in texts:
            bare, sign = without_sign(column)
            found.columns[name] = _bare(bare, texts) if sign else column
            found.signs |= {name: sign} if sign else {}
    readings = {
        name: reading_of(column, is_mostly_numbers=name in numbers)
        for name, column in found.columns.items()
        if column.dtype == pl.String and name not in texts
    }
    found.proven = {row.decimal for row in readings.values() if row.decimal and not row.has_texts}
    if "," in found.proven or delimiter == ";":
        _read_points(found, reread)
    for name, reading in readings.items():
        if not reading.has_texts or name in numbers:
            _read(found, name, reading)
    return found


def _bare(series: pl.Series, texts: Collection[str]) -> pl.Series:
    """Without blanks around texts; as numbers where all are plain ones."""
    if series.dtype != pl.String:
        return series
    series = _stripped(series)
    if series.name in texts or series.null_count() == len(series):
        return series
    found = (_plain_ones(series, dtype) for dtype in (pl.Int64, pl.Float64))
    return next((numbers for numbers in found if numbers is not None), series)


def _plain_ones(series: pl.Series, dtype: type[pl.DataType]) -> pl.Series | None:
    """As numbers, where all are; mostly the first ones tell that they are not."""
    numbers = None
    for some in (first_known(series), series):
        numbers = some.cast(dtype, strict=False)
        if numbers.null_count() > some.null_count():
            return None
    return numbers


def _stripped(series: pl.Series) -> pl.Series:
    stripped = series.str.strip_chars()
    is_missing = stripped.is_in(MISSING)
    if not ((stripped != series).any() or is_missing.any()):
        return series  # the column itself takes no more memory
    return stripped.set(is_missing, None)


def _read_points(found: Tidied, reread: Reread) -> None:
    """Plain numbers where decimal commas are usual: can their points be those of thousands?"""
    floats = [name for name, column in found.columns.items() if column.dtype == pl.Float64]
    names = [name for name in floats if may_have_grouping_points(found.columns[name])]
    texts = reread(names).select(names) if names else pl.DataFrame()
    texts = texts.select(selectors.string())  # Parquet among the files has no texts to show
    grouped = [text for text in map(_stripped, texts.iter_columns()) if has_grouping_points(text)]
    if len(grouped) < len(floats):
        found.proven.add(".")
    for column in grouped:
        may_be = f"column {column.name!r}: {_example(column, '.')} may have a point of thousands"
        if found.proven == {","}:
            found.doubts.append(f"{may_be}, and is read so, since others here have decimal commas")
            _convert(found, column, COMMA_GROUPED_BY_POINT)
        else:
            found.doubts.append(f"{may_be}, and is read with a decimal point")


def _read(found: Tidied, name: str, reading: Reading) -> None:
    """One column of text as numbers, where its numbers agree on a notation."""
    column = found.columns[name]
    if reading.is_mixed:
        found.doubts.append(
            f"column {name!r} stays text: its numbers are written in several ways, such as "
            f"{column.drop_nulls()[0]!r}"
        )
    if not reading.fits:
        return
    notation = reading.fits[0]
    if reading.is_open:
        sign, why = _decimal_sign(found)
        notation = next(row for row in reading.fits if row.decimal == sign)
        meant = "a decimal comma" if sign == "," else "commas between thousands"
        found.doubts.append(
            f"column {name!r}: {_example(column, ',')} may be meant in two ways, and is read with "
            f"{meant}, {why}"
        )
    _convert(found, column, notation)


def _decimal_sign(found: Tidied) -> tuple[str, str]:
    """The one that the table's other columns have, else the one usual beside its delimiter."""
    if len(found.proven) == 1:
        return next(iter(found.proven)), "as others here"
    return ("," if found.delimiter == ";" else "."), "which is usual in such a file"


def _convert(found: Tidied, column: pl.Series, notation: Notation) -> None:
    numbers = notation.plain(column).cast(pl.Float64, strict=False)
    is_whole = numbers.null_count() == column.null_count()
    found.columns[column.name] = numbers if is_whole else notation.among_texts(column)
    found.notations[column.name] = notation


def _example(column: pl.Series, sign: str) -> str:
    return str(column.filter(column.str.contains(sign, literal=True))[0])


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown}, ... ({len(names) - _MOST_NAMES} more)"
