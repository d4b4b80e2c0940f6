"""The descent: an iterator of steps, and the one corridor that each of them walks.

    batch -> forward -> loss -> backward -> update -> step -> guard -> record

Everything behind "step" looks at blocks of drained steps, in the order in which it is written here.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from numbers import Integral
from types import TracebackType

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg import guard
from thalweg.errors import UsageError
from thalweg.health.improvement import num_without_improvement
from thalweg.loop.batches import Batches, BatchSize, Position
from thalweg.loop.evaluate import Evaluator
from thalweg.loop.pace import pace_of
from thalweg.loop.step import Statistics, take_step
from thalweg.loop.stopping import Ending, Planned, Until
from thalweg.optim.averages import show, shown
from thalweg.optim.rates import Rates, check_optimizer
from thalweg.optim.updater import updater
from thalweg.record import Memory
from thalweg.schedules import Schedule, constant
from thalweg.schedules.schedule import check_schedule
from thalweg.state.weights import Weights
from thalweg.tasks.task import Task
from thalweg.types import Action, Evaluation, Event, Measures, Progress, Recorder, Status, Step

DRAIN_EVERY = {"cpu": 1}
"""Steps between drains by device; any other device: 32."""

EVALUATE_AT_LEAST, EVALUATE_AT_MOST = 20, 1000
"""Bounds of the steps between evaluations, whose default is one epoch."""


def descend(
    task: Task,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: BatchSize = 32,
    schedule: Schedule | None = None,
    until: Until | None = None,
    seed: int = 0,
    evaluate_every: int | None = None,
    record: Recorder | None = None,
    restore_best: bool = False,
    horizon: int | None = None,
) -> Descent:
    """Train `task.model` step by step: an iterator of `Step`, and a context manager that closes it.

    optimizer: thalweg's or any torch optimizer over the model's parameters
    batch_size: samples a gradient sees, >= 1; "full" is the exact gradient of the whole set
    schedule: factor of the learning rate, such as warmup(100) >> cosine(); constant by default;
    plateau() looks at the validation losses
    until: when to end, such as budget(epochs=20) | converged(patience=5); None: until you break
    seed: of the order of the samples and of dropout
    evaluate_every: steps between evaluations; by default an epoch, within 20 .. 1,000
    record: where to write, such as Record("runs/mine"); by default the memory
    restore_best: at the end, give the model the weights of its lowest validation loss
    horizon: planned number of steps, for the schedule; by default from `until`
    Raises UsageError for a setting out of range.

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
    if batch_size != "full" and not _is_count(batch_size):
        raise UsageError(f'batch_size is {batch_size!r}: it must be 1 or more, or "full"')
    if not isinstance(seed, Integral):
        raise UsageError(f"seed is {seed!r}: it must be a whole number")
    for name, count in (("evaluate_every", evaluate_every), ("horizon", horizon)):
        if count is not None and not _is_count(count):
            raise UsageError(f"{name} is {count!r}: it must be a whole number, 1 or more")
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
    if task.validation is None and (evaluate_every is not None or restore_best):
        text = "evaluate_every and restore_best have no effect: the task has no validation data"
        warnings.warn(text, stacklevel=2)
    batch_size, seed = "full" if batch_size == "full" else int(batch_size), int(seed)
    batches = Batches(task.data.to(task.device), batch_size, seed)
    descent = Descent(task, optimizer, batches, record or Memory(), seed)
    descent.plan(schedule or constant(), until, horizon)
    descent.watch(evaluate_every, restore_best)
    if batches.is_chunked and any(isinstance(m, _BatchNorm) for m in task.model.modules()):
        descent.tell(Event(0, "notice", _INEXACT))
    return descent


