"""Activations computed again: the same gradients, draws and statistics to the bit, less memory."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import thalweg
from thalweg.errors import UsageError
from thalweg.scale.recompute import Recompute

WIDTH, CLASSES = 8, 3


class Block(nn.Module):
    """Residual, with what a repetition could get wrong: draws, running statistics, a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return x + scale * self.drop(torch.tanh(self.layer(self.norm(x))))


class Listed(nn.Module):
    """Blocks in a list, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in [*self.blocks, self.blocks[0]]:
            x = block(x, scale=0.5)
        return self.head(x)


class Counting(nn.Module):
    """Its output depends on a buffer that each forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mean", torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.mean.mul_(0.9).add_(x.mean(dim=0))
        return torch.tanh(self.layer(x)) * self.mean.clone()


def layers() -> list[nn.Module]:
    return [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.2), nn.Tanh()]


def spectral() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)))


def head() -> nn.Module:
    return nn.Linear(WIDTH, CLASSES)


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "blocks in a list": (Listed, 3),
    "blocks in a row": (lambda: nn.Sequential(*(Block() for _ in range(3)), head()), 3),
    "a long row of layers": (lambda: nn.Sequential(*layers(), *layers(), *layers(), head()), 1),
    "rows of rows": (
        lambda: nn.Sequential(*(nn.Sequential(*layers()) for _ in range(2)), head()),
        2,
    ),
    "two stages": (
        lambda: nn.Sequential(
            nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block(), Block()), head()
        ),
        5,
    ),
    "buffers that the output needs": (
        lambda: nn.Sequential(nn.Sequential(Counting()), nn.Sequential(Counting()), head()),
        2,
    ),
    "spectral norm": (lambda: nn.Sequential(spectral(), spectral(), head()), 2),
}
"""Models, and how many blocks are found in them."""


def data() -> tuple[torch.Tensor, torch.Tensor]:
    source = np.random.default_rng(0)
    x = source.normal(size=(40, WIDTH)).astype(np.float32)
    return torch.from_numpy(x), torch.arange(40) % CLASSES


def net(name: str) -> nn.Module:
    torch.manual_seed(1)
    return NETS[name][0]()


def trained(model: nn.Module, **settings: Any) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """What was measured of each step, and the final weights and buffers."""
    with thalweg.descend(
        thalweg.Task(model, data(), validation=data()),
        thalweg.AdamW(model.parameters(), lr=0.01),
        until=thalweg.budget(steps=12),
        batch_size=16,
        **settings,
    ) as descent:
        steps = [dict(step.measured()) for step in descent]
    return steps, model.state_dict()


def same(one: Any, other: Any) -> bool:
    return one[0] == other[0] and all(torch.equal(t, other[1][n]) for n, t in one[1].items())


@pytest.mark.parametrize("name", NETS)
def test_the_right_blocks_are_found(name):
    assert len(Recompute(net(name)).blocks) == NETS[name][1]


@pytest.mark.parametrize("more", [{}, {"accumulate": 2}, {"precision": "bf16"}], ids=repr)
@pytest.mark.parametrize("name", NETS)
def test_a_run_is_the_same_to_the_bit(name, more):
    assert same(trained(net(name), recompute=True, **more), trained(net(name), **more))


def test_statistics_written_twice_would_be_seen(monkeypatch):
    """The comparison fails where checkpoints are left to torch alone."""
    monkeypatch.setattr(
        "thalweg.scale.recompute._written_once", lambda owners: (nullcontext(), nullcontext())
    )
    found = trained(net("blocks in a list"), recompute=True)
    assert not same(found, trained(net("blocks in a list")))


@pytest.mark.parametrize("name", NETS)
def test_less_is_kept(name):
    """Values that the graph holds after the forward pass."""
    sizes = []
    for saves in (False, True):
        model, kept = net(name), []
        x, y = data()
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t, kept=kept: (kept.append(t.numel()), t)[1], lambda t: t
        )
        with hooks:
            if saves:
                with Recompute(model).applied():
                    outputs = model(x)
            else:
                outputs = model(x)
            functional.cross_entropy(outputs, y)
        sizes.append(sum(kept))
    assert sizes[1] < 0.9 * sizes[0]


def test_the_model_is_as_ever_between_steps():
    model = net("blocks in a list")
    with thalweg.descend(
        thalweg.Task(model, data()), thalweg.SGD(model.parameters(), lr=0.1), recompute=True
    ) as descent:
        next(descent)
        assert not any("forward" in vars(module) for module in model.modules())
        assert "forward" not in vars(copy.deepcopy(model).blocks[0])
        pickle.dumps(model)


def test_a_failing_step_leaves_the_model_as_it_was():
    model = net("blocks in a list")
    with pytest.raises(RuntimeError), Recompute(model).applied():
        model(torch.zeros(2, WIDTH + 1))
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU())])
def test_a_model_without_blocks_is_told(model):
    with pytest.raises(UsageError, match="recompute finds no blocks in the model") as caught:
        Recompute(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_what_is_no_truth_is_told(value):
    with pytest.raises(UsageError, match=r"recompute is .*: it must be True or False"):
        trained(net("blocks in a list"), recompute=value)


def test_a_resume_may_compute_again_or_not(tmp_path):
    """The bits are the same, so it is no setting that a resume must share."""

    def go(**settings: Any) -> dict[str, torch.Tensor]:
        model = net("blocks in a list")
        with thalweg.descend(
            thalweg.Task(model, data()),
            thalweg.AdamW(model.parameters(), lr=0.01),
            until=thalweg.budget(steps=12),
            folder=tmp_path,
            resume=True,
            checkpoint_every=5,
            **settings,
        ) as descent:
            for step in descent:
                if step.number == 7:
                    break
        return model.state_dict()

    go(recompute=True)
    found = go()
    model = net("blocks in a list")
    with thalweg.descend(
        thalweg.Task(model, data()),
        thalweg.AdamW(model.parameters(), lr=0.01),
        until=thalweg.budget(steps=12),
    ) as descent:
        list(descent)
    assert all(torch.equal(t, found[n]) for n, t in model.state_dict().items())
