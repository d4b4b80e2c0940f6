"""The start-up checks of a fit: threads, matmul route and malloc; what each chose, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from thalweg.jobs.settings import Settings
from thalweg.loop.batches import CHUNK, BatchSize
from thalweg.scale import malloc, matmul, threads
from thalweg.scale.choice import Choice
from thalweg.scale.work import PICTURE, Work, work_of
from thalweg.tasks.sources import Arrays
from thalweg.tasks.task import Task
from thalweg.tasks.text.windows import Windows

ASKED = "asked for"


@dataclass(frozen=True, slots=True)
class Machine:
    """How a run uses the processor: three choices, the first two a part of what it computes."""

    threads: Choice
    matmul: Choice
    malloc: Choice

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Threads and route as chosen inside, and as they were afterwards."""
        with threads.threads(int(self.threads.value)), matmul.route(str(self.matmul.value)):
            yield

    @property
    def sentences(self) -> dict[str, str]:
        """Each choice with its reason."""
        return {name: str(choice) for name, choice in self._named.items()}

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """As it stands in JSON."""
        return {
            name: {"chosen": choice.value, "why": choice.why}
            for name, choice in self._named.items()
        }

    @property
    def _named(self) -> dict[str, Choice]:
        return {"threads": self.threads, "matmul": self.matmul, "malloc": self.malloc}


def machine_of(
    task: Task, batch_size: BatchSize, settings: Settings, *, owns_process: bool
) -> Machine:
    """What was asked for, and where nothing was, what a check finds now.

    Raises UsageError for a route that would not compute in float32 here.
    """
    work = _work(task, batch_size)
    elsewhere = None if task.device.type == "cpu" else f"the run computes on {task.device}"
    return Machine(
        _threads(settings, work, elsewhere),
        _matmul(settings, work, elsewhere),
        _malloc(settings, elsewhere, owns_process),
    )


def _work(task: Task, batch_size: BatchSize) -> Work:
    data = task.data
    samples = min(len(data), CHUNK if batch_size == "full" else batch_size)
    if isinstance(data, Windows):
        return work_of(task.model, samples * data.length)
    positions = prod(data.inputs.shape[1:][-2:]) if isinstance(data, Arrays) else PICTURE
    return work_of(task.model, samples, positions)


def _threads(settings: Settings, work: Work, elsewhere: str | None) -> Choice:
    if settings.threads != "auto":
        return Choice(settings.threads, ASKED)
    if elsewhere is not None:
        return threads.unchanged(elsewhere)
    return threads.choose(work)


def _matmul(settings: Settings, work: Work, elsewhere: str | None) -> Choice:
    if elsewhere is not None:
        return Choice(matmul.TORCH, elsewhere)
    if settings.matmul == matmul.ONEDNN:
        return matmul.require(work)
    if settings.matmul == matmul.TORCH:
        return Choice(matmul.TORCH, ASKED)
    return matmul.choose(work)


def _malloc(settings: Settings, elsewhere: str | None, owns_process: bool) -> Choice:
    if malloc.is_tuned():
        return malloc.tune_malloc()
    if settings.malloc == "off":
        return Choice(malloc.LEFT, ASKED)
    if elsewhere is not None:
        return Choice(malloc.LEFT, elsewhere)
    if not owns_process:
        return Choice(malloc.LEFT, "it lasts as long as the process: thalweg.tune_malloc() sets it")
    return malloc.tune_malloc()
