"""The torch scheduler: every schedule x every law, and torch's own schedulers beside it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as peers

import thalweg
from thalweg import (
    Scheduler,
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    linear,
    one_cycle,
    plateau,
    polynomial,
    restarts,
    step,
    warmup,
    wsd,
)
from thalweg.errors import UsageError
from thalweg.schedules import BUILDERS

HORIZON = 24
BASE = (0.1, 0.003)
LOSSES = [3.0, 2.0, 2.0, 1.9999, 2.5, 1.0, 1.0, 1.0, 1.0, 0.9, 0.9, 0.9, float("nan"), 0.9] * 2

SCHEDULES = (
    constant(),
    cosine(0.1),
    exponential(),
    inverse_sqrt(10),
    linear(),
    one_cycle(),
    plateau(0.5, patience=1, cooldown=1),
    polynomial(),
    restarts(5, multiplier=2),
    step(),
    warmup(4) >> wsd(5),
    warmup(0.25) >> plateau(0.5, patience=0),
)
OPTIMIZERS = {
    "torch SGD": lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9),
    "torch AdamW, rate in a tensor": lambda groups: torch.optim.AdamW(
        [{**g, "lr": torch.tensor(g["lr"], dtype=torch.float64)} for g in groups], foreach=False
    ),
    "thalweg AdamW": thalweg.AdamW,
}

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
every_optimizer = pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)


def parameter() -> torch.Tensor:
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.full_like(x, 0.1)
    return x


def groups(bases: tuple[float, ...] = BASE) -> list[dict[str, Any]]:
    return [{"params": [parameter()], "lr": lr} for lr in bases]


def sgd(lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups((lr,)))


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def advance(scheduler: Scheduler, number: int) -> list[float]:
    """Step `number`, of which the loss is looked at where the schedule does so; its rates."""
    used = rates(scheduler.optimizer)
    scheduler.optimizer.step()
    if scheduler.schedule.needs_evaluations:
        scheduler.step(torch.tensor(LOSSES[number - 1], dtype=torch.float64))
    else:
        scheduler.step()
    return used


def walk(scheduler: Scheduler, first: int = 1, last: int = HORIZON + 3) -> list[list[float]]:
    return [advance(scheduler, number) for number in range(first, last + 1)]


def expected(schedule, bases: tuple[float, ...] = BASE, last: int = HORIZON + 3) -> list[Any]:
    seen = list(enumerate(LOSSES, 1))
    factors = [schedule(number, HORIZON, seen) for number in range(1, last + 1)]
    return [[base * factor for base in bases] for factor in factors]


def test_every_schedule_is_here():
    assert {shape.name for row in SCHEDULES for _, shape in row.parts} == set(BUILDERS)


@every_schedule
@every_optimizer
def test_it_sets_the_pure_function_for_every_group(schedule, build):
    optimizer = build(groups())
    scheduler = Scheduler(optimizer, schedule, horizon=HORIZON)
    assert walk(scheduler) == expected(schedule)
    assert [float(lr) for lr in scheduler.get_last_lr()] == rates(optimizer)
    assert scheduler.base_lrs == list(BASE)
    assert isinstance(scheduler, peers.LRScheduler)


def test_a_planted_wrong_rate_is_caught():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, cosine(1e-9), horizon=HORIZON)
    assert walk(scheduler) != expected(cosine(), (0.1,))


@every_schedule
@every_optimizer
@pytest.mark.parametrize("number", [0, 1, 11, HORIZON])
@pytest.mark.parametrize("is_optimizer_first", [True, False])
def test_it_goes_on_from_its_state_exactly(schedule, build, number, is_optimizer_first):
    """From a file that holds plain values only, into a fresh pair, in either order."""
    first = Scheduler(build(groups()), schedule, horizon=HORIZON)
    walk(first, last=number)
    file = io.BytesIO()
    torch.save({"s": first.state_dict(), "o": first.optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)

    optimizer = build(groups((0.7, 0.7)))
    if is_optimizer_first:
        optimizer.load_state_dict(state["o"])
    second = Scheduler(optimizer, constant())
    second.load_state_dict(state["s"])
    if not is_optimizer_first:
        optimizer.load_state_dict(state["o"])
    assert repr(second.state_dict()) == repr(first.state_dict()), "a NaN equals itself"
    assert second.get_last_lr() == first.get_last_lr()
    assert walk(second, number + 1) == walk(first, number + 1) == expected(schedule)[number:]


def test_a_state_shares_nothing_with_its_scheduler():
    scheduler = Scheduler(sgd(), plateau(0.5, patience=0))
    walk(scheduler, last=3)
    state = scheduler.state_dict()
    kept = copy.deepcopy(state)
    walk(scheduler, 4, 9)
    assert state == kept
    scheduler.load_state_dict(state)
    walk(scheduler, 4, 9)
    assert state == kept


BAD_STATES = {
    "of another": ({"last_epoch": 3}, "no state of a thalweg.Scheduler: 'schedule'"),
    "of more groups": ({"last_lrs": [0.1, 0.1]}, "2 parameter groups.*has 1"),
    "of no schedule": ({"schedule": "cos"}, "did you mean cosine"),
}


@pytest.mark.parametrize(("change", "message"), BAD_STATES.values(), ids=BAD_STATES)
def test_a_wrong_state_is_refused(change, message):
    scheduler = Scheduler(sgd(), cosine(), horizon=5)
    state = change if "last_epoch" in change else scheduler.state_dict() | change
    with pytest.raises(UsageError, match=message):
        scheduler.load_state_dict(state)
    assert walk(scheduler, last=3)[0] == [0.1], "it is as it was"


BAD = {
    "no horizon": (lambda: Scheduler(sgd(), cosine()), "horizon="),
    "horizon 0": (lambda: Scheduler(sgd(), cosine(), horizon=0), "horizon is 0"),
    "a text": (lambda: Scheduler(sgd(), "cosin", horizon=5), "did you mean cosine"),
    "a model": (lambda: Scheduler(parameter(), cosine(), horizon=5), "type Tensor: .*optimizer"),
    "no optimizer": (lambda: Scheduler(None, cosine(), horizon=5), "type NoneType"),
    "no schedule": (lambda: Scheduler(sgd(), None, horizon=5), "None is no schedule"),
    "its function": (lambda: Scheduler(sgd(), cosine, horizon=5), "write cosine"),
    "horizon 1.5": (lambda: Scheduler(sgd(), cosine(), horizon=1.5), "horizon is 1.5"),
    "a text for a loss": (lambda: Scheduler(sgd(), plateau()).step("low"), "loss is 'low'"),
    "a loss": (lambda: Scheduler(sgd(), linear(), horizon=5).step(3), "looks at no loss"),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_what_is_refused(build, message):
    with pytest.raises(UsageError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_a_text_will_do():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, "warmup:4 >> wsd:decay=5", horizon=HORIZON)
    assert walk(scheduler) == expected(warmup(4) >> wsd(5), (0.1,))


def test_a_group_may_come_late():
    optimizer = torch.optim.SGD(groups((0.1,)))
    scheduler = Scheduler(optimizer, linear(), horizon=10)
    walk(scheduler, last=4)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.5})
    walk(scheduler, 5, 6)
    assert rates(optimizer) == pytest.approx([0.1 * 0.4, 0.5 * 0.4], abs=1e-15)
    assert len(scheduler.get_last_lr()) == 2
    again = Scheduler(torch.optim.SGD(groups((1, 1))), constant())
    again.load_state_dict(scheduler.state_dict())
    assert rates(again.optimizer) == rates(optimizer)


def test_a_rate_set_from_outside_is_gone_on_from():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, linear(), horizon=10)
    walk(scheduler, last=5)
    optimizer.param_groups[0]["lr"] = 0.5
    scheduler.step()
    assert rates(optimizer) == pytest.approx([0.5 / 0.5 * 0.4])


def test_asking_for_the_rates_changes_nothing():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, cosine(), horizon=10)
    walk(scheduler, last=5)
    before = rates(optimizer), scheduler.state_dict()
    assert scheduler.get_lr() == scheduler.get_last_lr() == before[0]
    assert (rates(optimizer), scheduler.state_dict()) == before


def chained(make: Callable[[torch.optim.Optimizer], list[Any]]) -> list[float]:
    optimizer = sgd()
    chain = peers.ChainedScheduler(make(optimizer))
    seen = []
    for _ in range(20):
        seen += rates(optimizer)
        optimizer.step()
        chain.step()
    return seen


def test_chained_schedulers_multiply():
    """With each other, and with torch's chainable ones, in either order."""
    product = [0.1 * restarts(5, floor=0.1)(n) * exponential(0.5)(n, HORIZON) for n in range(1, 21)]

    def own(optimizer):
        return Scheduler(optimizer, restarts(5, floor=0.1))

    def torchs(optimizer):
        return peers.ExponentialLR(optimizer, 0.5 ** (1 / HORIZON))

    two = [own, lambda optimizer: Scheduler(optimizer, exponential(0.5), horizon=HORIZON)]
    for makers in (two, two[::-1], [own, torchs], [torchs, own]):
        assert chained(lambda o, all=makers: [make(o) for make in all]) == pytest.approx(product)


