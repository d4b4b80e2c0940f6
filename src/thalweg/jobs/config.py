"""Repeating a run: the data and the settings in its run.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs.settings import Settings


def values_of(config: str) -> dict[str, Any]:
    """The settings in a run.toml by name, and `data` where it was a file.

    Raises UsageError where the file is missing, no TOML, or holds something that is no setting.
    """
    try:
        values = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {config} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {config} is not TOML: {error}") from None
    chosen, data = values.get("settings"), values.get("data")
    if not isinstance(chosen, dict) or not isinstance(data, str | None):
        raise UsageError(f"--config {config} is no run.toml: it needs a [settings] table")
    Settings.of(chosen)
    return chosen if data is None else {**chosen, "data": data}
