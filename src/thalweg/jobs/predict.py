"""predict: predictions for new rows, to standard output or to a file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from thalweg.errors import UsageError
from thalweg.jobs.load import load


def predict(run: str, data: Any, *, to: str | None, out: str, stream: TextIO) -> Path | None:
    """Write predictions as CSV to `stream`, or whole to the file `to`, which is returned.

    Raises UsageError where the file cannot be written, and what load and Run.predict raise.
    """
    path = None if to is None else Path(to)
    if path is not None and path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--to {to}: write a name that ends in .csv or .parquet")
    if path is not None and isinstance(data, str) and os.path.exists(path):
        _check_apart(path, data)
    frame = load(run, out=out).predict(data)
    if path is None:
        stream.write(frame.write_csv())
        return None
    part = path.with_name(f".thalweg-{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            frame.write_csv(file) if path.suffix == ".csv" else frame.write_parquet(file)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


def _check_apart(path: Path, data: str) -> None:
    """Raise UsageError where the predictions would take the place of the data."""
    if os.path.exists(data) and path.samefile(data):
        raise UsageError(f"--to {path} is the data itself: write the predictions to another file")
