"""A table from a file or a frame, or one line that says what is wrong with it, and where."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from thalweg.errors import DataError

MISSING = ["", "NA", "N/A", "na", "n/a", "NULL", "null", "None", "?"]
"""Texts that mean "no value" in a CSV file."""

_DELIMITERS = ",;\t"
_PARQUET = b"PAR1"


def read_table(data: Any, *, texts: list[str] | None = None) -> pl.DataFrame:
    """A polars frame from a path to a CSV or Parquet file, or from a polars, pandas or other frame.

    texts: columns to be read as text, whatever they look like
    Raises DataError: no such file, a folder, empty, binary, truncated, not UTF-8, ragged, duplicate
    column names.
    """
    if isinstance(data, str | Path):
        return _read_file(Path(data), texts or [])
    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise DataError(
            f"data is a {type(data).__name__}: give a path to a CSV or Parquet file, or a frame"
        ) from None
    return frame.to_polars()


def _read_file(path: Path, texts: list[str]) -> pl.DataFrame:
    if path.is_dir():
        raise DataError(f"{path} is a folder: give one CSV or Parquet file")
    if not path.exists():
        raise DataError(f"{path} does not exist: check the spelling, or give the full path")
    try:
        with path.open("rb") as file:
            head = file.read(65_536)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not head.strip():
        raise DataError(f"{path} is empty: there are no columns and no rows")
    if head.startswith(_PARQUET) or path.suffix == ".parquet":
        return _read_parquet(path, head)
    return _read_csv(path, head, texts)


def _read_parquet(path: Path, head: bytes) -> pl.DataFrame:
    if not head.startswith(_PARQUET):
        raise DataError(
            f"{path} is no Parquet file, though its name says so: it lacks the mark PAR1"
        )
    try:
        return pl.read_parquet(path)
    except (PolarsError, OSError) as error:
        line = _first_line(error)
        raise DataError(f"{path} is a Parquet file that is cut short or damaged ({line})") from None


def _read_csv(path: Path, head: bytes, texts: list[str]) -> pl.DataFrame:
    if b"\x00" in head:
        raise DataError(f"{path} holds binary data (a NUL byte), so it is neither CSV nor Parquet")
    delimiter = _check_header(path, head)
    try:
        frame = pl.read_csv(
            path,
            separator=delimiter,
            null_values=MISSING,
            infer_schema_length=None,
            schema_overrides=dict.fromkeys(texts, pl.String),
            raise_if_empty=False,
        )
    except (PolarsError, OSError) as error:
        _explain_text(path)
        _explain_ragged(path, delimiter)
        raise DataError(f"{path} cannot be read as CSV: {_first_line(error)}") from None
    if frame.width and frame.get_column(frame.columns[-1]).null_count():
        _explain_ragged(path, delimiter)
    if frame.height == 0:
        raise DataError(f"{path} has a header but no rows")
    return frame


def _check_header(path: Path, head: bytes) -> str:
    """The delimiter, from the first line; raises DataError for names that stand twice."""
    text = head.decode("utf-8-sig", errors="replace").lstrip("\r\n")
    line = text.splitlines()[0]
    delimiter = max(_DELIMITERS, key=line.count)
    names = next(csv.reader([line], delimiter=delimiter))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        shown = "a column without a name" if twice[0] == "" else f"column {twice[0]!r}"
        raise DataError(
            f"{path}: {shown} stands {Counter(names)[twice[0]]} times in the header; "
            "rename all but one"
        )
    return delimiter


def _explain_text(path: Path) -> None:
    """Raise DataError with the line of the first byte that is not UTF-8, if there is one."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8 text; "
                    "save the file as UTF-8 (for example: "
                    f"iconv -f latin1 -t utf-8 {path.name} > utf8.csv)"
                ) from None


def _explain_ragged(path: Path, delimiter: str) -> None:
    """Raise DataError with the first row whose number of fields differs from the header's, if there
    is one.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        width = len(next(reader))
        for row in reader:
            if row and len(row) != width:
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} fields where the header has "
                    f"{width}; mend that row (a text that holds the delimiter must stand in quotes)"
                )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def frame_of_arrays(inputs: Any, targets: Any = None) -> pl.DataFrame:
    """Arrays as a table: inputs of shape (n, k) become columns x0 .. x<k-1>, targets of shape (n,)
    the column y.
    """
    rows = np.asarray(inputs)
    if rows.ndim != 2:
        raise DataError(
            f"inputs have shape {rows.shape}: a table needs (rows, columns); "
            "for anything else bring a model of your own, fit((X, y), model=net, loss=...)"
        )
    frame = pl.DataFrame({f"x{i}": rows[:, i] for i in range(rows.shape[1])})
    if targets is None:
        return frame
    column = np.asarray(targets)
    if column.shape != (len(rows),):
        raise DataError(
            f"{len(rows):,} inputs but targets of shape {column.shape}: there must be one for each"
        )
    return frame.with_columns(pl.Series("y", column))
