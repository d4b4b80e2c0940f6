"""How many CPU threads torch computes with during a run; put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2e8
"""Floating-point operations of a step below which one thread is used: more would mostly wait for
each other.
"""


def choose(num_parameters: int, batch_size: int) -> int:
    """One thread for a small step, else as many as torch has."""
    operations = 6 * num_parameters * batch_size
    return 1 if operations < SMALL else torch.get_num_threads()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch computes with `count` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
