"""The data of a run where it has a name: a file, a folder, or standard input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from thalweg.errors import RunError
from thalweg.state.checksum import checksum
from thalweg.tasks.own import is_task_name
from thalweg.tasks.table.source import is_standard_input, is_stored, name_of, standard_input


def stem_of(data: Any) -> str:
    """What the run of data is called, but for its number."""
    if is_standard_input(data):
        return "stdin"
    if is_task_name(data):
        return str(data).partition(":")[0].rpartition(".")[2]
    return Path(data).name.partition(".")[0] if is_stored(data) else "data"


def checksum_of(data: str | Path) -> str | None:
    """Of named data; None where it is not there."""
    if is_standard_input(data):
        return checksum(standard_input())
    return checksum(Path(data)) if os.path.exists(data) else None


def data_again(run: Path, source: str | None, given: Any, known: str | None) -> Any:
    """The data that a run goes on with: what is brought (given), else what it names (source).

    known: the checksum that it had
    Raises RunError where it is not there any more, or not the same.
    """
    data = source if given is None else given
    if data is None:
        raise RunError(
            f"the data of {run} was given as an object: bring it again from Python, "
            "thalweg.resume(run, data)"
        )
    if not is_stored(data) or is_task_name(data):
        return data
    if given is None and is_standard_input(data):
        raise RunError(
            f"the data of {run} came from standard input, which is not kept: bring it again, "
            "thalweg resume RUN DATA, as a file, or as - to pipe it in"
        )
    found = checksum_of(data)
    if given is None and found is None:
        raise RunError(
            f"{data}, the data of {run}, is not there any more: say where it stands now, "
            "thalweg resume RUN DATA"
        )
    if known is not None and found is not None and known != found:
        raise RunError(
            f"{name_of(data)} has changed since {run} began (its checksum differs): bring the old "
            "file back, or begin a new run with thalweg fit"
        )
    return data
