"""What looking costs: a monitor's own seconds beside those of the steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

MANY = 1_000_000_000


class Cost:
    """A clock for the work of others. own: seconds spent so far, by whoever adds to them

    start: seconds spent until the first watched steps were over; num_steps: those after them
    """

    def __init__(self) -> None:
        self.own = 0.0
        self.start = 0.0
        self.num_steps = 0
        self.total = 0.0
        self._last: float | None = None
        self._hooks = 0.0
        self._marked = 0.0

    def begin(self) -> None:
        """The first step begins now."""
        self._last = time.perf_counter()

    def step(self, *, is_start: bool) -> float:
        """A step has ended; the seconds since the one before."""
        now = time.perf_counter()
        seconds = now - self._last if self._last is not None else 0.0
        self._last = now
        if is_start:
            self.start = self.own + self._hooks
        else:
            self.num_steps += 1
            self.total += seconds
        return seconds

    def hooks(self, seconds: float) -> None:
        """What hooks have taken, which is not in `own`."""
        self._hooks += seconds

    def mark(self) -> None:
        self._marked = self.own + self._hooks

    def since_mark(self) -> float:
        return self.own + self._hooks - self._marked

    def steps_for(self, seconds: float, share: float) -> int:
        """Steps after which these seconds are no more than a share of their time."""
        a_step = self.total / self.num_steps if self.num_steps else 0.0
        allowed = share * a_step
        return min(MANY, math.ceil(seconds / allowed)) if allowed > 0 else MANY

    def is_cheap(self, work: Callable[[Any], Any], given: Any, share: float) -> bool:
        """Does this work take less than a third of the share of a step?"""
        began = time.perf_counter()
        work(given)
        taken = time.perf_counter() - began
        return self.num_steps > 0 and taken < share / 3 * self.total / self.num_steps

    @property
    def seconds(self) -> float:
        """Spent since the start was over."""
        return max(0.0, self.own + self._hooks - self.start)

    @property
    def share(self) -> float:
        """Of the time of the steps since then."""
        return self.seconds / self.total if self.total > 0 else 0.0

    @property
    def microseconds(self) -> float:
        """A step since then."""
        return 1e6 * self.seconds / self.num_steps if self.num_steps else 0.0

    def __str__(self) -> str:
        first = f"looking took {1e3 * (self.start or self.own):.0f} ms at the start"
        if not self.num_steps:
            return first
        return f"{first}, then {self.microseconds:.1f} us a step ({self.share:.1%} of the time)"
