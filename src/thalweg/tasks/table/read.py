"""A table from a file or a frame, or one line that says what is wrong with it, and where."""

from __future__ import annotations

import csv
from codecs import BOM_UTF8
from collections import Counter
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.exceptions import NarwhalsError
from polars import selectors
from polars.exceptions import PanicException, PolarsError

from thalweg.errors import DataError

MISSING = ["", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL", "null", "None", "?"]
"""Texts that mean "no value" in a CSV file."""

_DELIMITERS = ",;\t"
_PARQUET = b"PAR1"

_NO_TABLE = (
    NarwhalsError,
    PolarsError,
    ImportError,
    TypeError,
    ValueError,
    NotImplementedError,
)
"""What pandas, pyarrow, narwhals and polars raise for a frame that polars cannot hold."""

_FOREIGN = {
    b"\x1f\x8b": "is compressed (gzip): unpack it first, with gunzip",
    b"PK\x03\x04": "is a zip archive or an Excel workbook: save the table in it as CSV",
    b"\xff\xfe": "is UTF-16 text: save it as UTF-8 (iconv -f utf-16 -t utf-8 OLD > NEW)",
    b"\xfe\xff": "is UTF-16 text: save it as UTF-8 (iconv -f utf-16 -t utf-8 OLD > NEW)",
}
"""First bytes of files that are no tables for us, and what to do with them."""


def read_table(data: Any, *, texts: list[str] | None = None) -> pl.DataFrame:
    """A polars frame from a path to a CSV or Parquet file, or from a polars, pandas or other frame.

    texts: columns to be read as text, whatever they look like
    Raises DataError: no such file, a folder, empty, binary, truncated, not UTF-8, ragged, duplicate
    column names.
    """
    if isinstance(data, str | Path):
        return _read_file(Path(data), texts or [])
    if not nw.dependencies.is_into_dataframe(data):
        raise DataError(
            f"data is a {type(data).__name__}: give a path to a CSV or Parquet file, or a frame"
        )
    try:
        return _simple(nw.from_native(data, eager_only=True).to_polars())
    except _NO_TABLE as error:
        words = " ".join(" ".join(map(str, error.args)).split())
        raise DataError(f"the data cannot be taken as a table: {words}") from None


def _simple(frame: pl.DataFrame) -> pl.DataFrame:
    """Decimals as floats, and categories as the texts that they stand for."""
    return frame.with_columns(
        selectors.decimal().cast(pl.Float64),
        selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
    )


def first_bytes(path: Path) -> bytes:
    """Up to 65,536 bytes of a file. Raises DataError where there is none, or it is empty."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder: give one CSV or Parquet file")
        if not path.exists():
            raise DataError(f"{path} does not exist: check the spelling, or give the full path")
        if not path.is_file():
            raise DataError(f"{path} is a pipe or a device: save the data to a file first")
        with path.open("rb") as file:
            head = file.read(65_536)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not head.removeprefix(BOM_UTF8).strip():
        raise DataError(f"{path} is empty: there are no columns and no rows")
    return head


def _read_file(path: Path, texts: list[str]) -> pl.DataFrame:
    head = first_bytes(path)
    if head.startswith(_PARQUET) or path.suffix == ".parquet":
        return _read_parquet(path, head)
    return _read_csv(path, head, texts)


def _read_parquet(path: Path, head: bytes) -> pl.DataFrame:
    if not head.startswith(_PARQUET):
        raise DataError(
            f"{path} is no Parquet file, though its name says so: it lacks the mark PAR1"
        )
    try:
        frame = _simple(pl.read_parquet(path, glob=False))
    except (PolarsError, PanicException, OSError) as error:
        line = _first_line(error)
        raise DataError(
            f"{path} is a Parquet file that is cut short or damaged ({line}): write it again"
        ) from None
    if frame.height == 0:
        raise DataError(f"{path} has columns but no rows")
    return frame


def _read_csv(path: Path, head: bytes, texts: list[str]) -> pl.DataFrame:
    _check_text(path, head)
    delimiter, names = _check_header(path, head)
    try:
        frame = pl.read_csv(
            path,
            glob=False,
            separator=delimiter,
            null_values=MISSING,
            infer_schema_length=None,
            schema_overrides={name: pl.String for name in names if name.strip() in texts},
            raise_if_empty=False,
        )
    except (PolarsError, OSError) as error:
        _explain_text(path)
        _rows_of(path, delimiter)
        raise DataError(f"{path} cannot be read as CSV: {_first_line(error)}") from None
    if frame.width > 1 and frame.get_column(frame.columns[-1]).null_count():
        is_row = _rows_of(path, delimiter)
        frame = frame.filter(is_row) if len(is_row) == frame.height else frame
    if frame.height == 0:
        raise DataError(f"{path} has a header but no rows")
    return _stripped(frame, texts)


def _stripped(frame: pl.DataFrame, texts: list[str]) -> pl.DataFrame:
    """Without blanks around texts and names; then a column of numbers is one of numbers."""
    columns = []
    for series in frame.rename(str.strip).iter_columns():
        if series.dtype == pl.String:
            series = series.str.strip_chars()  # noqa: PLW2901
            series = series.set(series.is_in(MISSING), None)  # noqa: PLW2901
            numbers = series.cast(pl.Float64, strict=False)
            is_numbers = numbers.null_count() == series.null_count() < len(series)
            series = numbers if is_numbers and series.name not in texts else series  # noqa: PLW2901
        columns.append(series)
    return pl.DataFrame(columns)


def _check_text(path: Path, head: bytes) -> None:
    """Raise DataError for what is no text, or text that polars would misread."""
    for mark, words in _FOREIGN.items():
        if head.startswith(mark):
            raise DataError(f"{path} {words}")
    if b"\x00" in head:
        raise DataError(
            f"{path} holds binary data (a NUL byte), so it is neither CSV nor Parquet: "
            "save the table as one of these"
        )
    if b"\r" in head and b"\n" not in head:
        raise DataError(f"{path} has lines that end in CR alone: save it with ordinary line ends")


def _check_header(path: Path, head: bytes) -> tuple[str, list[str]]:
    """Delimiter and names, as they stand in the first line. Raises DataError for a name twice."""
    text = head.decode("utf-8-sig", errors="replace").lstrip("\r\n")
    line = text.splitlines()[0]
    if "\ufffd" in line:  # polars reads such a name, wrongly
        _explain_text(path)
    delimiter = max(_DELIMITERS, key=line.count)
    names = next(csv.reader([line], delimiter=delimiter))
    counts = Counter(name.strip() for name in names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        shown = "a column without a name" if twice[0] == "" else f"column {twice[0]!r}"
        raise DataError(
            f"{path}: {shown} stands {counts[twice[0]]} times in the header, which is the first "
            "line; rename all but one, or put a header there"
        )
    return delimiter, names


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


def _rows_of(path: Path, delimiter: str) -> list[bool]:
    """For each line after the header: is it a row, rather than blank?

    Raises DataError with the first row whose number of fields differs from the header's.
    """
    is_row: list[bool] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        try:
            width = len(next(row for row in reader if row))
            for row in reader:
                is_row.append(len(row) > 1 or "".join(row).strip() != "")
                if is_row[-1] and len(row) != width:
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} fields where the header has "
                        f"{width}; mend that row (a text with {delimiter!r} in it needs quotes)"
                    )
        except csv.Error:  # a field longer than Python's reader takes: nothing can be said
            return []
    return is_row


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def frame_of_arrays(inputs: Any, targets: Any = None) -> pl.DataFrame:
    """Arrays as a table: inputs of shape (n, k) become columns x0 .. x<k-1>, or those of a frame;
    targets of shape (n,) become the column y.
    """
    is_frame = nw.dependencies.is_into_dataframe(inputs)
    frame = read_table(inputs) if is_frame else _frame_of_rows(_array(inputs))
    if targets is None:
        return frame
    column = _array(targets)
    if column.shape != (frame.height,):
        raise DataError(
            f"{frame.height:,} inputs but targets of shape {column.shape}: "
            "there must be one for each"
        )
    if "y" in frame.columns:
        raise DataError("the inputs hold a column 'y' already: give the whole frame, and target=")
    return frame.with_columns(_series("y", column))


def _frame_of_rows(rows: np.ndarray) -> pl.DataFrame:
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise DataError(
            f"inputs have shape {rows.shape}: a table needs (rows, columns); "
            "for anything else bring a model of your own, fit((X, y), model=net, loss=...)"
        )
    return pl.DataFrame([_series(f"x{i}", rows[:, i]) for i in range(rows.shape[1])])


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _series(name: str, values: np.ndarray) -> pl.Series:
    """A column; the type of Python objects is found by looking at them."""
    return pl.Series(name, values.tolist() if values.dtype == object else values, strict=False)
