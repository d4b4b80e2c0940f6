"""predict: predictions for new rows, to standard output or to a file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs.load import load


def predict(run: str, data: Any, *, to: str | None, out: str) -> tuple[dict[str, Any], Any]:
    """The object that `predict --json` prints, and the frame of predictions.

    With `to` they are written whole to that file, and the object names it instead of holding them.
    Raises UsageError where the file cannot be written, and what load and Run.predict raise.
    """
    path = None if to is None else Path(to)
    if path is not None and path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--to {to}: write a name that ends in .csv or .parquet")
    if path is not None and isinstance(data, str) and os.path.exists(path):
        _check_apart(path, data)
    loaded = load(run, out=out)
    rows = loaded.read(data)
    frame = loaded.predict(rows)
    result = {
        "schema": 1,
        "command": "predict",
        "run": str(loaded.folder),
        "rows": frame.height,
        "drift": [row.to_dict() for row in loaded.drift(rows)],
    }
    if path is None:
        return {**result, "predictions": frame.to_dicts()}, frame
    _write(path, frame)
    return {**result, "to": str(path)}, frame


def generate(
    run: str, data: Any, *, prompt: str, to: str | None, out: str, **wishes: Any
) -> dict[str, Any]:
    """The object that `predict --prompt --json` prints; wishes: length, temperature, seed.

    Raises UsageError for what does not go with a prompt, or a run that is no language model.
    """
    if data is not None or to is not None:
        name = "data" if data is not None else "--to"
        raise UsageError(
            f"{name} and --prompt were both given: a prompt is all that is gone on from"
        )
    loaded = load(run, out=out)
    text = loaded.generate(prompt, **wishes)
    return {
        "schema": 1,
        "command": "predict",
        "run": str(loaded.folder),
        "prompt": prompt,
        **wishes,
        "text": text,
    }


def _write(path: Path, frame: Any) -> None:
    """Write a frame as CSV or Parquet, whole or not at all."""
    part = path.with_name(f".thalweg-{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            frame.write_csv(file) if path.suffix == ".csv" else frame.write_parquet(file)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def _check_apart(path: Path, data: str) -> None:
    """Raise UsageError where the predictions would take the place of the data."""
    if os.path.exists(data) and path.samefile(data):
        raise UsageError(f"--to {path} is the data itself: write the predictions to another file")
