"""The descent: an iterator of steps, and the one corridor that each of them walks.

    batch -> forward -> loss -> backward -> update -> step -> guard -> record

Everything behind "step" looks at blocks of drained steps, in the order in which it is written here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.loop.averaged import Averaged
from thalweg.loop.batches import Feed, Position
from thalweg.loop.compiling import Compiling
from thalweg.loop.drain import Drain
from thalweg.loop.kept import Kept, in_memory
from thalweg.loop.looks import Looks
from thalweg.loop.pace import pace_of
from thalweg.loop.rescue import Rescue
from thalweg.loop.step import Stepper, measures_of
from thalweg.loop.stopping import Ending, Planned, Until
from thalweg.loop.tracing import Tracer
from thalweg.optim.rates import Rates
from thalweg.record.history import row_of, step_of
from thalweg.schedules import Schedule
from thalweg.state.state import State
from thalweg.state.tree import check
from thalweg.state.weights import Weights
from thalweg.types import Evaluation, Event, Mode, Progress, Recorder, Status, Step

MAIN = "main"
"""The phase of an ordinary run, which has only one."""

EVALUATE_AT_LEAST, EVALUATE_AT_MOST = 20, 1000
"""Bounds of the steps between evaluations, whose default is one epoch."""


class Descent:
    """An iterator of steps: `break` and iterating again goes on; closing flushes the record.

    ending: None while it runs, then why it ended
    horizon: the planned number of steps, or None
    compiling: are its steps compiled, and why
    averaged: which weights are looked at: an average, where the optimizer keeps one
    """

    def __init__(self, stepper: Stepper, feed: Feed):
        self.task = stepper.task
        self.optimizer = stepper.optimizer
        self.feed = feed
        self.ending: Ending | None = None
        self.horizon: int | None = None
        self.compiling = Compiling()
        self.averaged = Averaged(stepper, feed)
        self._stepper = stepper
        self._tracer = Tracer(stepper, feed)
        self._position = Position()
        self._number = 0
        self._samples = 0
        self._seconds_before = 0.0
        self._started: float | None = None
        self._rising = frozenset(metric.name for metric in self.task.metrics if metric.rises)
        self._generator: Tensor | None = torch.get_rng_state()
        self._step: Step | None = None
        self._wish: Ending | None = None
        self._is_closed = False
        self._is_stepping = False
        self._heard: list[str] = []
        self._kept = in_memory()

    def plan(self, schedule: Schedule, until: Until | None, horizon: int | None) -> None:
        """Fix the horizon, once, and with it every step's learning rate."""
        self._until = until
        self.horizon = horizon
        if horizon is None and until is not None:
            must_time = until.is_timed and schedule.needs_horizon
            self.horizon = until.horizon(pace_of(self._stepper, self.feed, must_time=must_time))
        if until is not None and until.is_timed and self.horizon is not None:
            self._until = until | Planned(self.horizon)
        schedule(1, self.horizon)
        self._rates = Rates(self.optimizer, schedule, self.horizon)

    def watch(self, evaluate_every: int | None, restore_best: bool) -> None:
        """Evaluate the validation set every so many steps; keep the best weights if asked."""
        epoch = self.feed.per_epoch or EVALUATE_AT_MOST
        self.evaluate_every = evaluate_every or min(max(epoch, EVALUATE_AT_LEAST), EVALUATE_AT_MOST)
        validation = self.task.validation
        self._looks = None
        if validation is not None:
            self._looks = Looks(
                self.task,
                validation.to(self._stepper.device),
                every=self.evaluate_every,
                keeps_best=restore_best,
                shown=self.averaged.shown,
            )

    def protect(self, mode: Mode) -> None:
        """Let the guard watch, and in mode "act" repair what goes wrong."""
        phase = self._stepper.phase
        lowering, tracer = self._rates.lowering, self._tracer
        rescue = Rescue(mode, phase, lowering, rates=self._rates, tracer=tracer)
        self._drain = Drain(rescue, self._stepper.device, lambda: self.record)

    def keep(self, kept: Kept, facts: Mapping[str, Any], events: Sequence[Event] = ()) -> None:
        """Write into this record and these checkpoints, at first what is to be told.

        facts: the settings and the machine, as a resume is going to compare them
        """
        self._kept = kept
        kept.facts.update(facts)
        if kept.saver is not None:
            check(self.state().to_tree())
        for event in events:
            self.tell(event)
        if kept.saved is None and not kept.is_new:
            self.tell(Event(0, "resume", "no checkpoint had been saved: started again"))
        if kept.saved is None:
            return
        if kept.is_new:  # a parent's state is not there: it must be, before anything can be killed
            self._save()
            kept.wait()
        else:
            kept.went_on_from(kept.saved.number)

    def hear(self, text: str) -> None:
        """A line from what works in the background, such as a save that failed; told soon."""
        self._heard.append(text)

    @property
    def record(self) -> Recorder:
        """Where everything that happens is written."""
        return self._kept.record

    # ------------------------------------------------------------ the steps

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        self._heed()
        if self._step is None and self.ending is None and (over := self.over):
            self._finish(None, over)  # all steps were taken before it was killed
        if self.ending is not None:
            raise StopIteration
        if self._is_closed:
            raise UsageError("this descent was closed: take its steps inside the with block")
        if self._kept.is_due(self._number):
            self._save()
        self._drain.before_step(self._number)
        self._is_stepping = True  # until it is whole: a state inside a step is none
        step = self._step = self._advance()
        self._drain.put(step)
        self._heed_guard()
        if self._looks and self.ending is None and self._looks.is_due(step.number):
            self._look(step)
        ending = self.ending or self._wish or self.over
        if self._heard:
            self._tell_heard(step)
        if ending is not None:
            self._finish(step, ending)
        self._is_stepping = False
        return step

    @property
    def over(self) -> Ending | None:
        """The ending that its rules see by now."""
        return self._until(self.progress) if self._until else None

    def _save(self) -> None:
        is_best = self.best is not None and self.best.number == self._number
        self._kept.save(self.state(), is_best=is_best)

    def _tell_heard(self, step: Step | None) -> None:
        heard, self._heard = self._heard, []
        for text in heard:
            self._drain.tell(Event(self._number, "notice", text), step)

    def _heed_guard(self) -> None:
        """End if the guard has given the run up."""
        if self._drain.stopped is not None:
            self.ending = Ending("stopped", self._drain.stopped)

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
        batch = self.feed.at(self._position)

        self._tracer.saw(number, self._position)
        measured = self._stepper(batch, number, self._drain.rescue.bounds)

        self._number = number
        self._samples += batch.samples
        self._position = batch.following
        step = Step(
            number=number,
            samples=self._samples,
            epoch=self._epochs,
            lr=self._rates.lr,
            seconds=time.perf_counter() - start,
            measures=measures_of(measured),
        )
        for event in changes:
            self._drain.tell(event, step)
        return step

    def _look(self, step: Step | None) -> None:
        """Evaluate, with every step before it judged; and let the guard judge that too."""
        self._drain.now()
        evaluation = self.evaluate()
        if step is not None:
            step.evaluation = evaluation
        self._drain.judge(evaluation, step)
        self._heed_guard()

    def _finish(self, step: Step | None, ending: Ending) -> None:
        """The last step was taken: drain, look once more, restore, and say why it ended.

        step: None where an earlier attempt took it
        """
        self._save()  # as a longer run is here: without a drain, or a look, that it would not make
        self._drain.now()
        self._heed_guard()
        was_asked = ending.status == "preempted"  # to stop, not to tell what it has come to
        is_seen = self._looks is None or self._looks.was_made(self._number)
        if self.ending is None and not is_seen and not was_asked:
            self._look(step)
            if ending.status == "budget":  # the last look may have met a goal
                ending = self.over or ending
        is_sound = self.ending is None
        self.ending = self.ending or ending
        self.averaged.show()
        if self.best is not None:
            self.best.restore(self.task.model)
            assert self._looks is not None
            text = f"best weights restored, {self._looks.said_of_best()}"
            self._drain.tell(Event(self.best.number, "best", text), step)
        status, reason = self.ending.status, self.ending.reason
        text = reason if is_sound else "the guard stopped the run"
        self._drain.tell(Event(self._number, "stop", text, {"status": status}), step)
        self._put_back()

    # ------------------------------------------------------------ for the loop's body

    def tell(self, event: Event) -> None:
        """Record an event of your own."""
        self._drain.tell(event)

    @property
    def events(self) -> list[Event]:
        """What happened so far."""
        return self._drain.events

    def evaluate(self) -> Evaluation:
        """Evaluate the validation set now; recorded, and counted by the stopping rules."""
        if self._looks is None:
            raise UsageError("there is nothing to evaluate: the task has no validation data")
        evaluation = self._looks.look(self._number)
        self.record.evaluation(evaluation)
        self._rates.saw(evaluation.number, evaluation.values["loss"])
        return evaluation

    def log(self, **values: float) -> None:
        """Record numbers of your own beside the current step."""
        self.record.scalars(self._number, {name: float(values[name]) for name in values})

    def stop(self, reason: str = "stopped by the caller", status: Status = "stopped") -> None:
        """End the descent: from the loop's body at once, from elsewhere after the running step."""
        self._wish = Ending(status, reason)

    @property
    def evaluations(self) -> list[Evaluation]:
        """Those of the validation set so far."""
        return self._looks.evaluations if self._looks else []

    @property
    def best(self) -> Weights | None:
        """The weights that did best on the validation set so far, where they are kept."""
        return self._looks.best if self._looks else None

    def lr_of(self, number: int) -> float:
        """The rate that the first group is going to have at a step."""
        return self._rates.at(number)

    def count_anew(self) -> None:
        """Patience begins here, and the rate is what it is on purpose."""
        self._drain.rescue.accept_rate()
        if self._looks:
            self._looks.count_from(self._number)

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        elapsed = 0.0 if self._started is None else time.perf_counter() - self._started
        return Progress(
            steps=self._number,
            samples=self._samples,
            epochs=self._epochs,
            seconds=self._seconds_before + elapsed,
            evaluations=self.evaluations,
            num_stale=self._looks.num_stale if self._looks else 0,
            rising=self._rising,
            watched=self.task.watched.name,
        )

    @property
    def _epochs(self) -> float:
        size = self.feed.size
        return self._position.epoch + (self._position.cursor / size if size else 0.0)

    # ------------------------------------------------------------ its state as a value

    def state(self) -> State:
        """All that this run needs to go on from here; tensors are the run's own, not copies."""
        return State(
            number=self._number,
            samples=self._samples,
            seconds=self.progress.seconds,
            epoch=self._position.epoch,
            cursor=self._position.cursor,
            phases={MAIN: self._stepper.phase.to_tree()},
            rates=self._rates.to_tree(),
            looks=self._looks.to_tree() if self._looks else None,
            guard=self._drain.rescue.to_tree(),
            feed=self.feed.to_tree(),
            undrained=[row_of(step) for step in self._drain.waiting],
        )

    def restore(self, state: State) -> None:
        """Go on from a state that `state()` gave, as if this were the same run.

        Raises RunError where it is that of another model or optimizer, and has changed nothing.
        """
        self._stepper.phase.restore(state.phases[MAIN])
        self._position = Position(state.epoch, state.cursor)
        self._number, self._samples = state.number, state.samples
        self._seconds_before, self._started = state.seconds, None
        self._rates.restore(state.rates)
        if self._looks and state.looks is not None:
            self._looks.restore(state.looks)
        self._drain.rescue.restore(state.guard, self._number)
        self.feed.restore(state.feed, self._position)
        self._drain.waiting = [step_of(row) for row in state.undrained]

    # ------------------------------------------------------------ the end

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
            if self.ending is None and not self._is_stepping and self._number:
                self._save()
            self._drain.now()
            self._kept.wait()
            self._tell_heard(None)
        finally:
            self.feed.close()
            self._put_back()
            self._kept.close()

    def _put_back(self) -> None:
        """torch's generator of the CPU as it was before, and the optimizer's own rates."""
        if self._generator is not None:
            torch.set_rng_state(self._generator)
            self._generator = None
            self._rates.put_back()
