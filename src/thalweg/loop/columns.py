"""The columns of a loop that is looked at: what a log would hold of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.facts import StepFacts
from thalweg.record.foreign.log import LOSS, LR, NORM, Log, Series

BLOCK = 32
"""Losses that wait on a device until they are read in one go."""


class Columns:
    """Takes in numbers one by one. settings: of the run, as far as they are known; tool: whose
    words they are
    """

    def __init__(self, settings: Mapping[str, Any], tool: str = ""):
        self._settings = settings
        self._tool = tool
        self._points: dict[str, list[tuple[float, float]]] = {}
        self._lrs: list[float] = []
        self._seconds: list[float] = []
        self._losses: list[tuple[int, float]] = []
        self._pending: list[tuple[int, Tensor]] = []
        self._norms: list[tuple[int, Tensor]] = []
        self._number = 0
        self._comes_after: bool | None = None
        self._num_seen = 0

    def saw_loss(self, loss: Tensor | float) -> None:
        """Of the step that was just made, or of the one to come: the first step tells which."""
        self._num_seen += 1
        at = self._number if self._comes_after else self._number + 1
        if not isinstance(loss, Tensor):
            self._losses.append((at, float(loss)))
        elif loss.is_cpu:  # .device.type takes 2 us
            self._losses.append((at, loss.item()))
        else:
            self._pending.append((at, loss.detach()))
            if len(self._pending) >= BLOCK:
                self._drain()

    def step(self, number: int, lr: Any, seconds: float) -> None:
        """A step was made."""
        if self._comes_after is None:
            self._comes_after = self._num_seen == 0
        self._number = number
        self._lrs.append(lr if isinstance(lr, float) else float(lr))
        self._seconds.append(seconds)

    def saw_norm(self, norm: Tensor | None) -> None:
        """Of all gradients, of the step that was just made."""
        if norm is not None:
            self._norms.append((self._number, norm))
            if len(self._norms) >= BLOCK:
                self._drain()

    def evaluation(self, number: int, values: Mapping[str, float]) -> None:
        """Its loss is the validation loss; metrics keep their names."""
        for name, value in values.items():
            role = f"validation_{name}"
            self._points.setdefault(role, []).append((number, float(value)))

    def probe(self, facts: StepFacts, updates: Mapping[str, float]) -> None:
        """What a probe saw, a column for each weight and layer."""
        for moved in facts.moved:
            self._add(f"gradient_norm:{moved.name}", facts.number, moved.gradient)
            self._add(f"parameter_norm:{moved.name}", facts.number, moved.norm)
            self._add(f"update_norm:{moved.name}", facts.number, updates.get(moved.name))
        for ran in facts.ran:
            if ran.unit == "relu":
                self._add(f"dead:{ran.module}", facts.number, ran.dead)
            elif ran.unit:
                self._add(f"saturated:{ran.module}", facts.number, ran.saturated)
        known = [moved.gradient for moved in facts.moved if moved.gradient is not None]
        if known and not self._norms:
            self._add(NORM, facts.number, math.sqrt(sum(norm * norm for norm in known)))

    def _add(self, role: str, number: int, value: float | None) -> None:
        if value is not None:
            self._points.setdefault(role, []).append((number, value))

    def _drain(self) -> None:
        """Read what waits on the device."""
        for waiting, to in ((self._pending, self._losses), (self._norms, self._norm_points)):
            if waiting:
                values = torch.stack([value.float().reshape(()) for _, value in waiting]).tolist()
                to.extend((at, value) for (at, _), value in zip(waiting, values, strict=True))
                waiting.clear()

    @property
    def _norm_points(self) -> list[tuple[float, float]]:
        return self._points.setdefault(NORM, [])

    def log(self) -> Log:
        """All of it; the loss of a step is the mean of its batches."""
        self._drain()
        series = {name: Series.of(name, _last(points)) for name, points in self._points.items()}
        series[LOSS] = Series.of(LOSS, _means(self._losses, of_calls=not self._lrs))
        numbers = range(1, len(self._lrs) + 1)
        series[LR] = Series.of(LR, zip(numbers, self._lrs, strict=True))
        series["seconds"] = Series.of("seconds", zip(numbers, self._seconds, strict=True))
        kept = {name: values for name, values in series.items() if len(values)}
        rows = max(len(self._lrs), len(series[LOSS]))
        return Log("monitor", "monitor", self._tool, kept, settings=self._settings, rows=rows)


def settings_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What is known of a run, in our words."""
    known: dict[str, Any] = {"optimizer": type(optimizer).__name__.lower()}
    group = optimizer.param_groups[0]
    for name in ("lr", "weight_decay"):
        if isinstance(group.get(name), int | float):
            known[name] = group[name]
    return known


def _last(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One a step, the last one said, in order."""
    return sorted(dict(points).items())


def _means(losses: list[tuple[int, float]], *, of_calls: bool) -> list[tuple[float, float]]:
    """One loss a step. of_calls: no step was seen, so that every call counts as one"""
    if of_calls:
        return [(i, value) for i, (_, value) in enumerate(losses, start=1)]
    grouped: dict[int, list[float]] = {}
    for at, value in losses:
        grouped.setdefault(at, []).append(value)
    return [(at, sum(values) / len(values)) for at, values in sorted(grouped.items())]
