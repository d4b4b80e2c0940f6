"""The columns of a loop that is looked at: what a log would hold of it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.facts import LossGraph, StepFacts
from thalweg.loop.rivals import Rivals
from thalweg.loop.unmoved import has_stopped
from thalweg.record.foreign.log import IN_TURNS, LOSS, LR, NORM, Log, Series

FRESH = 0.8, 1.5
"""Of a fresh classifier's first loss, by that of even guesses."""

BLOCK = 32
"""Losses that wait on a device until they are read in one go."""


class Columns:
    """Takes in numbers one by one. settings: of the run, as far as they are known; tool: whose
    words they are; stamps: when the first step began and when each ended, in seconds

    lrs: the rate of each step; losses, and the steps made when each was shown. Who is in a hurry
    adds to them directly.
    """

    def __init__(self, settings: Mapping[str, Any], stamps: array[float], tool: str = ""):
        self.lrs = array("d")
        self.losses = array("d")
        self.steps_before = array("q")
        self._settings = settings
        self._stamps = stamps
        self._tool = tool
        self._points: dict[str, list[tuple[float, float]]] = {}
        self._pending: list[tuple[int, Tensor]] = []
        self._norms: list[tuple[int, Tensor]] = []
        self._num_first = 0
        self.rivals: Rivals | None = None

    def saw_loss(self, loss: Tensor | float) -> None:
        """Of the step that was just made, or of the one to come: the first step tells which."""
        self._num_first += not self.lrs
        if isinstance(loss, Tensor) and not loss.is_cpu:  # .device.type takes 2 us
            self._pending.append((len(self.lrs), loss.detach()))
            if len(self._pending) >= BLOCK:
                self._drain()
            return
        self.losses.append(loss.item() if isinstance(loss, Tensor) else float(loss))
        self.steps_before.append(len(self.lrs))

    def saw_graph(self, steps: Sequence[StepFacts]) -> None:
        """Of the losses of the steps that were watched: it tells what nobody has set."""
        loss = next((step.loss for step in steps if step.loss is not None), None)
        self._settings = {**_classes_of(loss), **self._settings}

    def saw_norm(self, norm: Tensor | None) -> None:
        """Of all gradients, of the step that was just made."""
        if norm is not None:
            self._norms.append((len(self.lrs), norm))
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
        for at, value in _read(self._pending):
            self.losses.append(value)
            self.steps_before.append(at)
        self._points.setdefault(NORM, []).extend(_read(self._norms))

    @property
    def num_since(self) -> int:
        """Losses that came since the last step."""
        waiting = len(self._pending)
        return waiting + len(self.losses) - int(np.searchsorted(self.steps_before, len(self.lrs)))

    @property
    def has_stopped(self) -> bool:
        """Do losses go on where no step is seen any more?"""
        num = len(self.losses) + len(self._pending)
        return has_stopped(self.num_since, num, len(self.lrs))

    def log(self) -> Log:
        """All of it; the loss of a step is the mean of its batches."""
        self._drain()
        series = {name: Series.of(name, _last(points)) for name, points in self._points.items()}
        series[LOSS] = Series(LOSS, *self._loss_by_step())
        numbers = np.arange(1.0, len(self.lrs) + 1)
        series[LR] = Series(LR, numbers, np.array(self.lrs))
        series["seconds"] = Series("seconds", numbers, np.diff(np.array(self._stamps)))
        kept = {name: values for name, values in series.items() if len(values)}
        rows = max(len(self.lrs), len(series[LOSS]))
        log = Log("monitor", "monitor", self._tool, kept, settings=self._settings, rows=rows)
        log.kind = IN_TURNS if self.rivals is not None and self.rivals.are_rivals else ""
        return log

    def _loss_by_step(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and losses; where no step was seen every call counts as one."""
        values = np.array(self.losses)
        if not self.lrs:
            return np.arange(1.0, len(values) + 1), values
        steps = np.array(self.steps_before) + (1 if self._num_first else 0)
        steps, places = np.unique(steps, return_inverse=True)
        counts = np.bincount(places, minlength=len(steps))
        means = np.bincount(places, values, len(steps)) / counts
        seen = slice(None, -1) if self.has_stopped else slice(None)
        return steps.astype(np.float64)[seen], means[seen]


def settings_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What is known of a run, in our words."""
    known: dict[str, Any] = {"optimizer": type(optimizer).__name__.lower()}
    group = optimizer.param_groups[0]
    for name in ("lr", "weight_decay"):
        if isinstance(group.get(name), int | float):
            known[name] = group[name]
    return known


def _classes_of(loss: LossGraph | None) -> dict[str, Any]:
    """Among how many classes it chooses, where it is a plain cross-entropy and nothing more.

    A factor before it does not show in the graph of a loss that was used up; then the first value
    has to be that of a fresh model.
    """
    links = () if loss is None else loss.links
    widths = {link.width for link in links if (link.loss, link.before) == ("nll", "log_softmax")}
    others = {link.loss for link in links} - {"nll", "log_softmax"}
    if loss is None or others or len(widths) != 1 or any(link.dim is not None for link in links):
        return {}
    width = widths.pop()
    low, high = FRESH
    is_fresh = width > 1 and low < loss.value / math.log(width) < high
    return {"num_classes": width} if width > 1 and (loss.is_mean or is_fresh) else {}


def _last(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One a step, the last one said, in order."""
    return sorted(dict(points).items())


def _read(waiting: list[tuple[int, Tensor]]) -> list[tuple[int, float]]:
    """Step and value of each, read in one go; nothing waits any more."""
    if not waiting:
        return []
    values = torch.stack([value.float().reshape(()) for _, value in waiting]).tolist()
    found = [(at, value) for (at, _), value in zip(waiting, values, strict=True)]
    waiting.clear()
    return found
