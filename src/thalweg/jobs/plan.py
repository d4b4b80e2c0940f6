"""From settings and a study to the objects of a descent; every default is resolved here."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from thalweg import optim, schedules
from thalweg.jobs import defaults
from thalweg.jobs.finetuning import Tuned, shares_of, tuned
from thalweg.jobs.machine import Machine, machine_of
from thalweg.jobs.place import Place
from thalweg.jobs.prefers import preferred
from thalweg.jobs.settings import Settings
from thalweg.jobs.splits import split_chosen
from thalweg.loop.batches import BatchSize, num_batches
from thalweg.loop.descend import descend
from thalweg.loop.descent import Descent
from thalweg.loop.going import Change
from thalweg.loop.stopping import Until, budget, converged, reached
from thalweg.optim import Optimizer
from thalweg.optim.names import arranged
from thalweg.record import Memory, Record
from thalweg.rules.options import EMA
from thalweg.scale.compiled import OFF
from thalweg.scale.device import choose
from thalweg.scale.exact import deterministic
from thalweg.schedules import Schedule
from thalweg.schedules.plateau import wait_of
from thalweg.tasks.callables import is_callable_name
from thalweg.tasks.measure import look_at
from thalweg.tasks.metrics import Metric, metric_of
from thalweg.tasks.model import check_own, model_of, with_sizes
from thalweg.tasks.models.fits import at_first_sight, check_gradient
from thalweg.tasks.own import with_data
from thalweg.tasks.pretrained import with_shares
from thalweg.tasks.study import Study
from thalweg.tasks.table.source import is_stored
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
    is_own_task: bool = False
    tuned: Tuned | None = None

    @property
    def is_named(self) -> bool:
        """Does the model have a name, from which it can be built again?"""
        return isinstance(self.settings.model, str) and not self.is_own_task

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
        return nullcontext() if is_off else deterministic(lambda name: None, compiles=True)

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
            restore_best=not self.task.phases,
            horizon=settings.horizon,
        )

    def chosen(self, descent: Descent) -> dict[str, Any]:
        """Every setting with the value that was used; one that has no effect is left out."""
        settings = self.settings
        warmup = _warmup(settings)
        used = {
            "target": settings.target,
            "task": None if self.is_own_task else settings.task,
            **split_chosen(settings),
            "separator": settings.separator,
            "text": settings.text,
            "context": settings.context,
            "columns": settings.columns,
            "drop": settings.drop,
            "types": settings.types,
            "schema": settings.schema,
            "image_size": settings.image_size,
            "augment": settings.augment,
            "model": settings.model if self.is_named else None,
            "dropout": settings.dropout,
            "loss": self.task.objective.name if settings.loss is not None else None,
            "metric": self.task.watched.name if settings.metric is not None else None,
            "label_smoothing": settings.label_smoothing,
            "quantiles": settings.quantiles,
            "weights": settings.weights,
            "class_weights": settings.class_weights,
            "init": settings.init,
            "freeze": settings.freeze,
            "layer_decay": settings.layer_decay,
            "forgetting": str(settings.forgetting) if is_stored(settings.forgetting) else None,
            "by": settings.by,
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
            "trials": settings.trials or None,
            "clip": settings.clip,
            "ema": settings.ema or 0,
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


def plan_of(study: Study, settings: Settings, *, owns_process: bool) -> FitPlan:
    """Resolve every setting that was left open; owns_process: may the process's malloc be set?

    Raises UsageError for a setting that does not fit the data.
    """
    settings = preferred(settings, study.prefers)
    model = defaults.MODEL if settings.model is None else settings.model
    settings = replace(settings, model=with_sizes(model, study), **study.resolved)
    rows = len(study.train)
    size = settings.batch_size
    batch_size: Any = defaults.batch_size(rows) if size == "auto" else size
    epochs = settings.epochs
    if epochs is None and settings.steps is None and settings.time is None:
        epochs = defaults.epochs(num_batches(rows, batch_size))
    task = _task(study, settings)
    begun = tuned(task.model, study, settings)
    return FitPlan(
        settings=settings,
        task=task,
        optimizer=_optimizer(task.model, settings, begun),
        batch_size=batch_size,
        epochs=epochs,
        machine=machine_of(task, batch_size, settings, owns_process=owns_process),
        schedule=_schedule(settings),
        until=_until(settings, epochs, may_stop_early=not task.phases),
        is_own_task=study.task is not None,
        tuned=begun,
    )


def _task(study: Study, settings: Settings) -> Task:
    """The model, built from the seed or the user's own, with its data, on its device."""
    if study.task is not None:
        task = with_data(study.task, study, choose(settings.device))
        _try_once(task, study, "the task")
        return task
    model = model_of(study, settings.model, seed=settings.seed, dropout=settings.dropout or 0.0)
    device = choose(settings.device)
    model.to(device)
    train = study.train.to(device)
    check_own(model, settings.model, train, study, seed=settings.seed)
    task = Task(
        model,
        train,
        loss=study.loss,
        validation=study.validation.to(device),
        metrics=study.metrics,
        metric=_metric(study, settings),
        reading=study.reading,
    )
    if _is_own(settings.loss) or _is_own(settings.metric):
        what = "loss" if _is_own(settings.loss) else "metric"
        _try_once(task, study, f"{what} {_name_of(getattr(settings, what))}")
    elif _is_own(settings.model) and study.inputs is not None:
        check_gradient(task, train, f"model {_name_of(settings.model)}")
    return task


def _try_once(task: Task, study: Study, what: str) -> None:
    """What fails of the user's own, fails before anything is written; what: it is."""
    with at_first_sight(what):
        validation = study.validation.to(task.device)
        look_at(task, validation)
        check_gradient(task, validation, what)


def _name_of(given: Any) -> str:
    return given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)


def _is_own(given: Any) -> bool:
    """Is it a function of the user's own, or the name of one?"""
    return callable(given) or (isinstance(given, str) and is_callable_name(given))


def _metric(study: Study, settings: Settings) -> Metric | None:
    """What is watched, of what the study measures; None: the loss."""
    if settings.metric in (None, "loss"):
        return None
    name = metric_of(settings.metric).name
    return next(row for row in study.metrics if row.name == name)


def _optimizer(model: Any, settings: Settings, begun: Tuned | None) -> Optimizer:
    """The optimizer by name; a step that is not finite is never applied, and measured always."""
    name, given = settings.parsed_optimizer
    options = (EMA(settings.ema),) if settings.ema else ()
    params, shares = model, shares_of(settings, begun)
    if shares is not None:
        params = with_shares(arranged(name, model), model, settings.rate, shares)
    return optim.make(
        name, params, given, lr=settings.rate, clip=settings.parsed_clip, options=options
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


def _until(settings: Settings, epochs: float | None, *, may_stop_early: bool) -> Until:
    until: Until = budget(steps=settings.steps, epochs=epochs, time=settings.seconds)
    if may_stop_early:
        until |= converged(_patience(settings))
    return until | reached(**settings.goal) if settings.goal else until


def _patience(settings: Settings) -> int:
    if settings.patience is not None:
        return settings.patience
    return max(defaults.PATIENCE, defaults.FALLS * wait_of(settings.parsed_schedule))


def _steps(warmup: int | float, horizon: int | None) -> int:
    return round(warmup * (horizon or 0)) if isinstance(warmup, float) else warmup
