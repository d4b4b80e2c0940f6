"""Functions that a run's folder names: called only where they are the user's own.

A folder may come from anybody, and `module:function` in its run.toml is code that would be run.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from thalweg.errors import RunError
from thalweg.tasks.callables import is_callable_name

NAMES = ("model", "loss", "metric")


def check_functions(settings: Path, chosen: Mapping[str, Any], task: str | None = None) -> None:
    """Raise RunError where run.toml (`settings`) names a function outside of the current folder.

    task: the function that makes the run's task, if one does
    """
    named = {name: chosen.get(name) for name in NAMES} | {"data": task}
    for name, value in named.items():
        if isinstance(value, str) and is_callable_name(value) and not _is_here(value):
            raise RunError(
                f"{settings} names {name} {value!r}, and no file of the current folder holds it: "
                "go to the folder where the run was made; or bring it from Python, as an object"
            )


def _is_here(name: str) -> bool:
    """Does its module lie in the current folder, or in a package there? Nothing is imported."""
    here = Path.cwd()
    found = PathFinder.find_spec(name.partition(":")[0].partition(".")[0], [str(here)])
    places = [] if found is None else [found.origin, *(found.submodule_search_locations or ())]
    return any(place is not None and Path(place).is_relative_to(here) for place in places)
