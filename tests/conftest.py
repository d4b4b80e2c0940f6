"""What every test shares: one torch thread, torch's own generator left as it was found, no wait for
the disk, and no start-up check that measures: what a machine is found to be would decide what is
computed.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
import torch

from thalweg.scale import findings, matmul


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors and few cores: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def old_objects_rest() -> Iterator[None]:
    """What earlier files have left is collected once, and not walked through again.

    Numba keeps some 15,000 objects of each kernel that it compiles.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def no_power_is_cut() -> Iterator[None]:
    """Nothing waits until the disk has taken it: a kill loses nothing that was written.

    A run syncs some hundred times. Where the power is cut, in test_power_cuts, this is overridden.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Each test starts from seed 0, whatever ran before it."""
    before = torch.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(before)


@pytest.fixture(scope="session", autouse=True)
def nothing_measured() -> Iterator[None]:
    """oneDNN counts as no faster, and what was found before is neither read nor written.

    The thread count is not measured either: there is only one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matmul, "speedup", lambda piece, measure: 1.0)
        patch.setattr(findings, "folder", lambda name: None)
        yield
