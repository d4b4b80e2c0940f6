"""Draws counted by place: the generators of torch, NumPy and Python, seeded around what draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import get_worker_info

from thalweg.keys import Purpose, key
from thalweg.types import Stretch

_SEEDS = 1 << 32
"""NumPy's old generator takes seeds below it."""


def seed_device(value: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of `device`, without the cost of torch.manual_seed."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


def seed_draws(value: int) -> None:
    """Seed what a sample may draw from: torch on the CPU, NumPy's and Python's own generators."""
    torch.default_generator.manual_seed(value)
    np.random.seed(value % _SEEDS)
    random.seed(value)


def seed_sample(stretch: Stretch, i: int) -> None:
    """Seed for the i-th sample of a stretch."""
    seed_draws(key(Purpose.SAMPLE, stretch.seed, stretch.epoch, stretch.start + i))


def seed_collate(stretch: Stretch) -> None:
    """Seed for what joins the samples of a stretch to one batch."""
    seed_draws(key(Purpose.COLLATE, stretch.seed, stretch.epoch, stretch.start))


@contextmanager
def put_back() -> Iterator[None]:
    """Inside, draws are seeded at will; afterwards the generators are as they were.

    A data worker's are left as they come: nobody else draws from them.
    """
    if get_worker_info() is not None:
        yield
        return
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
