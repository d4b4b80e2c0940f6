"""A run that is there already: what its folder says of it, and whether it can be gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.errors import RunError
from thalweg.jobs.data import checksum_of, data_again
from thalweg.jobs.environment import OBJECT
from thalweg.jobs.finetuning import path_of
from thalweg.jobs.settings import Settings
from thalweg.jobs.trust import check_functions
from thalweg.record import History, read
from thalweg.rules.clips import NO_CLIP
from thalweg.state import folder as files
from thalweg.state.folder import Folder, origin_of
from thalweg.tasks.metrics import is_metric_named
from thalweg.tasks.objectives import is_named
from thalweg.version import __version__


@dataclass(frozen=True, slots=True)
class Old:
    """A run that is there: its folder, its settings, what was given as an object, its record."""

    folder: Folder
    chosen: dict[str, Any]
    source: str | None
    objects: dict[str, Any]
    origin: dict[str, Any]
    history: History

    @property
    def status(self) -> str:
        """How it ended; empty where it did not."""
        return str(self.history.results.get("summary", {}).get("status", ""))

    @property
    def num_steps(self) -> int:
        numbers = self.history.steps["number"]
        return int(numbers[-1]) if len(numbers) else 0

    def check_data(self, given: Any) -> Any:
        """The data to train on. Raises RunError where it is not there, or not the run's."""
        known = self.history.environment.get("data_xxh3")
        return data_again(self.folder.path, self.source, given, known)

    def check_held(self) -> None:
        """Raises RunError where what validated and tested, or what the weights began with, is not
        there any more, or not the same.

        It is named by run.toml, or was given as an object.
        """
        for name in ("validation", "test", "init"):
            known, data = self.history.environment.get(f"{name}_xxh3"), self.chosen.get(name)
            if known == OBJECT and name not in self.objects:
                raise RunError(
                    f"the {name} data of {self.folder.path} was given as an object: bring it again "
                    f"from Python, thalweg.resume(run, data, {name}=the same)"
                )
            if known in (None, OBJECT) or data is None:
                continue
            data = path_of(data) if name == "init" else data
            if not Path(data).exists():
                raise RunError(f"{data}, the {name} data of {self.folder.path}, is not there now")
            if known != checksum_of(data):
                raise RunError(
                    f"{data}, the {name} data, has changed since {self.folder.path} began (its "
                    "checksum differs): bring the old file back, or begin a new run"
                )


def old_of(folder: Folder, objects: Mapping[str, Any]) -> Old:
    """What a run's folder says of it. Raises RunError where it is damaged or of another version."""
    if folder.is_finished:
        has_log = not (folder.path / files.RECORD).is_file()
        for name in (files.SETTINGS, files.LOG if has_log else files.RECORD):
            folder.check(name)
    values = folder.read_toml(files.SETTINGS)
    path = folder.path / files.SETTINGS
    if values.get("schema") != 1:
        raise RunError(
            f"{path} is of schema {values.get('schema')!r}, and thalweg {__version__} reads schema "
            "1: resume it with the version that wrote it"
        )
    if "tool" in values:
        raise RunError(
            f"{folder.path} is the record of a training in another tool's loop ({values['tool']}): "
            "go on with it there, from one of its checkpoints"
        )
    chosen, data = values.get("settings"), values.get("data")
    if not isinstance(chosen, dict) or not isinstance(data, str | None):
        raise RunError(f"{path} is damaged: it needs a [settings] table")
    chosen.setdefault("ema", 0)  # where it says nothing there was none, whatever is usual now
    if not values.get("is_task") and chosen.get("task") != "lm":
        chosen.setdefault("label_smoothing", 0)
    if chosen.get("task") == "lm":
        chosen.setdefault("clip", NO_CLIP)
    check_functions(path, chosen, data if values.get("is_task") else None)
    given = {name: value for name, value in objects.items() if value is not None}
    is_own = {
        "model": "model" not in chosen and not values.get("is_task"),
        "loss": not is_named(chosen.get("loss", "mse")),
        "metric": not is_metric_named(chosen.get("metric", "loss")),
    }
    for name in (name for name, is_own in is_own.items() if is_own and name not in given):
        raise RunError(
            f"the {name} of {folder.path} was given as an object: bring it again from Python, "
            f"thalweg.resume(run, data, {name}=the same)"
        )
    try:
        Settings.of({**chosen, **given})
    except ValueError as error:
        raise RunError(f"{path} cannot be used: {error}") from None
    return Old(folder, chosen, data, given, origin_of(values), read(folder.path))
