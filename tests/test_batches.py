"""The order of an epoch and its batches: every size x every law."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import pytest
import torch

from thalweg.keys import key
from thalweg.loop import batches
from thalweg.loop.batches import Batches, Position, num_batches
from thalweg.loop.order import Shuffled
from thalweg.tasks.sources import Arrays

SIZES = (1, 2, 3, 4, 7, 16, 17, 31, 100, 255, 256, 257, 1000, 4096, 4097)


# The order.


@pytest.mark.parametrize("size", SIZES)
def test_an_epoch_is_a_permutation(size):
    order = Shuffled(size, seed=3)
    for epoch in (0, 1, 10**6):
        indices = order.indices(epoch, 0, size)
        assert indices.dtype == np.int64
        assert sorted(indices.tolist()) == list(range(size))


@pytest.mark.parametrize("size", SIZES)
def test_any_stretch_is_had_alone(size):
    whole = Shuffled(size, seed=3).indices(5, 0, size)
    for start in {0, size // 3, size - 1}:
        for count in {1, (size - start) // 2, size - start}:
            part = Shuffled(size, seed=3).indices(5, start, count)
            assert np.array_equal(part, whole[start : start + count])


def test_it_is_a_function_of_seed_and_epoch():
    orders = {
        (seed, epoch): tuple(Shuffled(100, seed).indices(epoch, 0, 100))
        for seed in (0, 1, 2, -1, 2**40)
        for epoch in (0, 1, 2)
    }
    assert len(set(orders.values())) == len(orders)
    assert orders[1, 2] == tuple(Shuffled(100, 1).indices(2, 0, 100))


def test_every_place_goes_everywhere():
    """Over 2,000 epochs each sample stands at each of 20 places 100 times, give or take 5 sigma."""
    size, epochs = 20, 2000
    seen = np.zeros((size, size))
    for epoch in range(epochs):
        seen[np.arange(size), Shuffled(size, 0).indices(epoch, 0, size)] += 1
    mean = epochs / size
    assert float(np.abs(seen - mean).max()) < 5 * math.sqrt(mean)


def test_keys_differ_and_stay():
    numbers = (0, 1, 2, 7, 2**33, -5)
    keys = {key(a, b) for a in numbers for b in numbers}
    assert len(keys) == len(numbers) ** 2
    assert all(0 <= value < 2**63 for value in keys)
    assert key(0) == 0xE220A8397B1DCDAF >> 1, "splitmix64's first number"
    assert key(1, 2, 3) == key(1, 2, 3) != key(3, 2, 1)


# Batches.


def walk(batches: Batches, epochs: int = 1) -> list[list[int]]:
    """The sample numbers of each batch; the targets are the numbers."""
    found, position = [], Position()
    while position.epoch < epochs:
        batch = batches.at(position)
        numbers = [int(i) for _, (_, targets) in batch.shards for i in targets]
        assert len(numbers) == batch.samples
        found.append(numbers)
        position = batch.following
    return found


def numbered(size: int) -> Arrays:
    return Arrays(torch.zeros(size, 1), torch.arange(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 16, 100, "full"])
def test_an_epoch_is_covered_once(size, batch_size):
    parts = Batches(numbered(size), batch_size, seed=1)
    found = walk(parts)
    assert sorted(chain.from_iterable(found)) == list(range(size))
    assert len(found) == parts.per_epoch == num_batches(size, batch_size)

    if batch_size != 1 and size > 1:
        assert min(map(len, found)) > 1, "a lone last sample joins the batch before it"
    sizes = [len(batch) for batch in found]
    assert all(n == sizes[0] for n in sizes[:-1])


@pytest.mark.parametrize(("size", "batch_size"), [(10, 3), (7, 2), (33, 32)])
def test_a_lone_last_sample_joins(size, batch_size):
    sizes = [len(batch) for batch in walk(Batches(numbered(size), batch_size, seed=0))]
    assert sizes[-1] == batch_size + 1


def test_epochs_follow_each_other_in_other_orders():
    first, second = (walk(Batches(numbered(12), 12, seed=0), epochs=2)[i] for i in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second


def test_a_batch_depends_on_its_position_alone(monkeypatch):
    monkeypatch.setattr(batches, "BLOCK", 10)
    parts = Batches(numbered(50), 8, seed=2)
    whole = walk(parts, epochs=2)
    positions = [Position(epoch, cursor) for epoch in (0, 1) for cursor in range(0, 48, 8)]
    for i in (11, 3, 9, 0, 6):
        ((_, (_, targets)),) = Batches(numbered(50), 8, seed=2).at(positions[i]).shards
        assert targets.tolist() == whole[i + i // 6][: len(targets)]