# Beside torch's own.

N = 40
PEERS: dict[str, tuple[Any, Callable[[Any], Any], int]] = {
    "CosineAnnealingLR": (cosine(0.2), lambda o: peers.CosineAnnealingLR(o, N, eta_min=0.02), N),
    "LinearLR": (linear(0.2), lambda o: peers.LinearLR(o, 1.0, 0.2, N), 2 * N),
    "LinearLR to 0": (linear(), lambda o: peers.LinearLR(o, 1.0, 0.0, N), N),
    "StepLR": (step(0.3, 4), lambda o: peers.StepLR(o, 10, 0.3), N),
    "ExponentialLR": (exponential(0.9**N), lambda o: peers.ExponentialLR(o, 0.9), N + 1),
    "PolynomialLR": (polynomial(3.0), lambda o: peers.PolynomialLR(o, N, 3.0), 2 * N),
    "CosineAnnealingWarmRestarts": (
        restarts(7, floor=0.2),
        lambda o: peers.CosineAnnealingWarmRestarts(o, 7, eta_min=0.02),
        3 * N,
    ),
    "CosineAnnealingWarmRestarts, twice as long": (
        restarts(3, multiplier=2),
        lambda o: peers.CosineAnnealingWarmRestarts(o, 3, T_mult=2),
        3 * N,
    ),
    "OneCycleLR": (
        one_cycle(),
        lambda o: peers.OneCycleLR(
            o, 0.1, total_steps=N + 1, pct_start=(0.3 * N + 1) / (N + 1), cycle_momentum=False
        ),
        N + 1,
    ),
    "LambdaLR of the paper of the transformer": (
        warmup(8) >> inverse_sqrt(8),
        lambda o: peers.LambdaLR(o, lambda t: min((t + 1) / 8, (8 / max(t, 1)) ** 0.5)),
        3 * N,
    ),
}


