"""An optimizer that is made anew in the loop: the monitor's own steps no more, and another does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import thalweg
from looked_at import mlp, points


def adam(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=1e-3)


def looped(when: str, *, parts: int = 1) -> thalweg.Monitor:
    """Three epochs of 40 steps; when: "before" or "after" an epoch it is made anew, or "never"."""
    net = mlp()
    optimizer = adam(net)
    with thalweg.monitor(net, optimizer, tell=None) as monitor:
        for _ in range(3):
            optimizer = adam(net) if when == "before" else optimizer
            for x, y in points(steps=40):
                for _ in range(parts):
                    loss = functional.cross_entropy(net(x), y) / parts
                    loss.backward()
                    monitor(loss)
                optimizer.step()
                optimizer.zero_grad()
            optimizer = adam(net) if when == "after" else optimizer
    return monitor


@pytest.mark.parametrize(("when", "step"), [("before", 0), ("after", 40)])
def test_it_is_told(when, step):
    monitor = looped(when)
    told = [each for each in monitor.findings if each.code == "TW307"]
    assert [(each.since_step, each.severity) for each in told] == [(step, "warn")]
    assert "another Adam holds the same weights" in told[0].evidence["what"]
    steps = monitor.log.series["loss"].steps
    assert not step or steps.max() <= step  # what came after it belongs to no step that was seen


@pytest.mark.parametrize("parts", [1, 40])
def test_one_that_steps_to_the_end_is_left_alone(parts):
    monitor = looped("never", parts=parts)
    assert monitor.number == 120
    assert "TW307" not in [each.code for each in monitor.findings]


def test_another_models_optimizer_is_none():
    net, other = mlp(), mlp()
    kept = adam(other)
    with thalweg.monitor(net, adam(net), tell=None) as monitor:
        for x, y in points(steps=40):
            monitor(functional.cross_entropy(net(x), y))
    assert kept.param_groups
    assert "made anew" not in " ".join(str(f.evidence.get("what")) for f in monitor.findings)
