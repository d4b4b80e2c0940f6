"""What looking costs: a monitor's own seconds beside those of the steps."""

from __future__ import annotations

import math
import statistics
import time
from array import array
from collections.abc import Callable
from itertools import pairwise
from typing import Any

MANY = 1_000_000_000
SHORT = 1e-3
"""Seconds of a step below which looking takes no more than of one a quarter as long."""

RECENT = 64
"""Steps that tell how long a usual one takes."""


class Cost:
    """A clock for the work of others. own: seconds spent so far, by whoever adds to them

    start: seconds spent until the first watched steps were over; stamps: when the first step began
    and when each ended, in seconds, added to by whoever sees it
    """

    def __init__(self) -> None:
        self.own = 0.0
        self.start = 0.0
        self.stamps = array("d")
        self._num_at_start = 0
        self._hooks = 0.0
        self._marked = 0.0

    def started(self) -> None:
        """What was spent up to now belongs to the start, as do the steps so far."""
        self.start = self.own + self._hooks
        self._num_at_start = len(self.stamps)

    @property
    def num_steps(self) -> int:
        """Those after the start."""
        return len(self.stamps) - self._num_at_start

    @property
    def total(self) -> float:
        """Seconds of the steps after the start."""
        return self.stamps[-1] - self.stamps[self._num_at_start - 1] if self.num_steps else 0.0

    def hooks(self, seconds: float) -> None:
        """What hooks have taken, which is not in `own`."""
        self._hooks += seconds

    def mark(self) -> None:
        self._marked = self.own + self._hooks

    def since_mark(self) -> float:
        return self.own + self._hooks - self._marked

    @property
    def usual(self) -> float:
        """Seconds of a usual step, of the last ones: no pause and no evaluation is in it."""
        last = self.stamps[-min(RECENT, self.num_steps) - 1 :]
        return statistics.median(b - a for a, b in pairwise(last)) if self.num_steps else 0.0

    @property
    def _spending(self) -> float:
        """Seconds of which a share may be spent: of a short step less, where microseconds count."""
        return self.usual if self.usual >= SHORT else min(self.usual, SHORT / 4)

    def steps_for(self, seconds: float, share: float) -> int:
        """Steps after which these seconds are no more than a share of their time."""
        allowed = share * self._spending
        return min(MANY, math.ceil(seconds / allowed)) if allowed > 0 else MANY

    def is_cheap(self, work: Callable[[Any], Any], given: Any, share: float) -> bool:
        """Does this work take less than a third of the share of a step?"""
        began = time.perf_counter()
        work(given)
        taken = time.perf_counter() - began
        return taken < share / 3 * self._spending

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
