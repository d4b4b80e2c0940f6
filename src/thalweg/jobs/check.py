"""What can be refused before torch is imported, so that a slip is answered at once."""

from __future__ import annotations

from thalweg.errors import UsageError
from thalweg.jobs.settings import Settings
from thalweg.tasks.images.folders import are_folders
from thalweg.tasks.table.source import parts_of


def check(data: str, settings: Settings) -> None:
    """Raise UsageError without a target, DataError for a file that is not there or is empty."""
    if are_folders(data):
        return
    parts_of(data)
    if settings.target is None:
        raise UsageError("no target was given: name the column to predict, --target COL")
