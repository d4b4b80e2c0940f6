"""Where a run was made: versions, machine, data, and the command to repeat it."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from thalweg.jobs.data import checksum_of
from thalweg.jobs.machine import Machine
from thalweg.scale import matmul
from thalweg.scale.findings import processor
from thalweg.tasks.own import is_task_name
from thalweg.tasks.table.source import is_stored, name_of
from thalweg.version import __version__

OBJECT = "given as an object"
"""Instead of a checksum: it has to be brought again."""

GONE = "none: it is gone"
"""Instead of the checksum of a file that was deleted meanwhile."""

PACKAGES = ("torch", "numpy", "polars", "scikit-learn")


def environment_of(
    data: Any, machine: Machine, held: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Versions, the processor, what the start-up checks found, the data's fingerprint, and the
    command line where there was one.

    held: what was given to validate and to test, by name
    """
    found = {
        "thalweg": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "float32 matmul": matmul.float32_precision(),
        **machine.sentences,
    }
    if is_stored(data):
        found["data"] = name_of(data)
        if not is_task_name(data):
            found["data_xxh3"] = checksum_of(data) or GONE
    for name, given in (held or {}).items():
        found[f"{name}_xxh3"] = (checksum_of(given) or GONE) if is_stored(given) else OBJECT
    if Path(sys.argv[0]).name == "thalweg":
        found["command"] = shlex.join(["thalweg", *sys.argv[1:]])
    return found
