"""descend: from a task, an optimizer and a few settings to a descent that is ready to step."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, get_args

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg.errors import UsageError
from thalweg.loop.batches import Batches, BatchSize, Feed
from thalweg.loop.compiling import compiling_of
from thalweg.loop.descent import Descent
from thalweg.loop.every import every_of
from thalweg.loop.facts import machine_facts
from thalweg.loop.foreign import Foreign, inexact
from thalweg.loop.going import Change, begun, go_on
from thalweg.loop.kept import in_folder, in_memory
from thalweg.loop.step import Stepper
from thalweg.loop.stopping import Until
from thalweg.optim.optimizer import Optimizer
from thalweg.optim.rates import check_optimizer
from thalweg.optim.updater import waits
from thalweg.rules.options import MasterWeights
from thalweg.scale.compiled import OFF, wish_of
from thalweg.scale.precision import Precision, cast, precision_of
from thalweg.schedules import Schedule, constant
from thalweg.schedules.schedule import check_schedule
from thalweg.state.fingerprint import fingerprint_of
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.sources import Arrays, draws_apart
from thalweg.tasks.streams import Stream
from thalweg.tasks.task import Task
from thalweg.types import Event, Mode, Recorder

BATCH_SIZE = 32


def descend(
    task: Task,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: BatchSize | None = None,
    schedule: Schedule | None = None,
    until: Until | None = None,
    seed: int = 0,
    accumulate: int = 1,
    precision: str | Precision = "float32",
    compile: bool | str = False,
    recompute: bool = False,
    workers: int = 0,
    guard: Mode = "advise",
    evaluate_every: int | None = None,
    record: Recorder | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool | Change = False,
    exact: bool = False,
    checkpoint_every: int | str = "60s",
    keep: int = 2,
    restore_best: bool = False,
    horizon: int | None = None,
) -> Descent:
    """Train `task.model` step by step: an iterator of `Step`, and a context manager that closes it.

    optimizer: thalweg's or any torch optimizer over the model's parameters
    batch_size: samples a gradient sees, >= 1, by default 32; "full" is the exact gradient of the
    whole set; where the data is a loader, its batches are taken as they come
    schedule: factor of the learning rate, such as warmup(100) >> cosine(); constant by default;
    plateau() looks at the validation losses
    until: when to end, such as budget(epochs=20) | converged(patience=5); None: until you break
    seed: of the order of the samples, of what they draw (augmentation) and of dropout
    accumulate: parts in which a batch is computed, one after the other, so that a larger batch fits
    in memory: the gradient is that of the whole batch. Of a loader, so many of its batches make one
    precision: "float32", or "bf16" and "fp16", which torch applies where it finds them safe; or
    "bf16-weights": the model itself becomes bfloat16, and the optimizer, one of thalweg's, takes
    its steps on float32 weights (option MasterWeights, unless it has another way of rounding)
    compile: run forward pass and loss through torch.compile, which needs a C++ compiler, where a
    short measurement at the start shows a gain; "on": without measuring. Evaluations are not
    compiled. Compiled steps equal others to rounding, and each other to the bit
    recompute: compute what is inside of the model's blocks again in the backward pass instead of
    keeping it (activation checkpointing): less memory, a third to a half more time, the same bits
    workers: processes that fetch samples of a Dataset ahead; 0: fetched when asked for
    guard: "act" skips steps that are outliers, goes back to a snapshot and lowers the rate where a
    run goes wrong, for which it keeps two copies of the weights and the optimizer's state; "advise"
    says what it would do, and applies no step that is not finite; "off"
    evaluate_every: steps between evaluations; by default an epoch, within 20 .. 1,000
    record: where to write what happens, such as Record("runs/mine"); by default the memory
    folder: where to keep the record and checkpoints, such as "runs/mine"
    resume: go on from the newest checkpoint in `folder`, to the bit as if the run had never
    stopped; where there is none yet it starts. A Change says what is otherwise on purpose
    exact: refuse to resume on a machine where the last bits would be others; else that is said
    checkpoint_every: steps between checkpoints, or a time such as "60s"; the last `keep` and the
    best are kept
    restore_best: at the end, give the model the weights that did best on the validation set, by its
    loss or by the metric that the task watches
    horizon: planned number of steps, for the schedule; by default from `until`
    Raises UsageError for a setting out of range, RunError for a run that cannot be resumed.

    >>> import torch, thalweg
    >>> x = torch.linspace(-1, 1, 100).reshape(-1, 1)
    >>> net = torch.nn.Linear(1, 1)
    >>> task = thalweg.Task(net, (x, 3 * x), loss="mse")
    >>> optimizer = thalweg.SGD(net.parameters(), lr=0.5)
    >>> with thalweg.descend(task, optimizer, until=thalweg.budget(steps=100)) as descent:
    ...     for step in descent:
    ...         pass
    >>> step.number, round(net.weight.item(), 2)
    (100, 3.0)
    """
    check_optimizer(optimizer)
    _check_counts(evaluate_every=evaluate_every, horizon=horizon, accumulate=accumulate, keep=keep)
    _check_choices(seed, workers, guard, recompute)
    _check_phases(task, compile, restore_best=restore_best)
    _check_looks(task, schedule, until)
    _check_place(folder, record, resume=bool(resume))
    if task.validation is None and (evaluate_every is not None or restore_best):
        text = "evaluate_every and restore_best have no effect: the task has no validation data"
        warnings.warn(text, stacklevel=2)
    every, wish = every_of(checkpoint_every), wish_of(compile)
    chosen = precision_of(precision)
    feed = _feed(task, batch_size, int(seed), accumulate, workers)
    stepper = Stepper(task, optimizer, int(seed), chosen, recompute=recompute)
    _cast(task, optimizer, chosen)
    descent = Descent(stepper, feed)
    descent.plan(constant() if schedule is None else schedule, until, horizon)
    descent.watch(evaluate_every, restore_best)
    descent.protect("off" if task.phases else guard)
    change = resume if isinstance(resume, Change) else None
    found = begun(Path(folder), change) if folder is not None and resume else None
    saved = None if found is None else found.saved
    compiling = descent.compiling = compiling_of(stepper, feed, wish, descent.horizon, saved)
    facts: dict[str, Any] = {}
    events: list[Event] = []
    if folder is None:
        kept = in_memory(record)
    else:
        given = {"batch_size": batch_size, "accumulate": accumulate, "seed": int(seed)}
        given |= {"precision": stepper.precision.name}
        given |= compiling.settings_facts(recompute=recompute)
        facts = _facts(descent, schedule, given)
        if saved is not None:  # what can be refused is, before writing
            events = go_on(descent, saved, facts, exact=exact, change=change)
        kept = in_folder(folder, found=found, every=every, keep=keep, tell=descent.hear)
    try:
        descent.keep(kept, facts, events)
    except BaseException:
        kept.close()
        raise
    if isinstance(feed, Batches) and feed.workers is not None:
        feed.workers.tell = lambda text: descent.tell(Event(descent.progress.steps, "worker", text))
    if compiling.loss is not None:
        compiling.loss.tell = lambda text: _gave_up(descent, facts, text)
    begins = kept.is_new or saved is None  # or begins again: what was told then is gone with it
    notices = [*compiling.notices(is_new=begins), *(_notices(task, feed) if begins else ())]
    if begins:
        notices += _told_first(descent, guard)
    for notice in notices:
        descent.tell(Event(descent.progress.steps, "notice", notice))
    return descent


def _told_first(descent: Descent, guard: Mode) -> list[str]:
    """What is to be known of how the run is watched, a line each."""
    is_watched = guard != "off"
    told = {
        descent.averaged.notice: True,
        _WAITS: is_watched and waits(descent.optimizer),
        _UNWATCHED: is_watched and bool(descent.task.phases),
    }
    return [text for text, is_so in told.items() if text and is_so]


def _gave_up(descent: Descent, facts: dict[str, Any], text: str) -> None:
    """Steps are compiled no more, which a resume would not know: say so, also in checkpoints."""
    descent.hear(f"not exact: compiled no more from here on, but by a resume: {text}")
    if facts:
        facts["machine"]["compiled"] = "no"


def _cast(task: Task, optimizer: torch.optim.Optimizer, precision: Precision) -> None:
    """Give the model weights of 16 bits if asked, and the optimizer a way to lose no small steps.

    Raises UsageError for an optimizer of another kind, which would lose them.
    """
    if precision.weights is None:
        return
    if not isinstance(optimizer, Optimizer):
        raise UsageError(
            f"precision={precision.name!r} needs an optimizer that keeps float32 weights, and "
            f"{type(optimizer).__module__}.{type(optimizer).__name__} does not: take thalweg's of "
            "that name, or precision='bf16'"
        )
    for group in optimizer.param_groups:
        if all(option.group != MasterWeights.group for option in group["options"]):
            group["options"] = (*group["options"], MasterWeights())
    cast(task.model, precision.weights)
    task.half = precision.weights


def _facts(descent: Descent, schedule: Schedule | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a resumed run must have in common with this one, and what it should."""
    settings = {
        **_data_facts(descent.task),
        **given,
        "optimizer": type(descent.optimizer).__name__,
        "evaluate_every": descent.evaluate_every,
    }
    if schedule is not None:
        settings |= _sampled(schedule, descent.horizon)
    machine = machine_facts(descent.task.device) | descent.compiling.machine_facts()
    return {"settings": settings, "machine": machine}


