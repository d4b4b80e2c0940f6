"""The data of a run where it has a name: a file, a folder, or standard input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from thalweg.state.checksum import checksum
from thalweg.tasks.table.source import is_standard_input, is_stored, standard_input


def stem_of(data: Any) -> str:
    """What the run of data is called, but for its number."""
    if is_standard_input(data):
        return "stdin"
    return Path(data).name.partition(".")[0] if is_stored(data) else "data"


def checksum_of(data: str | Path) -> str | None:
    """Of named data; None where it is not there."""
    if is_standard_input(data):
        return checksum(standard_input())
    return checksum(Path(data)) if os.path.exists(data) else None
