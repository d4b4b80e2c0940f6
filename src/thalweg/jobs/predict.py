"""predict: predictions for new rows, to standard output or to a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TextIO

from thalweg.errors import UsageError
from thalweg.jobs.load import load


def predict(run: str, data: Any, *, to: str | None, out: str, stream: TextIO) -> Path | None:
    """Write predictions as CSV to `stream`, or whole to the file `to` (.csv or .parquet), which is
    returned.

    Raises UsageError where the file cannot be written, and what load and Run.predict raise.
    """
    path = None if to is None else Path(to)
    if path is not None and path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--to {to}: write a name that ends in .csv or .parquet")
    frame = load(run, out=out).predict(data)
    if path is None:
        stream.write(frame.write_csv())
        return None
    part = path.with_name(f".{path.name}.part")
    try:
        frame.write_csv(part) if path.suffix == ".csv" else frame.write_parquet(part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    return path
