"""What comes behind the update: steps wait on the device, and are looked at in blocks.

step -> guard -> record -> what the guard wants done, and the events that say so
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from thalweg.loop.rescue import Rescue
from thalweg.types import MEASURES, Action, Evaluation, Event, Recorder, Step

EVERY = {"cpu": 1}
"""Steps between drains by device; any other device: 32. A drain waits for the device."""


_MEASURES = frozenset(MEASURES)


class Drain:
    """Judges and records blocks of steps, at fixed step numbers; no clock decides anything.

    waiting: steps that nobody has looked at yet; every: steps in a block
    record: gives where to write; events: what happened so far
    stopped: why the guard has given the run up, or None
    """

    def __init__(self, rescue: Rescue, device: torch.device, record: Callable[[], Recorder]):
        self.rescue = rescue
        self.every = EVERY.get(device.type, 32)
        self.waiting: list[Step] = []
        self.events: list[Event] = []
        self.stopped: str | None = None
        self._record = record

    def before_step(self, number: int) -> None:
        """Steps up to `number` were taken: a snapshot, if one is due and all were looked at."""
        if not self.waiting:
            self.rescue.before_step(number)

    def put(self, step: Step) -> None:
        """Take a step in, and look at its block if it ends one."""
        self.waiting.append(step)
        if step.number % self.every == 0:
            self.now()

    def now(self) -> None:
        """Look at all that wait."""
        block, self.waiting = self.waiting, []
        if not block:
            return
        action = self.rescue.judge(block)
        self._record().steps(block)
        self._write_losses(block)
        self._obey(action, block[-1].number, block[-1])

    def _write_losses(self, block: list[Step]) -> None:
        """Of a loss that is the sum of several, each beside its step."""
        for step in block:
            measured = step.measured()
            if own := measured.keys() - _MEASURES:
                values = {name: measured[name] for name in measured if name in own}
                self._record().scalars(step.number, values)

    def judge(self, evaluation: Evaluation, step: Step | None) -> None:
        """Let the guard look at an evaluation, which was made after `step`."""
        action = self.rescue.judge_evaluation(evaluation)
        self._obey(action, evaluation.number, step)

    def tell(self, event: Event, step: Step | None = None) -> None:
        """Record an event, which happened at this step."""
        if step is not None:
            step.events += (event,)
        self.events.append(event)
        self._record().event(event)

    def _obey(self, action: Action, number: int, step: Step | None) -> None:
        """Do what the guard wants, and say so at this step."""
        for event in (*action.events, *self.rescue.obey(action, number)):
            self.tell(event, step)
        if action.kind == "stop":
            self.tell(Event(action.number, "diverged", action.reason, action.evidence), step)
            self.stopped = action.reason
