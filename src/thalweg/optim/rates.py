"""The learning rates of each step: the optimizer's own, times the schedule's factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from thalweg.errors import UsageError
from thalweg.optim.lowering import Lowering, write_rate
from thalweg.schedules import Schedule
from thalweg.types import Event


def check_optimizer(value: object) -> None:
    """Raise UsageError for what is no torch optimizer."""
    if not isinstance(value, torch.optim.Optimizer):
        raise UsageError(
            f"optimizer is of type {type(value).__name__}: it must be a torch optimizer, such as "
            "thalweg.AdamW(model.parameters())"
        )


class Rates:
    """Sets `lr` in every parameter group before a step.

    A rate that somebody else has set since the last step is respected: the schedule goes on from
    it. A group that comes late brings its own.

    base, last: each group's own rate, and the one that was last set; factor: the last factor
    evaluations: (step, loss) of those so far, for a schedule that looks at them
    lowering: how far the guard has lowered the rates
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule, horizon: int | None):
        self.schedule = schedule
        self.horizon = horizon
        self.factor = 1.0
        self.base = [float(group["lr"]) for group in optimizer.param_groups]
        self.last = list(self.base)
        self.evaluations: list[tuple[int, float]] = []
        self.lowering = Lowering()
        self._optimizer = optimizer

    @property
    def lr(self) -> float:
        """The rate of the first group at this step."""
        return self.last[0]

    def set(self, number: int) -> tuple[Event, ...]:
        """Set the rates of step `number`; an event for each rate that was changed from outside."""
        events = self._changed(number)
        self.factor = self.schedule(number, self.horizon, self.evaluations)
        events += self.lowering.see(number, self.base[0] * self.factor)
        self.factor *= self.lowering.factor(number)
        self.last = [base * self.factor for base in self.base]
        self.write()
        return events

    def at(self, number: int) -> float:
        """The rate that the first group is going to have at step `number`."""
        return self.base[0] * self.schedule(number, self.horizon, self.evaluations)

    def write(self) -> None:
        """Set the rates in `last`, which a tensor of a lower precision may round."""
        for i, group in enumerate(self._groups):
            self.last[i] = write_rate(group, self.last[i])

    def saw(self, number: int, loss: float) -> None:
        """An evaluation was made after step `number`."""
        if self.schedule.needs_evaluations:
            self.evaluations.append((number, loss))

    def to_tree(self) -> dict[str, Any]:
        """What a resumed run needs to go on from here."""
        return {
            "base": list(self.base),
            "last": list(self.last),
            "factor": self.factor,
            "evaluations": [list(row) for row in self.evaluations],
            "lowering": self.lowering.to_tree(),
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        self.base, self.last = list(tree["base"]), list(tree["last"])
        self.factor = tree["factor"]
        self.evaluations = [(number, loss) for number, loss in tree["evaluations"]]
        self.lowering.restore(tree["lowering"])

    def put_back(self) -> None:
        """Give every group its own rate again, unless somebody else has set one meanwhile."""
        for group, base, last in zip(self._groups, self.base, self.last, strict=False):
            if float(group["lr"]) == last:
                write_rate(group, base)

    @property
    def _groups(self) -> list[dict[str, Any]]:
        """Asked each time: loading a state dict gives the optimizer a new list."""
        return self._optimizer.param_groups

    def _changed(self, number: int) -> tuple[Event, ...]:
        events: list[Event] = []
        for i, group in enumerate(self._groups):
            lr = float(group["lr"])
            if i == len(self.base):
                self.base.append(lr)
                self.last.append(lr)
            elif lr != self.last[i]:
                text = f"lr of group {i} set to {lr:.3g} (was {self.last[i]:.3g})"
                events.append(Event(number, "lr", text, {"group": i, "lr": lr}))
                self.base[i] = lr / (self.factor or 1.0)
        return tuple(events)
