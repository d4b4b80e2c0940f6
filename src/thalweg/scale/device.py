"""The device that a run computes on."""

from __future__ import annotations

import torch

from thalweg.errors import UsageError


def choose(name: str) -> torch.device:
    """The device called `name`; "auto": a GPU, else the CPU. Raises UsageError if absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device {name!r} is unknown: choose auto, cpu, cuda, cuda:1 or mps"
        ) from None
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"device {name!r} is not there: choose auto or cpu") from None
    return device