def beside(schedule: Any, peer: Callable[[Any], Any], steps: int) -> float:
    """The largest difference of two rates, as a share of the base."""
    ours, theirs = sgd(), sgd()
    pair = Scheduler(ours, schedule, horizon=N), peer(theirs)
    worst = 0.0
    for _ in range(steps):
        worst = max(worst, abs(rates(ours)[0] - rates(theirs)[0]) / 0.1)
        for scheduler in pair:
            scheduler.optimizer.step()
            scheduler.step()
    return worst


@pytest.mark.parametrize(("schedule", "peer", "steps"), PEERS.values(), ids=PEERS)
def test_it_equals_torchs(schedule, peer, steps):
    assert beside(schedule, peer, steps) < 1e-12


@pytest.mark.parametrize(("schedule", "peer", "steps"), PEERS.values(), ids=PEERS)
def test_one_step_late_would_be_seen(schedule, peer, steps):
    assert beside(constant(1) >> schedule, peer, steps) > 1e-3


@pytest.mark.parametrize("settings", [{}, {"cooldown": 2}, {"threshold": 0.05}, {"patience": 0}])
def test_it_equals_reduce_on_plateau(settings):
    settings = {"factor": 0.5, "patience": 1, "threshold": 1e-4, "cooldown": 0} | settings
    ours, theirs = sgd(), sgd()
    scheduler = Scheduler(ours, plateau(**settings, floor=0.01))
    peer = peers.ReduceLROnPlateau(theirs, **settings, min_lr=0.001, eps=0.0)
    seen = []
    for loss in LOSSES:
        scheduler.optimizer.step()
        theirs.step()
        scheduler.step(loss)
        peer.step(loss)
        assert rates(ours) == pytest.approx(rates(theirs), rel=1e-12)
        seen += rates(ours)
    assert len({*seen}) > 2, "it fell more than once"