def _sampled(schedule: Schedule, horizon: int | None) -> dict[str, Any]:
    """A schedule by its horizon and some values: "warmup(0.1)" and "warmup(10)" may be the same."""
    steps = (
        [1, 10, 100, 1000] if horizon is None else [1, *(-(-horizon * k // 8) for k in range(1, 9))]
    )
    factors = [round(schedule(step, horizon), 12) for step in dict.fromkeys(steps)]
    found: dict[str, Any] = {"schedule's factors": factors}
    return {**found, "horizon": horizon} if schedule.needs_horizon else found


def _data_facts(task: Task) -> dict[str, Any]:
    """What the data is: its size, and a fingerprint where it lies in memory."""
    data = task.data
    if isinstance(data, Stream):
        return {"loader's batches": data.num_batches}
    facts: dict[str, Any] = {"samples": len(data)}
    if isinstance(data, Arrays):
        weights = [] if data.weights is None else [data.weights]
        facts["data"] = fingerprint_of([data.inputs, data.targets, *weights])
    if isinstance(data, PictureSource):
        facts["data"] = data.checksum
    return facts


def _feed(
    task: Task, batch_size: BatchSize | None, seed: int, accumulate: int, workers: int
) -> Feed:
    """What gives the batches. Raises UsageError for sizes that the data does not have."""
    data = task.data
    if isinstance(data, Stream):
        if batch_size is not None or workers:
            raise UsageError(
                "batch_size and workers have no effect: the data is a loader, which makes its own "
                "batches: set them there, and join several by accumulate="
            )
        return Foreign(data.to(task.device), seed, num_shards=accumulate)
    size = BATCH_SIZE if batch_size is None else batch_size
    if size != "full" and not _is_count(size):
        raise UsageError(f'batch_size is {size!r}: it must be 1 or more, or "full"')
    if size != "full" and accumulate > size:
        raise UsageError(
            f"accumulate is {accumulate}, but a batch has only {size} samples to be split: it is "
            "the number of parts in which one batch is computed"
        )
    return Batches(
        data if workers else data.to(task.device),
        "full" if size == "full" else int(size),
        seed,
        num_shards=accumulate,
        num_workers=workers,
        device=task.device,
    )


def _notices(task: Task, feed: Feed) -> list[str]:
    """What is not exact here, a line each."""
    found = []
    if isinstance(task.data, Stream):
        found.append(inexact(task.data))
    elif draws_apart(task.data):
        found.append(_DRAWS_APART)
    is_split = isinstance(feed, Batches) and feed.is_split
    is_joined = isinstance(feed, Foreign) and feed.num_shards > 1
    if (is_split or is_joined) and any(isinstance(m, _BatchNorm) for m in task.model.modules()):
        found.append(_BATCH_NORM)
    return [f"not exact: {text}" for text in found if text]


_BATCH_NORM = (
    "the batch is computed in parts, and batch norm takes its statistics from each part apart"
)
_UNWATCHED = (
    "the guard only keeps steps that are not finite from being applied: the losses of networks "
    "that are trained against each other do not say what goes wrong"
)
_WAITS = (
    "every step waits for the device: the guard decides on the host whether this optimizer's step "
    "is taken; with fused=True, or an optimizer of thalweg's, it is decided on the device"
)
_DRAWS_APART = (
    "the data draws from a generator of its own (the first sample, fetched twice under one seed, "
    "differs), so that a resumed run sees other samples: draw from torch's, NumPy's or Python's "
    "own generators"
)


def _check_phases(task: Task, compile: bool | str, *, restore_best: bool) -> None:
    """Raise UsageError for what makes no sense where networks are trained in turns."""
    if task.phases and wish_of(compile) != OFF:
        raise UsageError("compile: the steps of a task in phases are not compiled; leave it out")
    if task.phases and restore_best:
        raise UsageError(
            "restore_best: the losses of networks that are trained against each other do not say "
            "which weights are best; leave it out"
        )


def _check_choices(seed: Any, workers: Any, guard: Any, recompute: Any) -> None:
    if not isinstance(seed, Integral):
        raise UsageError(f"seed is {seed!r}: it must be a whole number")
    if not _is_count(workers, least=0):
        raise UsageError(f"workers is {workers!r}: it must be a whole number, 0 or more")
    if not isinstance(recompute, bool):
        raise UsageError(f"recompute is {recompute!r}: it must be True or False")
    if guard not in get_args(Mode):
        raise UsageError(f"guard is {guard!r}: it must be {', '.join(get_args(Mode))}")


def _check_place(folder: Any, record: Any, *, resume: bool) -> None:
    if folder is None and resume:
        raise UsageError("resume=True needs a folder to go on from: folder='runs/mine'")
    if folder is not None and record is not None:
        raise UsageError("give a folder, which holds its own record, or a record; not both")


def _check_counts(**counts: Any) -> None:
    for name, count in counts.items():
        if count is not None and not _is_count(count):
            raise UsageError(f"{name} is {count!r}: it must be a whole number, 1 or more")


def _check_looks(task: Task, schedule: Schedule | None, until: Until | None) -> None:
    """Raise UsageError for what looks at a validation set that is not there."""
    if schedule is not None:
        check_schedule(schedule)
    if until is not None and until.looks_at_validation and task.validation is None:
        raise UsageError(
            "until=converged(...) and reached(...) look at the validation set, and the task has "
            "none: give Task(..., validation=...), or only a budget"
        )
    if schedule is not None and schedule.needs_evaluations and task.validation is None:
        raise UsageError(
            f"schedule={schedule} looks at the validation loss, and the task has no validation "
            "data: give Task(..., validation=...), or another schedule, such as cosine()"
        )


def _is_count(value: object, least: int = 1) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
