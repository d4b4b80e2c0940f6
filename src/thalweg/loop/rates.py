"""The learning rates of each step: the optimizer's own, times the schedule's factor."""

from __future__ import annotations

import torch

from thalweg.schedules import Schedule
from thalweg.types import Event


class Rates:
    """Sets `lr` in every parameter group before a step.

    A rate that somebody else has set since the last step is respected: the schedule goes on from
    it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule, horizon: int | None):
        self._groups = optimizer.param_groups
        self._schedule = schedule
        self._horizon = horizon
        self._base = [group["lr"] for group in self._groups]
        self._last = list(self._base)
        self._factor = 1.0

    @property
    def lr(self) -> float:
        """The rate of the first group at this step."""
        return float(self._last[0])

    def set(self, number: int) -> tuple[Event, ...]:
        """Set the rates of step `number`; an event for each rate that was changed from outside."""
        events = self._changed(number)
        self._factor = self._schedule(number, self._horizon)
        for i, group in enumerate(self._groups):
            self._last[i] = group["lr"] = self._base[i] * self._factor
        return events

    def put_back(self) -> None:
        """Give every group its own rate again, unless somebody else has set one meanwhile."""
        for group, base, last in zip(self._groups, self._base, self._last, strict=False):
            if group["lr"] == last:
                group["lr"] = base

    def _changed(self, number: int) -> tuple[Event, ...]:
        events: list[Event] = []
        for i, group in enumerate(self._groups):
            if i == len(self._base):
                self._base.append(group["lr"])
                self._last.append(group["lr"])
            elif group["lr"] != self._last[i]:
                text = f"lr of group {i} set to {group['lr']:.3g} (was {self._last[i]:.3g})"
                events.append(Event(number, "lr", text, {"group": i, "lr": float(group["lr"])}))
                self._base[i] = group["lr"] / (self._factor or 1.0)
        return tuple(events)