class Descent:
    """An iterator of steps: `break` and iterating again goes on; closing flushes the record.

    ending: None while it runs, then why it ended
    horizon: the planned number of steps, or None
    evaluations, events: those of the validation set, and what happened, so far
    """

    def __init__(
        self,
        task: Task,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        record: Recorder,
        seed: int,
    ):
        self.task = task
        self.optimizer = optimizer
        self.batches = batches
        self.record = record
        self.seed = seed
        self.ending: Ending | None = None
        self.evaluations: list[Evaluation] = []
        self.events: list[Event] = []
        self.horizon: int | None = None
        self.best: Weights | None = None
        self._update = updater(optimizer)
        self._statistics = Statistics(task.model)
        self._num_stale = 0
        self._position = Position()
        self._number = 0
        self._samples = 0
        self._started: float | None = None
        self._undrained: list[Step] = []
        self._device = task.device
        self._rising = frozenset(metric.name for metric in task.metrics if metric.rises)
        self._drain_every = DRAIN_EVERY.get(self._device.type, 32)
        self._generator: Tensor | None = torch.get_rng_state()
        self._step: Step | None = None
        self._wish: Ending | None = None
        self._is_closed = False

    def plan(self, schedule: Schedule, until: Until | None, horizon: int | None) -> None:
        """Fix the horizon, once, and with it every step's learning rate."""
        self._until = until
        self.horizon = horizon
        if horizon is None and until is not None:
            must_time = until.is_timed and schedule.needs_horizon
            pace = pace_of(self.task, self.optimizer, self.batches, self.seed, must_time=must_time)
            self.horizon = until.horizon(pace)
        if until is not None and until.is_timed and self.horizon is not None:
            self._until = until | Planned(self.horizon)
        schedule(1, self.horizon)
        self._rates = Rates(self.optimizer, schedule, self.horizon)

    def watch(self, evaluate_every: int | None, restore_best: bool) -> None:
        """Evaluate the validation set every so many steps; keep the best weights if asked."""
        epoch = min(max(self.batches.per_epoch, EVALUATE_AT_LEAST), EVALUATE_AT_MOST)
        self.evaluate_every = evaluate_every or epoch
        self._restore_best = restore_best
        validation = self.task.validation
        if validation is not None:
            validation = validation.to(self._device)
        self._evaluator = Evaluator(self.task, validation, "validation") if validation else None

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        self._heed()
        if self.ending is not None:
            raise StopIteration
        if self._is_closed:
            raise UsageError("this descent was closed: take its steps inside the with block")
        step = self._step = self._advance()
        if step.number % self._drain_every == 0:
            self._drain()
        if self._evaluator and self.ending is None and step.number % self.evaluate_every == 0:
            step.evaluation = self.evaluate()
            self._obey(guard.judge_evaluation(step.evaluation), step)
        ending = self.ending or self._wish or (self._until(self.progress) if self._until else None)
        if ending is not None:
            self._finish(step, ending)
        return step

    def _heed(self) -> None:
        """End now if the loop's body has asked for it."""
        if self._wish and self._step and self.ending is None:
            self._finish(self._step, self._wish)

    def _advance(self) -> Step:
        """One step of the corridor, up to the handle; its gradients stay until the next."""
        start = time.perf_counter()
        if self._started is None:
            self._started = start
        number = self._number + 1
        changes = self._rates.set(number)
        batch = self.batches.at(self._position)

        for group in self.optimizer.param_groups:
            for p in group["params"]:
                p.grad = None
        self._statistics.keep()
        measured = take_step(
            self.task, batch, self._update, number=number, seed=self.seed, device=self._device
        )
        self._statistics.undo_if_skipped(measured)

        self._number = number
        self._samples += batch.samples
        self._position = batch.following
        step = Step(
            number=number,
            samples=self._samples,
            epoch=self._epochs,
            lr=self._rates.lr,
            seconds=time.perf_counter() - start,
            measures=Measures(lambda: _read(measured)),
        )
        for event in changes:
            self._tell(step, event)
        self._undrained.append(step)
        return step

    def _drain(self) -> None:
        """Read what was measured, let the guard judge it, record it."""
        block, self._undrained = self._undrained, []
        if not block:
            return
        action = guard.judge(block)
        self.record.steps(block)
        self._obey(action, block[-1])

    def _obey(self, action: Action, step: Step) -> None:
        """Do what the guard wants, and say so at this step."""
        if action.kind == "stop":
            self._tell(step, Event(action.number, "nonfinite", action.reason, action.evidence))
            self.ending = Ending("stopped", action.reason)

    def _finish(self, step: Step, ending: Ending) -> None:
        """The last step was taken: drain, look once more, restore, and say why it ended."""
        self._drain()
        if self._evaluator and self.ending is None and not self._was_evaluated(step.number):
            step.evaluation = self.evaluate()
            self._obey(guard.judge_evaluation(step.evaluation), step)
            if self._until and ending.status == "budget":  # the last look may have met a goal
                ending = self._until(self.progress) or ending
        is_sound = self.ending is None
        self.ending = self.ending or ending
        show(self.optimizer)
        if self._restore_best and self.best is not None:
            self.best.restore(self.task.model)
            text = f"best weights restored, of the lowest validation loss, {self.best.loss:.4g}"
            self._tell(step, Event(self.best.number, "best", text))
        status, reason = self.ending.status, self.ending.reason
        text = reason if is_sound else "the guard stopped the run"
        self._tell(step, Event(step.number, "stop", text, {"status": status}))
        self._put_back()

    def _was_evaluated(self, number: int) -> bool:
        return bool(self.evaluations) and self.evaluations[-1].number == number

    def _tell(self, step: Step, event: Event) -> None:
        step.events += (event,)
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Record an event of your own."""
        self.events.append(event)
        self.record.event(event)

    def evaluate(self) -> Evaluation:
        """Evaluate the validation set now; recorded, and counted by the stopping rules."""
        if self._evaluator is None:
            raise UsageError("there is nothing to evaluate: the task has no validation data")
        with shown(self.optimizer):
            evaluation = self._evaluator(self._number)
            self._keep_if_best(evaluation)
        self.evaluations.append(evaluation)
        self._num_stale = num_without_improvement(self.evaluations)
        self.record.evaluation(evaluation)
        self._rates.saw(evaluation.number, evaluation.values["loss"])
        return evaluation

    def _keep_if_best(self, evaluation: Evaluation) -> None:
        loss = evaluation.values["loss"]
        is_best = loss < (math.inf if self.best is None else self.best.loss)
        if self._restore_best and is_best:
            self.best = Weights.of(self.task.model, evaluation.number, loss)

    def log(self, **values: float) -> None:
        """Record numbers of your own beside the current step."""
        self.record.scalars(self._number, {name: float(values[name]) for name in values})

    def stop(self, reason: str = "stopped by the caller", status: Status = "stopped") -> None:
        """End the descent: from the loop's body at once, from elsewhere after the running step."""
        self._wish = Ending(status, reason)

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        elapsed = 0.0 if self._started is None else time.perf_counter() - self._started
        return Progress(
            steps=self._number,
            samples=self._samples,
            epochs=self._epochs,
            seconds=elapsed,
            evaluations=self.evaluations,
            num_stale=self._num_stale,
            rising=self._rising,
        )

    @property
    def _epochs(self) -> float:
        return self._position.epoch + self._position.cursor / self.batches.size

    def __enter__(self) -> Descent:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drain, flush the record, put back torch's generator and the optimizer's own rates.

        Closing twice is fine.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._heed()
            self._drain()
        finally:
            self._put_back()
            self.record.close()

    def _put_back(self) -> None:
        """torch's generator of the CPU as it was before, and the optimizer's own rates."""
        if self._generator is not None:
            torch.set_rng_state(self._generator)
            self._generator = None
            self._rates.put_back()


_INEXACT = (
    "not exact: the full batch is streamed in chunks, and batch norm takes its statistics from "
    "each chunk apart"
)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _read(measured: Mapping[str, Tensor | float]) -> dict[str, float]:
    return {name: float(value) for name, value in measured.items() if value is not None}
