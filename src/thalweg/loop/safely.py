"""A method of the monitor that is timed, and that can never end a training."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from thalweg.probes.quiet import may_look


def safely(method: Callable[..., Any]) -> Callable[..., Any]:
    """Timed as the monitor's own cost, and silent for good from the first fault on, of which
    `_give_up` is told.
    """

    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.fault or torch.compiler.is_compiling() or (self._is_cuda and not may_look()):
            return None
        began = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self._give_up(error)
            return None
        finally:
            self._cost.own += time.perf_counter() - began

    return guarded
