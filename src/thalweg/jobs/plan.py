"""From settings and data to the objects of a descent; every default is resolved here."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg import optim, schedules
from thalweg.errors import DataError, UsageError
from thalweg.jobs import defaults
from thalweg.jobs.machine import Machine, machine_of
from thalweg.jobs.place import Place
from thalweg.jobs.schema_file import given_schema
from thalweg.jobs.settings import Settings
from thalweg.loop.batches import BatchSize, num_batches
from thalweg.loop.descend import descend
from thalweg.loop.descent import Descent
from thalweg.loop.going import Change
from thalweg.loop.stopping import Until, budget, converged, reached
from thalweg.optim import Optimizer
from thalweg.record import Memory, Record
from thalweg.rules.options import EMA
from thalweg.scale.compiled import OFF
from thalweg.scale.device import choose
from thalweg.scale.exact import deterministic
from thalweg.schedules import Schedule
from thalweg.schedules.plateau import wait_of
from thalweg.tasks.arrays import of_arrays
from thalweg.tasks.models import build, check_module
from thalweg.tasks.study import Study
from thalweg.tasks.table.asked import Asked, text_columns
from thalweg.tasks.table.names import names_of, pairs_of
from thalweg.tasks.table.read import frame_of_arrays, read_table
from thalweg.tasks.table.study import of_table
from thalweg.tasks.task import Task


@dataclass(frozen=True, slots=True)
class FitPlan:
    """All that a fit is going to do."""

    settings: Settings
    task: Task
    optimizer: Optimizer
    batch_size: BatchSize
    epochs: float | None
    machine: Machine
    schedule: Schedule
    until: Until

    def descend(
        self, place: Place, *, exact: bool = False, change: Change | None = None
    ) -> Descent:
        """The descent, which writes at this place; a run that is there already goes on.

        exact: refuse another machine than the one it ran on
        change: what it does otherwise than the run that it goes on from
        """
        with self._compiling():
            descent = self._descent(place, exact, change)
        assert isinstance(descent.record, Record | Memory)
        place.record = descent.record
        return descent

    def _compiling(self) -> AbstractContextManager[None]:
        """Where steps are compiled, it is for the operations that they are going to run with."""
        is_off = self.settings.compile == OFF
        return nullcontext() if is_off else deterministic(lambda name: None)

    def _descent(self, place: Place, exact: bool, change: Change | None) -> Descent:
        settings = self.settings
        return descend(
            self.task,
            self.optimizer,
            batch_size=self.batch_size,
            schedule=self.schedule,
            until=self.until,
            seed=settings.seed,
            accumulate=settings.accumulate,
            precision=settings.precision,
            compile=settings.compile,
            recompute=settings.recompute,
            workers=settings.workers,
            guard=settings.guard,  # pyright: ignore[reportArgumentType]
            evaluate_every=settings.evaluate_every,
            folder=None if place.folder is None else place.folder.path,
            resume=not place.is_new if change is None else change,
            exact=exact,
            checkpoint_every=settings.checkpoint_every,
            keep=settings.keep,
            restore_best=True,
            horizon=settings.horizon,
        )

    def chosen(self, descent: Descent) -> dict[str, Any]:
        """Every setting with the value that was used; one that has no effect is left out."""
        settings = self.settings
        warmup = _warmup(settings)
        used = {
            "target": settings.target,
            "task": settings.task,
            "separator": settings.separator,
            "columns": settings.columns,
            "drop": settings.drop,
            "types": settings.types,
            "schema": settings.schema,
            "model": settings.model if isinstance(settings.model, str) else None,
            "loss": self.task.objective.name if settings.loss is not None else None,
            "optimizer": settings.optimizer,
            "lr": settings.rate,
            "schedule": settings.schedule_text,
            "warmup": None if warmup is None else _steps(warmup, descent.horizon),
            "batch_size": self.batch_size,
            "accumulate": settings.accumulate if settings.accumulate > 1 else None,
            "precision": settings.precision if settings.precision != "float32" else None,
            "compile": descent.compiling.value if settings.compile != OFF else None,
            "recompute": settings.recompute or None,
            "workers": settings.workers or None,
            "guard": settings.guard if settings.guard != "act" else None,
            "clip": settings.clip,
            "ema": settings.ema,
            "epochs": self.epochs,
            "steps": settings.steps,
            "time": settings.time,
            "until": settings.until,
            "patience": _patience(settings),
            "evaluate_every": descent.evaluate_every,
            "checkpoint_every": settings.checkpoint_every,
            "keep": settings.keep,
            "seed": settings.seed,
            "device": settings.device,
            "threads": self.machine.threads.value,
            "matmul": self.machine.matmul.value,
            "malloc": settings.malloc,
            "horizon": descent.horizon if settings.time is not None else settings.horizon,
        }
        return {name: value for name, value in used.items() if value is not None}


def study_of(data: Any, settings: Settings) -> Study:
    """The data made ready: a table, or for a model of the user's own arrays as they are."""
    is_own_model = not isinstance(settings.model, str)
    if isinstance(data, str | Path) or hasattr(data, "columns"):
        if is_own_model:
            raise UsageError("a model of your own needs arrays: fit((X, y), model=net, loss=...)")
        if settings.target is None:
            raise UsageError("no target was given: name the column to predict, --target COL")
        name = str(data) if isinstance(data, str | Path) else "the data"
        asked = _asked(settings, settings.target)
        return of_table(read_table(data, texts=text_columns(asked)), asked, source=name)
    if is_own_model:
        loss = settings.loss or "cross_entropy"
        return of_arrays(data, loss=loss, seed=settings.seed, share=defaults.SHARE)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise DataError(
            f"data is a {type(data).__name__}: give a path, a frame or (inputs, targets); "
            "for a Dataset bring a model of your own, fit(dataset, model=net, loss=...)"
        )
    return of_table(frame_of_arrays(*data), _asked(settings, "y"), source="data")


