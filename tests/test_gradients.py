"""Gradients that mean what they say: a batch in parts is the batch, whatever the parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import thalweg
from thalweg import budget, descend
from thalweg.errors import DataError, UsageError
from thalweg.loop.gradients import OrderedSum
from thalweg.tasks.sources import Arrays

SIZE, NUM_STEPS = 45, 12
"""Batches of 16: the last of an epoch holds 13."""


def data() -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, 3, generator=source, dtype=torch.float64)
    return x, (x[:, :1] * x[:, 1:2] + x[:, 2:]).sin()


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()


class Pairs(Dataset):
    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = data()
        return x[i], y[i]


@pytest.fixture(autouse=True)
def default_dtype():
    yield
    torch.set_default_dtype(torch.float32)


def train(made: Any, **settings: Any) -> tuple[torch.Tensor, list[float]]:
    """The weights after some steps of plain descent, and the losses on the way."""
    torch.set_default_dtype(torch.float64)
    model = net()
    optimizer = thalweg.SGD(model.parameters(), lr=0.3)
    until = budget(steps=settings.pop("steps", NUM_STEPS))
    with descend(thalweg.Task(model, made, loss="mse"), optimizer, until=until, **settings) as run:
        losses = [step.loss for step in run]
    return torch.cat([p.detach().flatten() for p in model.parameters()]), losses


def close(one: Any, other: Any) -> bool:
    weights = torch.allclose(one[0], other[0], rtol=1e-12, atol=1e-14)
    return weights and np.allclose(one[1], other[1], rtol=1e-12)


PARTS = (2, 3, 4, 5, 7, 8, 15, 16)


@pytest.mark.parametrize("parts", PARTS)
def test_a_batch_in_parts_is_the_batch(parts):
    whole = train(data(), batch_size=16)
    assert close(train(data(), batch_size=16, accumulate=parts), whole)
    assert close(train(Pairs(), batch_size=16, accumulate=parts), whole)


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("size", [3, 4, 8])
def test_a_loaders_batches_join_to_a_larger_one(parts, size):
    """The tail as well: 45 samples are a multiple of none, so the last window is short."""
    torch.set_default_dtype(torch.float64)
    loader = DataLoader(Pairs(), batch_size=size)
    larger = DataLoader(Pairs(), batch_size=size * parts)
    assert close(train(loader, accumulate=parts), train(larger))


def test_the_whole_set_in_parts():
    whole = train(data(), batch_size="full")
    assert close(train(data(), batch_size="full", accumulate=6), whole)


def test_a_planted_difference_is_seen():
    whole = train(data(), batch_size=16)
    assert not close(train(data(), batch_size=15), whole)
    weights = whole[0].clone()
    weights[0] *= 1 + 1e-10
    assert not close((weights, whole[1]), whole)


def test_one_sample_a_step():
    weights, losses = train(data(), batch_size=1, steps=2 * SIZE)
    assert len(losses) == 2 * SIZE
    assert bool(torch.isfinite(weights).all())


# Tokens.

LENGTHS = torch.arange(SIZE) % 5 + 1


def sentences() -> tuple[torch.Tensor, torch.Tensor]:
    """Six tokens each, of which the last ones may be padding (-1)."""
    source = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 7, (SIZE, 6), generator=source)
    targets = tokens.roll(1, dims=1)
    return tokens, torch.where(torch.arange(6) < LENGTHS[:, None], targets, -1)


def token_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.transpose(1, 2), targets, ignore_index=-1)


def read(weight: Any, **settings: Any) -> tuple[torch.Tensor, list[float]]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7)).double()
    task = thalweg.Task(model, Arrays(*sentences()), loss=token_loss, metrics=(), weight=weight)
    optimizer = thalweg.SGD(model.parameters(), lr=0.3)
    with descend(task, optimizer, until=budget(steps=NUM_STEPS), **settings) as run:
        losses = [step.loss for step in run]
    return torch.cat([p.detach().flatten() for p in model.parameters()]), losses


def num_tokens(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (targets >= 0).sum()


@pytest.mark.parametrize(
    "settings", [{"batch_size": 16}, {"batch_size": "full"}], ids=["batches", "full"]
)
def test_parts_count_by_their_tokens(settings):
    whole = read(None, **settings)
    for parts in (2, 3, 7):
        assert close(read(num_tokens, accumulate=parts, **settings), whole)
    assert not close(read(None, accumulate=7, **settings), whole), "samples are not tokens"


# The tree.


@pytest.mark.parametrize("count", range(1, 20))
def test_the_sum_is_that_of_the_tree(count):
    """Each leaf to the bit, and so that an aligned half may be summed elsewhere."""
    source = torch.Generator().manual_seed(count)
    leaves = [torch.randn(50, generator=source) for _ in range(count)]

    def tree(first: int, width: int) -> torch.Tensor | None:
        if first >= count:
            return None
        if width == 1:
            return leaves[first]
        left, right = tree(first, width // 2), tree(first + width // 2, width // 2)
        assert left is not None
        return left if right is None else left + right

    p = torch.zeros(50, requires_grad=True)
    total = OrderedSum([p])
    for leaf in leaves:
        p.grad = leaf.clone()
        total.add()
    total.finish()
    assert p.grad is not None
    assert torch.equal(p.grad, tree(0, 32))


def test_a_parameter_may_miss_a_part():
    p, q = (torch.zeros(2, requires_grad=True) for _ in range(2))
    total = OrderedSum([p, q])
    for shard in range(3):
        p.grad = torch.ones(2)
        if shard == 1:
            q.grad = torch.full((2,), 5.0)
        total.add()
    total.finish(0.5)
    assert p.grad.tolist() == [1.5, 1.5]
    assert q.grad.tolist() == [2.5, 2.5]


def test_sparse_gradients_join():
    table = nn.Embedding(5, 2, sparse=True)
    total = OrderedSum([table.weight])
    for i in (1, 3, 1):
        table(torch.tensor([i])).sum().backward()
        total.add()
    total.finish()
    assert table.weight.grad.to_dense()[:, 0].tolist() == [0, 2, 0, 1, 0]


# Memory-mapped data, and what cannot be.


def test_a_file_in_memory_is_read_where_it_lies(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (SIZE, 3))
    x[:] = data()[0].float().numpy()
    x.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    model = nn.Linear(3, 1)
    task = thalweg.Task(model, (mapped, np.zeros((SIZE, 1), np.float32)), loss="mse")
    assert task.data.inputs.data_ptr() == mapped.ctypes.data
    with descend(task, thalweg.SGD(model.parameters(), lr=0.1), until=budget(epochs=2)) as run:
        assert len(list(run)) == 4


class Once:
    """An iterable that gives its batches one time only."""

    def __init__(self) -> None:
        pair = torch.zeros(2, 3).double(), torch.zeros(2, 1).double()
        self.batches = iter([pair] * 3)

    def __iter__(self) -> Any:
        return self.batches


def test_an_iterable_is_read_anew_in_every_epoch():
    batches = [(torch.zeros(2, 3), torch.zeros(2, 1))] * 3
    steps = train(Unknown(batches), steps=7)[1]
    assert len(steps) == 7


class Unknown:
    """Three batches, of a length that nobody knows."""

    def __init__(self, batches: list[Any]):
        self._batches = batches

    def __iter__(self) -> Any:
        return iter([(x.double(), y.double()) for x, y in self._batches])


REFUSED = {
    "more parts than samples": (data, {"batch_size": 4, "accumulate": 5}, UsageError, "only 4"),
    "no parts": (data, {"accumulate": 0}, UsageError, "accumulate is 0"),
    "no number of workers": (data, {"workers": -1}, UsageError, "workers is -1"),
    "a loader's batch size": (
        lambda: DataLoader(Pairs()),
        {"batch_size": 4},
        UsageError,
        "makes its own batches",
    ),
    "an iterable that is used up": (Once, {"steps": 7}, DataError, "gave no batch in epoch 2"),
    "a loader of no pairs": (
        lambda: DataLoader(torch.zeros(4, 3)),
        {},
        DataError,
        "the loader gave a Tensor",
    ),
    "a precision that is none": (data, {"precision": "fp8"}, UsageError, "'fp8' is unknown"),
}


@pytest.mark.parametrize(("make", "settings", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(make, settings, kind, words):
    with pytest.raises(kind, match=words):
        train(make(), **settings)
