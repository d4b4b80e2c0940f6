"""Later steps of a monitored loop, looked at as often as it is cheap: norms, units, the curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from thalweg.facts import StepFacts
from thalweg.health.diagnosis import so_far
from thalweg.health.signals import units_later
from thalweg.loop.closures import late
from thalweg.loop.columns import Columns
from thalweg.loop.cost import Cost
from thalweg.probes.probe import Probe, total_norm
from thalweg.probes.quiet import may_look, remove
from thalweg.types import Finding

FIRST = 4
"""The step that is probed first."""

EVERY = 100
"""Steps between two probes at the least, once the first hundred are over."""


class Later:
    """Probes a step, keeps what it saw in the columns, and judges all that they hold.

    share: of the steps' time that it may take; fail: is told of a fault in here; next: the step
    that is probed next; probe: looks, from when it is there
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        cost: Cost,
        columns: Columns,
        *,
        share: float,
        fail: Callable[[Exception], None],
    ):
        self.next = FIRST
        self.probe: Probe | None = None
        self._optimizers = optimizers
        self._cost = cost
        self._columns = columns
        self._share = share
        self._fail = fail
        self._hooks: list[Any] = []
        self._last: StepFacts | None = None
        self._is_probing = False
        self._is_norm_cheap = False

    @property
    def is_idle(self) -> bool:
        """Is there nothing to do in the next step?"""
        return not (self._is_probing or self._is_norm_cheap)

    def after_step(self, number: int) -> list[Finding]:
        """Step `number` was made; what is found, where it was one to look at."""
        if self._is_norm_cheap:
            self._columns.saw_norm(total_norm(self._optimizers))
        if self._is_probing:
            return self._finish(number)
        if self.probe is not None and number + 1 >= self.next:
            self._start(self.probe)
        return []

    def stop(self) -> None:
        """Take the hooks away, and let go of every tensor."""
        remove(self._hooks)
        self._is_probing = False
        if self.probe is not None:
            self.probe.stop()
            self.probe = None

    def _start(self, probe: Probe) -> None:
        self._is_probing = True
        self._cost.mark()
        probe.start()
        last = self._optimizers[-1]
        self._hooks.append(last.register_step_pre_hook(late(self._before_step)))

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self.probe is None or not may_look():
            return
        began = time.perf_counter()
        try:
            self.probe.before_step()
        except Exception as error:  # nothing here may end a training
            self._fail(error)
        self._cost.own += time.perf_counter() - began

    def _finish(self, number: int) -> list[Finding]:
        """Take the probe in, and set the next one as far off as this one's cost asks for."""
        assert self.probe is not None
        began = time.perf_counter()
        facts, updates = self.probe.after_step(number)
        self._is_probing = False
        remove(self._hooks)
        self._columns.probe(facts, updates)
        found = list(units_later(self._last, facts)) if self._last is not None else []
        self._last = facts
        found += so_far(self._columns.log()).findings
        self._cost.hooks(self.probe.seconds)
        taken = self._cost.since_mark() + time.perf_counter() - began  # what is not in it yet
        away = self._cost.steps_for(taken, self._share)
        self.next = number + max(min(number, EVERY), away)
        self._is_norm_cheap = self._cost.is_cheap(total_norm, self._optimizers, self._share)
        return found
