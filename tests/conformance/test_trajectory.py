"""The same path as the reference, step by step, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from conformance.compare import set_gradients
from conformance.subjects import Subject, every_subject


@every_subject
def test_trajectory_vs_reference(subject):
    """50 steps with gradients of six sizes; the error counts in displacements."""
    if subject.reference is None:
        pytest.skip("torch has no such rule")
    with default_dtype(torch.float64):  # torch's NAdam keeps a float32 product otherwise
        assert path_error(subject) < subject.tolerance


def path_error(subject: Subject) -> float:
    settings = subject.reference_settings
    settings = subject.settings if settings is None else settings
    params, optimizer = subject.start(torch.float64)
    others = subject.fresh(torch.float64)
    reference = subject.reference(others, **settings)
    start = subject.fresh(torch.float64)
    for k in range(50):
        scale = 10.0 ** -(k % 6)
        set_gradients(params, k, scale)
        set_gradients(others, k, scale)
        optimizer.step()
        reference.step()
    return displacement_error(params, others, start)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def displacement_error(params: list, others: list, start: list) -> float:
    """The largest difference of a tensor's path, relative to how far the other one went."""
    triples = zip(params, others, start, strict=True)
    errors = [(a - b).norm() / (b - s).norm().clamp_min(1e-30) for a, b, s in triples]
    return max(float(e.detach()) for e in errors)
