"""What a checkpoint says of its run besides the state: settings and data, and the machine.

Other settings or data make another run: refused. Another machine computes the same to rounding.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from thalweg.errors import RunError
from thalweg.scale import matmul
from thalweg.scale.findings import processor
from thalweg.version import __version__

PACKAGES = ("torch", "numpy", "numba")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """What decides the last bits: versions, processor, threads, how matrices are multiplied."""
    return {
        "thalweg": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "processor": processor(),
        "device": _name_of(device),
        "threads": torch.get_num_threads(),
        "float32 matmul": matmul.float32_precision(),
    }


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def check_settings(
    saved: Mapping[str, Any], own: Mapping[str, Any], may_differ: frozenset[str] = frozenset()
) -> None:
    """Raise RunError where the run had other settings or data, and say which.

    may_differ: names of those that are changed on purpose
    """
    before, now = (
        {name: value for name, value in facts.items() if name not in may_differ}
        for facts in (saved.get("settings", {}), own["settings"])
    )
    odd = differences(before, now)
    if odd:
        raise RunError(
            f"this is not the run that was saved: {'; '.join(odd)}: a resume goes on with the same "
            "data and settings"
        )


def differences(saved: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Each name whose value differs, with both."""
    return [
        f"{name} was {saved.get(name)!r}, is {own.get(name)!r}"
        for name in {**saved, **own}
        if saved.get(name) != own.get(name)
    ]
