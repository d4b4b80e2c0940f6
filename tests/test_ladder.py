"""The guard's ladder, climbed by descents: each batch brings the loss and the gradient of its step.

The model is one number, w, which every step lowers by lr times a gradient. A batch holds a loss and
a norm; where w is far from where it should be, the loss is large, whatever the batch says: weights
that are broken are seen as such.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import thalweg
from thalweg.loop import drain
from thalweg.schedules import Schedule
from thalweg.schedules.schedule import Trait
from thalweg.types import Event

NAN, INF = math.nan, math.inf
LR = 1e-3
BROKEN = 1e3
"""How far w has to be from 0 to be broken; ordinary steps do not bring it there."""

Planted = tuple[float, float]


class Script:
    """Batches in their order: (loss, norm) pairs."""

    def __init__(self, rows: Sequence[Planted]):
        self.rows = torch.tensor(rows, dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return iter(list(zip(self.rows, self.rows, strict=True)))


class Number(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        loss, norm = row
        far = self.w.detach().abs()
        broken = torch.where(far > BROKEN, 1e4 * far, 0.0) + torch.where(far.isfinite(), 0.0, NAN)
        return loss + broken + norm * (self.w - self.w.detach())


def calm(count: int, seed: int = 0) -> list[Planted]:
    """An ordinary run: loss and norm around 1, within some 20%."""
    draw = random.Random(seed)
    return [(math.exp(draw.gauss(0, 0.1)), math.exp(draw.gauss(0, 0.1))) for _ in range(count)]


class Walk:
    """A descent along a script, and what came of it.

    at: step -> what the loop's body does after it
    weights: w after each step, that of before the first at 0; lrs: the rate of each step
    """

    def __init__(
        self,
        rows: Sequence[Planted],
        *,
        guard: Any = "act",
        at: dict[int, Callable[[Any], None]] | None = None,
        momentum: float = 0.0,
        schedule: Schedule | None = None,
        lr: float = LR,
    ):
        self.model = Number()
        optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=momentum)
        task = thalweg.Task(self.model, Script(rows), loss=lambda out, _: out)
        until = thalweg.budget(steps=len(rows))
        self.weights, self.lrs = [0.0], [LR]
        settings: dict[str, Any] = {"guard": guard, "until": until, "schedule": schedule}
        with thalweg.descend(task, optimizer, **settings) as self.descent:
            for step in self.descent:
                self.weights.append(self.model.w.item())
                self.lrs.append(step.lr)
                if at and step.number in at:
                    at[step.number](self.descent)

    @property
    def events(self) -> list[Event]:
        usual = ("notice", "stop", "schedule")
        return [event for event in self.descent.events if event.kind not in usual]

    @property
    def told(self) -> list[tuple[int, str]]:
        return [(event.number, event.kind) for event in self.events]

    def applied(self, number: int) -> bool:
        """Has step `number` changed the weights?"""
        return self.weights[number] != self.weights[number - 1]


@pytest.fixture(params=[1, 32], ids=["every step", "every 32"])
def every(request, monkeypatch):
    """Steps between drains, as on a CPU and as on a GPU."""
    monkeypatch.setitem(drain.EVERY, "cpu", request.param)
    return request.param


# ------------------------------------------------------------ single steps


@pytest.mark.parametrize(
    ("planted", "kind", "is_applied"),
    [
        ((1.0, 1000.0), "clip", True),
        ((8.0, 1.0), "skip", False),
        ((1e4, 1e6), "skip", False),
        ((NAN, NAN), "nonfinite", False),
        ((1.0, INF), "nonfinite", False),
        ((INF, 1.0), "nonfinite", False),
    ],
)
def test_a_planted_batch_is_met_before_it_is_applied(planted, kind, is_applied, every):
    walk = Walk([*calm(160), planted, *calm(40, seed=1)])
    assert walk.told == [(161, kind)]
    assert walk.applied(161) is is_applied
    assert all(walk.applied(number) for number in range(1, 201) if number != 161)
    assert abs(walk.weights[161] - walk.weights[160]) < 2 * LR


@pytest.mark.parametrize("planted", [(1.0, 1000.0), (8.0, 1.0)])
def test_few_steps_make_no_limit(planted, every):
    walk = Walk([*calm(32), planted, *calm(40, seed=1)])
    assert walk.told == []
    assert walk.applied(33)


def test_an_outliers_gradient_has_the_running_norm():
    walk = Walk([*calm(160), (1.0, 1000.0)])
    (event,) = walk.events
    moved = walk.weights[160] - walk.weights[161]
    assert moved == pytest.approx(LR * event.data["clip_to"], rel=1e-3)
    assert 0.8 < event.data["clip_to"] < 1.2


def test_advice_applies_all_that_is_finite(every):
    planted = {161: (8.0, 1.0), 301: (1.0, 1000.0), 441: (NAN, NAN)}
    rows = [planted.get(number, row) for number, row in enumerate(calm(480), start=1)]
    walk = Walk(rows, guard="advise")
    assert walk.told == [(161, "skip"), (301, "clip"), (441, "nonfinite")]
    assert [number for number in range(1, 481) if not walk.applied(number)] == [441]
    assert all("would be" in event.text for event in walk.events[:2])


def test_off_says_and_does_nothing(every):
    rows = [*calm(160), (8.0, 1.0), (NAN, NAN), *calm(8)]
    walk = Walk(rows, guard="off")
    assert walk.told == []
    assert math.isnan(walk.weights[-1])


def test_a_corrupted_batch_every_500_is_skipped_each_time(every):
    rows = [(50.0, 50.0) if n % 500 == 0 else row for n, row in enumerate(calm(2100), start=1)]
    assert Walk(rows).told == [(number, "skip") for number in range(500, 2100, 500)]


def test_a_burst_costs_its_own_batches_and_nothing_is_rolled_back(every):
    for planted in ((NAN, NAN), (50.0, 50.0)):
        walk = Walk([*calm(160), *[planted] * 10, *calm(120, seed=1)])
        assert not {"rollback", "backoff"} & {kind for _, kind in walk.told}
        assert not any(walk.applied(number) for number in range(161, 171))
        assert all(map(walk.applied, range(187 + 2 * every, 281)))


# ------------------------------------------------------------ weights that are broken


def breaks(descent: Any) -> None:
    """The weights are far from where they should be."""
    with torch.no_grad():
        descent.task.model.w.fill_(1e6)


def test_broken_weights_are_rolled_back_to_the_bit(every):
    walk = Walk(calm(400), at={160: breaks})
    (back,) = [event for event in walk.events if event.kind == "rollback"]
    assert back.data["to"] == (150 if every == 1 else 128)
    assert walk.weights[back.number] == walk.weights[back.data["to"]]
    assert back.number - 160 <= max(3 * every, 40)
    assert walk.descent.ending.status == "budget"
    assert abs(walk.weights[-1]) < 1
    assert all(map(walk.applied, range(back.number + 1, 401)))


def repairs(walk: Walk) -> list[str]:
    return [kind for _, kind in walk.told if kind in ("rollback", "backoff", "diverged")]


def back_offs(walk: Walk) -> list[float]:
    """By what the rate was multiplied."""
    texts = [event.text for event in walk.events if event.kind == "backoff"]
    return [float(text.removeprefix("learning rate x ").partition(",")[0]) for text in texts]


def test_what_comes_back_is_backed_off_and_in_the_end_stopped():
    """The weights break again and again."""
    walk = Walk(calm(2000), at=dict.fromkeys(range(160, 2000, 60), breaks))
    assert repairs(walk) == ["rollback", *["rollback", "backoff"] * 3, "diverged"]
    assert back_offs(walk) == [0.5, 0.25, 0.125]
    assert walk.descent.ending.status == "stopped"
    assert "3 back-offs" in walk.descent.ending.reason


def test_a_back_off_lowers_the_rate_warms_it_up_and_resets_the_moments():
    walk = Walk(calm(700), at={160: breaks, 240: breaks}, momentum=0.9)
    (off,) = [number for number, kind in walk.told if kind == "backoff"]
    assert walk.lrs[off] == LR
    expected = [LR * 0.5 * min(1.0, i / 100) for i in range(1, 150)]
    assert walk.lrs[off + 1 : off + 150] == pytest.approx(expected)
    first = next(number for number in range(off + 1, 700) if walk.applied(number))
    moved = abs(walk.weights[first] - walk.weights[first - 1])
    assert moved == pytest.approx(walk.lrs[first], rel=0.5)  # with the old momentum ten times that


# ------------------------------------------------------------ a rate that is far too high

LEAP = 1e8


def raised(number: int) -> dict[int, Callable[[Any], None]]:
    """The rate, far too high for five steps."""
    return {number: partial(set_rate, LR * LEAP), number + 5: partial(set_rate, LR)}


def set_rate(lr: float, descent: Any) -> None:
    descent.optimizer.param_groups[0]["lr"] = lr


def test_a_jump_of_the_rate_is_found_to_be_the_cause():
    walk = Walk(calm(400), at=raised(160))
    (back,) = [event for event in walk.events if event.kind == "rollback"]
    assert "at step 161 the learning rate rose from 0.001 to 1e+05" in back.text
    assert back.data["to"] == 150
    assert walk.weights[back.number] == walk.weights[150]
    assert abs(walk.weights[-1]) < 1


def test_a_jump_that_comes_again_is_undone_while_it_lasts():
    walk = Walk(calm(700), at=raised(160) | raised(240) | raised(320))
    assert repairs(walk) == ["rollback", *["rollback", "backoff"] * 2]
    assert back_offs(walk) == [1 / LEAP] * 2
    assert walk.lrs[-1] == pytest.approx(LR)
    assert abs(walk.weights[-1]) < 1


@dataclass(frozen=True)
class Leap:
    """1 / LEAP, and 1 from one step to another, whatever the guard does."""

    first: int
    last: int
    name = "leap"
    traits = Trait.NONE

    def __call__(self, step: int, horizon: int, evaluations: Any) -> float:
        return 1.0 if self.first <= step <= self.last else 1 / LEAP


@pytest.mark.parametrize("last", [400, 700])
def test_a_schedule_that_leaps_is_held_down_until_it_comes_back(last):
    walk = Walk(calm(700), lr=LR * LEAP, schedule=Schedule(((None, Leap(200, last)),)))
    assert back_offs(walk) == [1 / LEAP]
    assert walk.lrs[300:] == pytest.approx([LR] * 401)
    ends = [event for event in walk.descent.events if "no longer lowered" in event.text]
    assert [event.number for event in ends] == ([] if last == 700 else [last + 1])
    assert all(map(walk.applied, range(300, 701)))


def test_a_second_roll_back_after_a_long_time_is_none():
    assert repairs(Walk(calm(1700), at={160: breaks, 1500: breaks})) == ["rollback"] * 2


def test_nothing_but_nan_ends_in_a_stop(every):
    walk = Walk([(NAN, NAN)] * 512)
    assert walk.descent.ending.status == "stopped"
    assert len(walk.weights) <= 193
    assert set(walk.weights) == {0.0}


@pytest.mark.parametrize("factor", [5.0, 1000.0])
def test_a_loss_that_has_risen_for_good_is_followed(factor, every):
    """The data has become harder: both snapshots are no better, so it is the new level."""
    walk = Walk([*calm(160), *((loss * factor, norm) for loss, norm in calm(512, seed=1))])
    assert repairs(walk) == ["rollback"] * 2
    assert "taken for the new level" in walk.events[-1].text
    assert all(map(walk.applied, range(400, 673)))


def test_heights_that_come_and_go_are_how_the_data_is(every):
    """A rare class: three of its batches are skipped, those after them are let through."""
    rows = [(50.0, 1.0) if n > 160 and n % 40 == 0 else row for n, row in enumerate(calm(800), 1)]
    assert [kind for _, kind in Walk(rows).told] == ["skip"] * 3
