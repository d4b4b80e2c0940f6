"""Which weights to look at: those that are trained, or an average that an optimizer keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch

from thalweg.optim.optimizer import Optimizer
from thalweg.rules.options import EMA


@runtime_checkable
class Averaging(Protocol):
    """An optimizer whose parameters are not its answer while it trains (Schedule-Free)."""

    def train(self) -> None: ...

    def eval(self) -> None: ...


def keeps_average(optimizer: torch.optim.Optimizer) -> bool:
    """Is it made to keep an average, from its first step on?"""
    groups = optimizer.param_groups
    has_option = any(isinstance(o, EMA) for group in groups for o in group.get("options", ()))
    return isinstance(optimizer, Averaging) or (isinstance(optimizer, Optimizer) and has_option)


def has_average(optimizer: torch.optim.Optimizer) -> bool:
    """Is there an average to be shown?"""
    if isinstance(optimizer, Averaging):
        return True
    return isinstance(optimizer, Optimizer) and optimizer.has_average


@contextmanager
def shown(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, the parameters are those to look at: the average, where the optimizer keeps one.

    Afterwards they are as before, to the bit.
    """
    if isinstance(optimizer, Averaging):
        params = [p for group in optimizer.param_groups for p in group["params"]]
        kept = [p.detach().clone() for p in params]
        optimizer.eval()
        try:
            yield
        finally:
            optimizer.train()
            with torch.no_grad():
                for p, before in zip(params, kept, strict=True):
                    p.copy_(before)
    elif isinstance(optimizer, Optimizer) and optimizer.has_average:
        with optimizer.averaged():
            yield
    else:
        yield


def show(optimizer: torch.optim.Optimizer) -> None:
    """Leave the parameters as those to look at; `train()` goes back where there is one."""
    if isinstance(optimizer, Averaging):
        optimizer.eval()
    elif isinstance(optimizer, Optimizer) and optimizer.has_average:
        optimizer.take_average()
