"""Trials leave a run as it was, to the bit: in a loop of one's own, and in a fit."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
import torch

import thalweg
from thalweg.errors import UsageError
from thalweg.jobs import live
from thalweg.record import read
from thalweg.trials.snapshot import Snapshot
from thalweg.types import TRIALS, Finding, Verdict
from trials_kit import SHUFFLED, Loop, X, normed, sgd

# ------------------------------------------------------------ nothing is disturbed

OPTIMIZERS: dict[str, Any] = {
    "sgd with momentum": sgd,
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2),
    "thalweg's sgd": lambda m: thalweg.SGD(m.parameters(), lr=0.1, momentum=0.9),
    "thalweg's adamw": lambda m: thalweg.AdamW(m.parameters(), lr=1e-2, clip=1.0),
    "thalweg's lion": lambda m: thalweg.Lion(m.parameters(), lr=1e-3),
}


def state_of(loop):
    """All that a loop goes on from: weights, state, modes, gradients, generators."""
    return {
        "weights": {k: v.clone() for k, v in loop.model.state_dict().items()},
        "optimizer": copy.deepcopy(loop.optimizer.state_dict()),
        "modes": [module.training for module in loop.model.modules()],
        "grads": [None if p.grad is None else p.grad.clone() for p in loop.model.parameters()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),
        "python": random.getstate(),
    }


def alike(one, other):
    if isinstance(one, torch.Tensor | np.ndarray):
        return bool((torch.as_tensor(one) == torch.as_tensor(other)).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


def noisy(loop):
    """A loss that draws from all three generators."""
    plain = loop.loss_of

    def loss_of(batch):
        factor = 1 + 1e-3 * (random.random() + np.random.rand())
        return factor * plain(batch)

    return loss_of


@pytest.mark.parametrize("before", [0, 7])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_run_is_the_same_to_the_bit(optimizer, before):
    ends = []
    for is_tried in (False, True):
        loop = Loop(normed, optimizer).steps(before)
        loop.model[0][1].eval()  # frozen by intent
        loop.loss_of = noisy(loop)
        loop.backward()
        found = state_of(loop)
        if is_tried:
            assert loop.tried(last=loop.last).steps > 100
            assert alike(state_of(loop), found)
        loop.optimizer.step()
        ends.append(state_of(loop.steps(20)))
    assert alike(*ends)


def test_the_comparison_can_fail():
    one, other = Loop().steps(3), Loop().steps(3)
    with torch.no_grad():
        other.model[0].weight[0, 0] += 1e-7
    assert not alike(state_of(one), state_of(other))


def test_an_exception_inside_puts_everything_back():
    loop = Loop(normed).steps(5)
    loop.backward()
    found, plain, calls = state_of(loop), loop.loss_of, []

    def fails(batch):
        calls.append(batch)
        if len(calls) > 60:
            raise ArithmeticError("at the sixtieth")
        return plain(batch)

    loop.loss_of = fails
    with pytest.raises(ArithmeticError, match="sixtieth"):
        loop.tried()
    assert alike(state_of(loop), found)


def test_a_monitor_does_not_count_the_steps_of_trials():
    loop = Loop()
    seen = []
    with thalweg.monitor(loop.model, loop.optimizer, tell=None) as monitor:
        for _ in range(12):
            loop.steps(1)
            monitor(loop.loss_of(loop.last))
        loop.optimizer.register_step_post_hook(lambda *_: seen.append(1))
        before = monitor.number
        loop.tried()
        assert (monitor.number, seen, monitor.fault) == (before, [], "")
        loop.steps(1)
        monitor(loop.loss_of(loop.last))
        assert (monitor.number, seen) == (before + 1, [1])


def test_a_rate_in_a_tensor_and_a_closure_over_the_model_come_back():
    loop = Loop(optimizer=lambda m: torch.optim.AdamW(m.parameters(), lr=torch.tensor(1e-2)))
    loop.steps(3).tried()
    assert float(loop.optimizer.param_groups[0]["lr"]) == pytest.approx(1e-2)


# ------------------------------------------------------------ what cannot be tried

LOSSES: dict[str, Any] = {
    "without a graph": (lambda plain, batch: plain(batch).detach(), "without a graph"),
    "of each sample": (lambda plain, batch: plain(batch).repeat(4), "of shape .4,."),
    "a number": (lambda plain, batch: plain(batch).item(), "a tensor of one"),
    "nan": (lambda plain, batch: plain(batch) * float("nan"), "nan before any step"),
    "of others": (lambda plain, batch: torch.ones((), requires_grad=True), "none of the weights"),
}


@pytest.mark.parametrize(("change", "text"), LOSSES.values(), ids=LOSSES)
def test_a_loss_that_cannot_be_tried_is_one_line(change, text):
    loop = Loop()
    plain, found = loop.loss_of, state_of(loop)
    loop.loss_of = lambda batch: change(plain, batch)
    with pytest.raises(UsageError, match=text):
        loop.tried()
    assert alike(state_of(loop), found)


def test_a_descent_from_a_snapshot_begins_anew_each_time():
    loop = Loop(normed).steps(3)
    with Snapshot(loop.model, loop.optimizer, loop.loss_of) as snapshot:
        one, other = (snapshot.descend(islice(cycle(loop.learnt), 9)) for _ in range(2))
        slow = snapshot.descend(loop.learnt[:9], factor=1e-3)
    assert one == other
    assert one[0] == slow[0]
    assert one[-1] < slow[-1]


# ------------------------------------------------------------ in a fit


def test_a_fit_is_the_same_with_and_without(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(live, "SHARE", 1e9)
    monkeypatch.setattr(live, "WITH_TRIALS", 1e9)  # it may look at every evaluation, however slow
    found = Finding("TW203", "labels", "act", 10, 0.7, {"says": "nothing carries over"}, "look")
    monkeypatch.setattr(live, "so_far", lambda log: Verdict("stalled", "it stands", (found,)))
    made = {}
    for trials in (False, True):
        run = thalweg.fit(
            (X.numpy(), SHUFFLED.numpy()),
            model="mlp",
            epochs=12,
            patience=99,
            trials=trials,
            out=str(tmp_path),
            name=f"run-{trials}",
        )
        told = capsys.readouterr().err
        assert ("% sure after trials" in told) == trials
        weights = {k: v.clone() for k, v in run.model.state_dict().items()}
        history = read(run.folder)
        steps = {k: v for k, v in history.steps.items() if k != "seconds"}
        looks = [replace(each, seconds=0.0) for each in history.evaluations]
        made[trials] = {
            "weights": weights,
            "steps": {k: np.nan_to_num(np.asarray(v, float)) for k, v in steps.items()},
            "looks": repr(looks),
            "events": [(e.number, e.kind, e.text) for e in history.events if e.kind != TRIALS],
        }
    assert len(made[True]["steps"]["number"]) > 300
    assert alike(made[False], made[True])
