"""torch's deterministic switch, turned on for a run and put back afterwards."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_INEXACT = re.compile(
    r"(?:(\S+) does not have a deterministic implementation|Deterministic behavior was enabled)"
)


@contextmanager
def deterministic(tell: Callable[[str], None]) -> Iterator[None]:
    """Deterministic operations only; `tell` hears once the name of each that torch lacks.

    Memory is not filled before use (torch's default under this switch), which would cost time and
    change nothing.
    """
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    switch: Any = torch.utils.deterministic
    was_filling = switch.fill_uninitialized_memory
    told: set[str] = set()

    def hear(
        message: Warning | str, category: type[Warning], *place: object, **more: object
    ) -> None:
        name = _INEXACT.match(str(message))
        if name is None:
            show(message, category, *place, **more)  # pyright: ignore[reportArgumentType, reportCallIssue]
        elif name[1] not in told:
            told.add(name[1])
            tell(
                name[1] or "matrix products on this GPU (CUBLAS_WORKSPACE_CONFIG was set too late)"
            )

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read with CUDA's first product
    show = warnings.showwarning
    torch.use_deterministic_algorithms(True, warn_only=True)
    switch.fill_uninitialized_memory = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message=_INEXACT.pattern)
            warnings.showwarning = hear
            yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=was_warning)
        switch.fill_uninitialized_memory = was_filling
