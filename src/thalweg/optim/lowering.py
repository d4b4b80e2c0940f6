"""Learning rates that the guard has lowered: a factor of the step, whatever sets the rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from thalweg.types import Event

RETURN = 0.75
"""A rate that falls in one step by so much of a jump, in logarithms, has come back from it."""


class Lowering:
    """How often and how far the rates were lowered.

    rows: (step, factor, steps of the new warm-up) of each time; with no warm-up it undoes a jump of
    the rate, and ends once the rate has come down again by itself

    >>> lowering = Lowering()
    >>> lowering.lower(100, 0.5, rewarm=10)
    >>> [lowering.factor(n) for n in (101, 105, 110, 500)]
    [0.05, 0.25, 0.5, 0.5]
    """

    def __init__(self) -> None:
        self.rows: list[tuple[int, float, int]] = []
        self._seen = 0.0

    def lower(self, number: int, factor: float, rewarm: int) -> None:
        """After step `number` rates are `factor` times what they would be, after a warm-up."""
        self.rows.append((number, factor, rewarm))

    def factor(self, number: int) -> float:
        """Of step `number`."""
        value = 1.0
        for since, factor, rewarm in self.rows:
            value *= factor * min(1.0, (number - since) / rewarm) if rewarm else factor
        return value

    def see(self, number: int, lr: float) -> tuple[Event, ...]:
        """What step `number` would have as its rate if it were not lowered; what ends by that."""
        before, self._seen = self._seen, lr
        ended = [row for row in self.rows if not row[2] and lr < before * row[1] ** RETURN]
        if not ended:
            return ()
        self.rows = [row for row in self.rows if row not in ended]
        text = f"the learning rate fell from {before:.3g} to {lr:.3g}: it is no longer lowered"
        return (Event(number, "lr", text, {"lr": lr}),)

    @contextmanager
    def applied(self, optimizer: torch.optim.Optimizer, number: int) -> Iterator[None]:
        """Inside, every group's rate is lowered; afterwards as whoever sets it left it."""
        factor = self.factor(number)
        if factor == 1.0:
            yield
            return
        before = [float(group["lr"]) for group in optimizer.param_groups]
        for group, lr in zip(optimizer.param_groups, before, strict=True):
            write_rate(group, lr * factor)
        try:
            yield
        finally:
            for group, lr in zip(optimizer.param_groups, before, strict=True):
                write_rate(group, lr)

    def to_tree(self) -> dict[str, Any]:
        return {"rows": [list(row) for row in self.rows], "seen": self._seen}

    def restore(self, tree: Mapping[str, Any]) -> None:
        self.rows = [(since, factor, rewarm) for since, factor, rewarm in tree["rows"]]
        self._seen = tree["seen"]


def write_rate(group: dict[str, Any], lr: float) -> float:
    """Set a group's rate, in place where it is a tensor; returns it as it is kept there."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
        return float(group["lr"])
    group["lr"] = lr
    return lr
