"""What the programs of test_structure share: data, a loop as people write it, and two tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import thalweg
from thalweg.loop.monitor import Monitor

Program = Callable[[], Monitor]
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

FAULTY: dict[str, tuple[str, Program]] = {}
SOUND: dict[str, Program] = {}
AT_MOST_WARNED: set[str] = set()
"""Sound programs of which a warning may be given."""

STEPS = 5


def faulty(code: str) -> Callable[[Program], Program]:
    """Enter a program whose fault has this code."""

    def enter(program: Program) -> Program:
        FAULTY[program.__name__] = code, program
        return program

    return enter


def sound(program: Program) -> Program:
    SOUND[program.__name__] = program
    return program


def at_most_warned(program: Program) -> Program:
    AT_MOST_WARNED.add(program.__name__)
    return sound(program)


# ------------------------------------------------------------ data


def points(
    *, inputs: int = 8, classes: int = 4, size: int = 32, steps: int = STEPS
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of (size, inputs), standard normal, and a class that depends on them."""
    source = torch.Generator().manual_seed(3)
    for _ in range(steps):
        x = torch.randn(size, inputs, generator=source)
        yield x, x[:, :classes].argmax(1)


def values(**sizes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches whose target is a number, of shape (size, 1)."""
    for x, _ in points(**sizes):
        yield x, x[:, :1].sin() + x[:, 1:2]


def images(*, size: int = 16, steps: int = STEPS) -> Iterator[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(4)
    for _ in range(steps):
        x = torch.randn(size, 3, 8, 8, generator=source)
        yield x, torch.randint(4, (size,), generator=source)


def tokens(*, size: int = 8, steps: int = STEPS) -> Iterator[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(5)
    for _ in range(steps):
        x = torch.randint(50, (size, 13), generator=source)
        yield x[:, :-1], x[:, 1:]


# ------------------------------------------------------------ models and losses


def mlp(*more: nn.Module, inputs: int = 8, outputs: int = 4, unit: Any = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 32), unit(), nn.Linear(32, 32), unit(), nn.Linear(32, outputs), *more
    )


def deep(depth: int, unit: Any = nn.ReLU, width: int = 32, norm: Any = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(8 if i == 0 else width, width)]
        layers += [norm(width)] if norm else []
        layers += [unit()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(model(x), y)


def squared(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return functional.mse_loss(model(x), y)


def by(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    return lambda model, x, y: loss(model(x), y)


def adam(model: nn.Module, lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr)


def look(model: nn.Module, optimizer: Any) -> Monitor:
    return thalweg.monitor(model, optimizer, tell=None)


def train(
    model: nn.Module,
    loss_of: Loss = cross_entropy,
    batches: Any = None,
    *,
    optimizer: Any = None,
    at: str = "end",
    zero: str = "start",
    every: int = 1,
    step: Callable[[torch.optim.Optimizer], Any] = lambda o: o.step(),
    before: Sequence[Callable[[], Any]] = (),
) -> Monitor:
    """The loop that everybody writes.

    at: where the loss is shown: "loss", "backward" or "end"
    zero: where gradients are zeroed: "start", "backward" (before it), "end", "early" (before the
    step) or "never"; every: batches to a step
    """
    optimizer = optimizer or adam(model)
    with look(model, optimizer) as monitor:
        for i, (x, y) in enumerate(batches or points(), start=1):
            for call in before:
                call()
            if zero == "start" and (i - 1) % every == 0:
                optimizer.zero_grad()
            loss = loss_of(model, x, y) / every
            if at == "loss":
                monitor(loss)
            if zero == "backward":
                optimizer.zero_grad()
            loss.backward()
            if at == "backward":
                monitor(loss)
            if zero == "early":
                optimizer.zero_grad()
            if i % every == 0:
                step(optimizer)
                if zero == "end":
                    optimizer.zero_grad()
            if at == "end":
                monitor(loss)
    return monitor