def _asked(settings: Settings, target: str) -> Asked:
    return Asked(
        target=target,
        task=settings.task,
        seed=settings.seed,
        share=defaults.SHARE,
        separator=settings.separator,
        drop=names_of(settings.drop or ""),
        columns=names_of(settings.columns or ""),
        types=pairs_of(settings.types or "", "types"),
        given=given_schema(settings.schema) if settings.schema else {},
    )


def plan_of(study: Study, settings: Settings, *, owns_process: bool) -> FitPlan:
    """Resolve every setting that was left open; owns_process: may the process's malloc be set?

    Raises UsageError for a setting that does not fit the data.
    """
    _check_fit(study, settings)
    rows = len(study.train)
    size = settings.batch_size
    batch_size: Any = defaults.batch_size(rows) if size == "auto" else size
    epochs = settings.epochs
    if epochs is None and settings.steps is None and settings.time is None:
        epochs = defaults.epochs(num_batches(rows, batch_size))
    task = _task(study, settings)
    return FitPlan(
        settings=settings,
        task=task,
        optimizer=_optimizer(task.model, settings),
        batch_size=batch_size,
        epochs=epochs,
        machine=machine_of(task, batch_size, settings, owns_process=owns_process),
        schedule=_schedule(settings),
        until=_until(settings, epochs),
    )


def _check_fit(study: Study, settings: Settings) -> None:
    """Raise UsageError for a loss or a goal that the data's task does not have."""
    if settings.loss not in (None, study.loss):
        raise UsageError(
            f"loss {settings.loss!r} does not fit: {study.kind} of a table is trained with "
            f"{study.loss}; leave the loss out, or choose another task"
        )
    measured = ["loss", *(metric.name for metric in study.metrics)]
    for name in settings.goal:
        if name not in measured:
            raise UsageError(
                f"until: {name!r} is not measured here, so it cannot be reached: "
                f"choose one of {', '.join(measured)}"
            )


def _task(study: Study, settings: Settings) -> Task:
    """The model, built from the seed or the user's own, with its data, on its device."""
    model = settings.model
    if isinstance(model, str):
        num_inputs = study.schema.width if study.schema else study.num_features
        model = build(model, num_inputs, study.num_outputs, seed=settings.seed)
    check_module(model)
    device = choose(settings.device)
    model.to(device)
    return Task(
        model,
        study.train.to(device),
        loss=study.loss,
        validation=study.validation.to(device),
        metrics=study.metrics,
    )


def _optimizer(model: Any, settings: Settings) -> Optimizer:
    """The optimizer by name; a step that is not finite is never applied, and measured always."""
    name, given = settings.parsed_optimizer
    options = () if settings.ema is None else (EMA(settings.ema),)
    return optim.make(
        name, model, given, lr=settings.rate, clip=settings.parsed_clip, options=options
    )


def _schedule(settings: Settings) -> Schedule:
    """The schedule with the warm-up before it, unless it has one of its own."""
    schedule, warmup = settings.parsed_schedule, _warmup(settings)
    return schedule if warmup is None else schedules.warmup(warmup) >> schedule


def _warmup(settings: Settings) -> int | float | None:
    """Steps or share of the warm-up to add; None where the schedule has its own."""
    if settings.parsed_schedule.warms_up:
        return None
    return settings.warmup if settings.warmup is not None else defaults.WARMUP


def _until(settings: Settings, epochs: float | None) -> Until:
    until = budget(steps=settings.steps, epochs=epochs, time=settings.seconds) | converged(
        _patience(settings)
    )
    return until | reached(**settings.goal) if settings.goal else until


def _patience(settings: Settings) -> int:
    if settings.patience is not None:
        return settings.patience
    return max(defaults.PATIENCE, defaults.FALLS * wait_of(settings.parsed_schedule))


def _steps(warmup: int | float, horizon: int | None) -> int:
    return round(warmup * (horizon or 0)) if isinstance(warmup, float) else warmup
