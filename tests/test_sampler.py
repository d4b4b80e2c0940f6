"""The counted shuffle and counted augmentation, for people who keep their own loop."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import thalweg
from thalweg.errors import RunError, UsageError
from thalweg.tasks.counted import Place

SIZE = 23


class Noisy:
    """Each sample holds its index and a draw from each of the three generators."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, i: int) -> torch.Tensor:
        assert type(i) is int
        return torch.tensor([float(i), float(torch.rand(())), random.random(), np.random.rand()])


def epochs(num_workers: int = 0, stop: int | None = None, seed: int = 0, batch_size: int = 4):
    """Every batch of two epochs; after `stop` batches sampler and loader are made anew."""
    sampler = thalweg.Sampler(SIZE, seed=seed)
    data = thalweg.counted(Noisy(), seed=seed)
    settings = {"batch_size": batch_size, "num_workers": num_workers}
    found = []
    for batch in sampler.batches(DataLoader(data, sampler=sampler, **settings), epochs=2):
        found.append(batch)
        if len(found) == stop:
            break
    if stop is not None:
        again = thalweg.Sampler(SIZE, seed=seed)
        again.restore(pickle.loads(pickle.dumps(sampler.to_tree())))
        found += again.batches(DataLoader(data, sampler=again, **settings), epochs=2)
    return found


def equal(one, other) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stop", [None, 1, 3, 5, 6, 7, 11])
def test_workers_and_resumes_change_nothing(num_workers, stop):
    assert equal(epochs(num_workers, stop), epochs())


def test_another_seed_is_seen():
    assert not equal(epochs(seed=1), epochs())


@pytest.mark.parametrize("batch_size", [1, 4, 23, 30])
def test_every_sample_comes_once_an_epoch(batch_size):
    indices = torch.cat(epochs(batch_size=batch_size))[:, 0].tolist()
    assert len(indices) == 2 * SIZE
    for part in (indices[:SIZE], indices[SIZE:]):
        assert sorted(part) == list(range(SIZE))
    assert indices[:SIZE] != indices[SIZE:]


def test_every_epoch_draws_anew():
    one, other = (torch.cat(epochs())[half, 1:] for half in (slice(SIZE), slice(SIZE, None)))
    assert not set(one.flatten().tolist()) & set(other.flatten().tolist())


def test_the_generators_are_put_back():
    data = thalweg.counted(Noisy())
    states = [(torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())]
    data[3]
    data.__getitems__([1, 2])
    states.append((torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()))
    assert torch.equal(states[0][0], states[1][0])
    assert states[0][1:] == states[1][1:]


def test_dropped_samples_end_the_epoch():
    sampler = thalweg.Sampler(SIZE)
    loader = DataLoader(range(SIZE), batch_size=4, sampler=sampler, drop_last=True)
    assert len(list(sampler.batches(loader, epochs=3))) == 15
    assert (sampler.epoch, sampler.consumed) == (3, 0)


def test_what_was_fetched_ahead_does_not_count():
    sampler = thalweg.Sampler(SIZE)
    loader = DataLoader(thalweg.counted(Noisy()), batch_size=4, sampler=sampler, num_workers=2)
    next(iter(sampler.batches(loader)))
    assert sampler.consumed == 4


def test_a_place_is_an_index():
    place = pickle.loads(pickle.dumps(Place(7, 2, 30)))
    assert (place, place.epoch, place.position) == (7, 2, 30)
    assert [0, 1, 2][Place(1)] == 1


REFUSED = {
    "no samples": (lambda: thalweg.Sampler(0), UsageError, "size is 0"),
    "no dataset": (lambda: thalweg.counted(iter(())), UsageError, "counted.. needs a Dataset"),
    "another sampler": (
        lambda: next(thalweg.Sampler(3).batches(DataLoader(range(3)))),
        UsageError,
        "another sampler",
    ),
    "another size": (
        lambda: thalweg.Sampler(3).restore(thalweg.Sampler(4).to_tree()),
        RunError,
        "size 4, this one 3",
    ),
    "another seed": (
        lambda: thalweg.Sampler(3).restore(thalweg.Sampler(3, seed=1).to_tree()),
        RunError,
        "seed 1, this one 0",
    ),
}


@pytest.mark.parametrize(("act", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(act, kind, words):
    with pytest.raises(kind, match=words):
        act()
