"""What surrounds a measurement: the machine's facts, the plain table, the JSON file."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PACKAGES = (
    "thalweg",
    "torch",
    "numpy",
    "scikit-learn",
    "skorch",
    "lightning",
    "pytorch-ignite",
    "accelerate",
    "transformers",
    "torchdata",
    "numba",
    "pytorch_optimizer",
    "heavyball",
    "timm",
    "lion-pytorch",
)

RESULTS = Path(__file__).parent / "results"

IMPORTS = "import thalweg.cli.main, thalweg.jobs.fit, sklearn.tree, sklearn.metrics, numba"
"""What a fit imports."""


def compile_modules(folder: Path) -> None:
    """Let commands find their modules compiled, as an installation leaves them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def machine(*, threads: int) -> dict[str, Any]:
    """Processor, cores, threads used, load at the start, and versions; nothing that names it."""
    return {
        "cpu": cpu_model(),
        "cores": num_cores(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := version(name))},
    }


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_model() -> str:
    """The processor's name, from Linux's /proc where there is one."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def version(package: str) -> str | None:
    """The installed version, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def warn_if_busy() -> None:
    """Say so when other work shares the machine: the numbers would be about that too."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(
            f"notice: load {load:.1f} on {num_cores()} cores; timings will be off", file=sys.stderr
        )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, the first flush left and the others flush right."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write a report with one line for each item of its lists, so that changes can be read."""
    fields = [f"  {json.dumps(key)}: {field(value)}" for key, value in report.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(fields) + "\n}\n")


def field(value: Any) -> str:
    """A value as JSON: a list of objects over several lines, anything else on one."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"
