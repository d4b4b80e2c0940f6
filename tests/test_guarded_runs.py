"""The guard in whole runs, by `descend` and in a loop of one's own, each with a fault in it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

import thalweg

STEPS, SIZE, LR = 400, 32, 3e-3
AT = 217
"""The step of a fault: no snapshot is due there."""


def samples() -> tuple[Tensor, Tensor]:
    """Points of eight numbers in four classes, one pass of them; some labels are wrong."""
    source = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS * SIZE, 8, generator=source)
    y = (x @ torch.randn(8, 4, generator=source)).argmax(1)
    wrong = torch.rand(len(y), generator=source) < 0.1
    return x, torch.where(wrong, (y + 1) % 4, y)


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))


def loss_of(model: nn.Module) -> float:
    """On all samples."""
    x, y = samples()
    with torch.no_grad():
        return float(functional.cross_entropy(model(x), y))


class Own:
    """A loop of one's own, with torch's optimizer and scheduler."""

    def __init__(self, mode: Any = "act"):
        self.model = net()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR)
        self.schedule = LambdaLR(self.optimizer, lambda done: 1.0 - done / STEPS)
        self.guard = thalweg.Guard(self.model, self.optimizer, mode=mode)
        self.rates: list[float] = []

    def run(self, data: tuple[Tensor, Tensor], *, factor: float = 1.0) -> Own:
        """Take all batches; from step AT on the schedule's rates are `factor` times as high."""
        batches = zip(*(part.split(SIZE) for part in data), strict=True)
        for number, (x, y) in enumerate(batches, 1):
            if number == AT:
                self.schedule.base_lrs = [factor * LR]
                self.optimizer.param_groups[0]["lr"] *= factor
            loss = functional.cross_entropy(self.model(x), y)
            loss.backward()
            step = self.guard.step(loss)
            assert step is not None
            self.rates.append(step.lr)
            self.schedule.step()
        self.guard.close()
        return self

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.guard.events]


def test_a_healthy_loop_is_left_alone() -> None:
    off, act = (Own(mode).run(samples()) for mode in ("off", "act"))
    assert act.kinds == []
    assert loss_of(act.model) == loss_of(off.model)


def test_a_schedule_that_jumps_is_undone_and_stays_so() -> None:
    """Rolled back once; the schedule insists, and from then on is divided by what it rose by."""
    healthy, jumped = Own().run(samples()), Own().run(samples(), factor=100.0)
    assert [k for k in jumped.kinds if k in ("rollback", "backoff")] == [
        "rollback",
        "rollback",
        "backoff",
    ]
    last = max(event.number for event in jumped.guard.events if event.kind == "backoff")
    assert AT < last < AT + 40
    assert jumped.rates[last:] == pytest.approx(healthy.rates[last:], rel=0.02)
    assert loss_of(jumped.model) == pytest.approx(loss_of(healthy.model), rel=0.02)


def test_a_rate_that_rises_without_harm_is_left_alone() -> None:
    assert Own().run(samples(), factor=5.0).kinds == []


def test_a_burst_costs_its_own_batches_only() -> None:
    """Ten batches whose labels are all wrong: the guard looks, and goes on with what is calm."""
    x, y = samples()
    burst = slice((AT - 1) * SIZE, (AT + 9) * SIZE)
    y[burst] = (y[burst] + 2) % 4
    loop = Own().run((x, y))
    skipped = [event.number for event in loop.guard.events if event.kind == "skip"]
    assert skipped == list(range(AT, AT + 10))
    assert set(loop.kinds) == {"skip", "guard"}


@pytest.mark.parametrize("guard", ["advise", "act"])
def test_descend_gives_back_a_rate_that_was_set_too_high(guard: Any) -> None:
    model = net()
    optimizer = thalweg.AdamW(model.parameters(), lr=LR)
    task = thalweg.Task(model, samples(), loss=functional.cross_entropy)
    rates = []
    with thalweg.descend(task, optimizer, batch_size=SIZE, guard=guard) as descent:
        for step in descent:
            if step.number == AT - 1:
                optimizer.param_groups[0]["lr"] *= 100
            rates.append(step.lr)
            if step.number == STEPS:
                descent.stop()
    kinds = [event.kind for event in descent.events if event.number > AT]
    assert "rollback" in kinds
    assert "backoff" not in kinds
    assert rates[AT - 2 : AT] == [LR, 100 * LR]
    assert rates[-1] == (LR if guard == "act" else 100 * LR)
