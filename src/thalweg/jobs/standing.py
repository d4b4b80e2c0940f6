"""A run of ours as one of its checkpoints left it, to try things from; the run is only read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thalweg.jobs.longer import Longer, changed
from thalweg.jobs.old import Old
from thalweg.jobs.place import opened
from thalweg.jobs.plan import plan_of
from thalweg.jobs.resume import change_of
from thalweg.jobs.settings import Settings
from thalweg.jobs.study import Study
from thalweg.jobs.wish import Wish
from thalweg.loop.descent import Descent
from thalweg.loop.going import Change


@dataclass(frozen=True, slots=True)
class Stand:
    """begin: the step of the checkpoint, None: the start; settings: what is changed, by name;
    longer: beyond the run's own budget, for a checkpoint of its end
    """

    old: Old
    study: Study
    begin: int | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    longer: Longer | None = None


@contextmanager
def standing(where: Stand) -> Iterator[Descent]:
    """The descent that goes on from there, in a folder that is removed afterwards."""
    old, begin = where.old, where.begin
    chosen = Settings.of(changed(old.chosen, where.settings))
    change: Change | None = None
    if begin is not None:
        wish = Wish(from_step=begin, settings=where.settings, longer=where.longer)
        chosen, change = change_of(old, wish, chosen, len(where.study.train))
    plan = plan_of(where.study, replace(chosen, guard="advise"), owns_process=False)
    origin = {} if begin is None else {"parent": {"run": str(old.folder.path), "step": begin}}
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-try-") as folder,
        plan.machine.applied(),
        opened(folder, "try", "try", origin) as place,
        plan.descend(place, change=change) as descent,
    ):
        yield descent


def last_good(path: Path, before: float) -> int | None:
    """The newest checkpoint from before a step; None: there is none."""
    return max((step for step in steps_of(path) if step < before), default=None)


def steps_of(path: Path) -> Iterator[int]:
    """Of the checkpoints that are there."""
    for folder in (path / "checkpoints").glob("step-*"):
        yield int(folder.name.removeprefix("step-"))
