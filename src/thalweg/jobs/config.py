"""Repeating a run: its settings from run.toml, and what was asked beside them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from thalweg.errors import UsageError
from thalweg.jobs.settings import Settings


def repeated(config: str, data: str | None, settings: Settings) -> tuple[str | None, Settings]:
    """Data and settings of `config`, under the settings that were given beside it.

    Raises UsageError where the file is missing, no TOML, or holds something that is no setting.
    """
    try:
        values = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {config} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {config} is not TOML: {error}") from None
    chosen, source = values.get("settings", {}), values.get("data")
    if not isinstance(chosen, dict) or not isinstance(source, str | None):
        raise UsageError(f"--config {config} is no run.toml: it needs a [settings] table")
    return data or source, Settings.of({**chosen, **settings.given()})
