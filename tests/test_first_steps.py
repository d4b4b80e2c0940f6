"""What the first steps are read by: targets from gradients, passes between steps, graphs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thalweg.facts import Setup
from thalweg.loop.modes import Modes
from thalweg.probes.graph import leaves, orphans, past
from thalweg.probes.inputs import alike
from thalweg.probes.setup import is_fresh, setup, some
from thalweg.probes.targets import Output

# ------------------------------------------------------------ targets


def product(o, t):
    away = o - t
    return (away * away).mean()


LOSSES = {
    "mean of powers": lambda o, t: ((o - t) ** 2).mean(),
    "sum of squares": lambda o, t: (t - o).square().sum(),
    "product": product,
    "torch's": nn.functional.mse_loss,
    "torch's sum": nn.MSELoss(reduction="sum"),
    "root": lambda o, t: ((o - t) ** 2).mean().sqrt(),
    "half a root": lambda o, t: 0.5 * nn.functional.mse_loss(o, t).sqrt(),
    "swapped": lambda o, t: nn.functional.mse_loss(t, o),
    "half": lambda o, t: 0.5 * ((o - t) ** 2).mean(),
    "mean over samples": lambda o, t: (o - t).square().sum(1).mean(),
    "behind a tanh": lambda o, t: (o.tanh() - t).square().mean(),
    "behind a sigmoid": lambda o, t: nn.functional.mse_loss(o.sigmoid(), t),
    "behind a relu": lambda o, t: (o.relu() - t).square().mean(),
}


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_targets_are_found_again(name, is_late):
    torch.manual_seed(0)
    net = nn.Linear(6, 3)
    given = net(torch.randn(40, 6))
    targets = torch.randint(4, (40, 1)).float().expand(40, 3)
    output = Output(given)
    loss = LOSSES[name](given, targets)
    if not is_late:
        output.saw_loss(loss)
    loss.backward()
    if is_late:
        output.saw_loss(loss)
    found = output.targets()
    assert found is not None
    assert found.are_whole
    assert [number for number, _ in found.counts] == [0, 1, 2, 3]
    assert (found.lowest, found.highest) == pytest.approx((0, 3), abs=1e-3)
    assert found.is_spread == (name != "behind a relu" or not is_late)


@pytest.mark.parametrize("scale", [1 / 4, 65536.0])
def test_the_scale_of_a_gradient_does_not_matter(scale):
    given = nn.Linear(6, 1)(torch.randn(40, 6))
    targets = 7 * torch.rand(40, 1)
    output = Output(given)
    loss = (given - targets).square().mean()
    output.saw_loss(loss)
    (scale * loss).backward()
    found = output.targets()
    assert found is not None
    assert found.highest == pytest.approx(float(targets.max()), rel=1e-4)


OTHERS = {
    "weighted": lambda o, t: ((1 + t.abs()) * (o - t) ** 2).mean(),
    "fourth power": lambda o, t: ((o - t) ** 4).mean(),
    "two parts": lambda o, t: ((o - t) ** 2).mean() + (o**2).mean(),
    "of some": lambda o, t: ((o[:9] - t[:9]) ** 2).mean(),
    "of another layer": lambda o, t: ((nn.Linear(3, 3)(o) - t) ** 2).mean(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_is_made_up_of_other_losses(name):
    given = nn.Linear(6, 3)(torch.randn(40, 6))
    output = Output(given)
    loss = OTHERS[name](given, torch.randint(4, (40, 3)).float())
    output.saw_loss(loss)
    loss.backward()
    assert output.targets() is None


SIZES = {
    "absolute": lambda o, t: (t - o).abs().mean(),
    "smooth": nn.functional.smooth_l1_loss,
    "huber": nn.functional.huber_loss,
    "squared, behind a relu": lambda o, t: (o.relu() - t).square().mean(),
}


@pytest.mark.parametrize("name", SIZES)
def test_targets_are_read_before_the_backward_pass(name):
    given = nn.Linear(6, 1)(torch.randn(40, 6))
    targets = torch.randint(-3, 4, (40, 1)).float()
    output = Output(given)
    loss = SIZES[name](given, targets)
    output.saw_loss(loss)
    loss.backward()
    found = output.targets()
    assert found is not None
    assert found.are_whole
    assert (len(found.counts), found.lowest, found.highest) == pytest.approx((7, -3, 3))


# ------------------------------------------------------------ passes between steps


def said(*events, size=8):
    """What `Modes` says: a number is a pass with gradients and a step, "large" and "small" are
    passes without, "same" is one on the same small batch, "end" is the end.
    """
    modes = Modes(nn.Sequential(nn.Dropout(0.5)))
    modes.setup = Setup((), 0, 0, 0, False, (), ("0",), "")
    same, found, number = torch.randn(size, 2), [], 0
    for event in events:
        if event == "step":
            modes.trained((torch.randn(size, 2),))
            number += 1
            found += modes.stepped(number)
        elif event == "end":
            found += modes.ended(number)
        else:
            x = {"large": torch.randn(9 * size, 2), "same": same.clone()}.get(event)
            found += modes.passed(number, (torch.randn(size, 2) if x is None else x,))
    return [finding.since_step for finding in found]


def test_an_evaluation_is_told_from_a_part_of_the_step():
    assert said("step", "step", "large", "step", "end") == [2]
    assert said("step", "large", "step", "large", "step", "large", "step", "end") == []
    assert said("step", "same", "step", "same", "end") == [2]
    assert said("same", "step", "same", "step", "same", "step", "end") == []
    assert said("step", "small", "step", "small", "step", "end") == []
    assert said("step", "small", "small", "small", "step") == [1]


# ------------------------------------------------------------ graphs and inputs


def test_a_layer_that_only_the_graph_holds():
    kept = nn.Linear(4, 4)
    found = leaves(nn.Linear(4, 3)(kept(torch.randn(2, 4))).sum().grad_fn)
    assert orphans(found.weights, {}) == 12
    assert orphans(found.weights, {id(p): "" for p in kept.parameters()}) == 12
    assert orphans(leaves(kept(torch.randn(2, 4)).sum().grad_fn).weights, {}) == 0


def test_what_is_reached_past_a_layer():
    first, narrow, around = nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(4, 1)
    h = first(torch.randn(2, 4))
    assert id(first.weight) not in past(narrow(h).sum().grad_fn, id(narrow.weight))
    both = (narrow(h) + around(h)).sum()
    assert id(first.weight) in past(both.grad_fn, id(narrow.weight))


@pytest.mark.parametrize("shape", [(64, 32), (32, 16), (16, 8)])
def test_a_layer_as_torch_draws_it_is_fresh_and_a_trained_one_is_not(shape):
    torch.manual_seed(0)
    layers = [nn.Linear(shape[1], shape[0]) for _ in range(20)]
    assert sum(is_fresh(some(layer.weight), shape[1]) for layer in layers) >= 16
    for layer in layers:
        moved = layer.weight + 0.3 * layer.weight.std() * torch.randn(shape)
        assert not is_fresh(some(nn.Parameter(moved * torch.rand(shape[0], 1) * 2)), shape[1])


def test_a_copy_is_not_fresh():
    net = nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 32)])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    assert [w.is_fresh for w in setup(net, [optimizer]).weights if w.inputs] == [True, True]
    net[1].load_state_dict(net[0].state_dict())
    assert [w.is_fresh for w in setup(net, [optimizer]).weights if w.inputs] == [False, False]


def test_inputs_that_are_the_same_for_all():
    assert alike([torch.zeros(8, 3)]) == "zero"
    assert alike([torch.ones(8, 3), torch.zeros(8, 2)]) == "alike"
    assert alike([torch.zeros(8, 3), torch.randn(8, 3)]) == ""
    assert alike([torch.zeros(4, 3)]) == ""
    assert alike([torch.full((8, 1), 0.5)]) == ""
