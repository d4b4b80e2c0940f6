"""What can be refused before torch is imported, so that a slip is answered at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from thalweg.errors import DataError, UsageError
from thalweg.jobs.settings import Settings
from thalweg.jobs.text import is_language
from thalweg.loop.alerts import checked
from thalweg.state.folder import create
from thalweg.tasks.callables import is_callable_name
from thalweg.tasks.images.column import IMAGE
from thalweg.tasks.images.folders import are_folders
from thalweg.tasks.table.names import pairs_of
from thalweg.tasks.table.source import is_standard_input, is_stored, parts_of
from thalweg.tasks.table.wishes import check_kind

PLAIN = (".txt", ".md", ".text")
"""Names of files that are often plain text, and no table."""


def check(data: str, settings: Settings, alert: str | None = None) -> None:
    """Raise UsageError without a target or for a wish that cannot be, DataError for a file that is
    not there or is empty.
    """
    if alert is not None:
        checked(alert)
    _check_wishes(settings)
    if is_callable_name(data) and not os.path.exists(data):
        return  # a task of the user's own
    if are_folders(data):
        return  # pictures
    parts_of(data)
    for more in (settings.validation, settings.test):
        if isinstance(more, str) and not is_standard_input(more):
            parts_of(more)
    if settings.target is None and not is_language(settings):
        raise UsageError(no_target(data))


def _check_wishes(settings: Settings) -> None:
    """Raise UsageError for kinds that there are not, DataError for weights that are not there;
    UsageError where the run's folder cannot be made: it is, and taken away again.
    """
    for name, text in pairs_of(settings.types or "", "types").items():
        if text != IMAGE:
            check_kind(name, text)
    if settings.init is not None and not os.path.exists(settings.init):
        raise DataError(
            f"{settings.init} does not exist: check the spelling, or give the full path"
        )
    if settings.out is not None:
        create(settings.out, settings.name, "run").withdraw()


def no_target(data: Any) -> str:
    """What to say where no target was given."""
    text = "no target was given: name the column to predict, --target COL"
    if is_stored(data) and Path(data).suffix.lower() in PLAIN:
        return f"{text}; or, if {data} is plain text, learn to write it, --task lm"
    return text
