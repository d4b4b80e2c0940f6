"""Where a run was made: versions, machine, data, and the command to repeat it."""

from __future__ import annotations

import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy
import polars
import sklearn
import torch
import xxhash

from thalweg.version import __version__


def environment_of(data: Any) -> dict[str, Any]:
    """Versions, threads, the data's fingerprint, and the command line where there was one."""
    found = {
        "thalweg": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "polars": polars.__version__,
        "scikit-learn": sklearn.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
    }
    if isinstance(data, str | Path):
        found["data"] = str(data)
        found["data_xxh3"] = _fingerprint(Path(data))
    if Path(sys.argv[0]).name == "thalweg":
        found["command"] = shlex.join(["thalweg", *sys.argv[1:]])
    return found


def _fingerprint(path: Path) -> str:
    hasher = xxhash.xxh3_64()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()
