"""How long somebody has waited: since a command was given, or a function called."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STARTED = 19
"""The place of a process's start among the numbers that Linux gives of it, in ticks since boot."""


class Clock:
    """seconds: since the process began, where a command owns it; else since the clock was made."""

    def __init__(self, *, owns_process: bool):
        before = _seconds_of_process() if owns_process else 0.0
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


def _seconds_of_process() -> float:
    """Since this process began; 0 where the system does not say."""
    try:
        numbers = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        started = int(numbers[_STARTED]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
