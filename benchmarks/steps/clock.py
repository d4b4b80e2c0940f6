"""Timing on a machine that others use too: contenders take turns, disturbed samples are dropped.

All contenders of a row run in one process, in every round one after another, in rotating order. A
sample counts only if other processes used little of the machine meanwhile (Linux's /proc; elsewhere
all samples count).
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

STAT, LOAD = "/proc/stat", "/proc/loadavg"
COUNTED = (0, 1, 2, 5, 6, 7)  # of /proc/stat: user, nice, system, irq, softirq, steal
FEWEST = 3  # samples below which a median says nothing


@dataclass(frozen=True, slots=True)
class Contender:
    """What is timed.

    work: one call of it; before: what each call needs beforehand, outside the time
    """

    name: str
    work: Callable[[], object]
    before: Callable[[], object] | None = None

    def call(self) -> float:
        """Seconds of one call."""
        if self.before is not None:
            self.before()
        start = time.perf_counter()
        self.work()
        return time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    rounds: undisturbed samples wanted of each contender; sample: seconds of one, about
    patience: seconds to wait for a quiet machine before a sample
    budget: seconds after which a comparison ends with what it has
    most_foreign: share of a sample's wall time that other processes may use (1.0: one core)
    """

    rounds: int = 9
    sample: float = 0.15
    patience: float = 3.0
    budget: float = 120.0
    most_foreign: float = 0.15


@dataclass(slots=True)
class Timing:
    """Seconds a call, one item a sample: the undisturbed ones, and all."""

    kept: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    @property
    def is_disturbed(self) -> bool:
        """Were there too few undisturbed samples, so that the quickest of all stand in?"""
        return len(self.kept) < FEWEST

    @property
    def median(self) -> float:
        if not self.is_disturbed:
            return statistics.median(self.kept)
        return statistics.median(sorted(self.taken)[: max(FEWEST, len(self.taken) // 4)])


def measured(contenders: Sequence[Contender], plan: Plan) -> dict[str, Timing]:
    """The timing of each contender, by name."""
    counts = {contender.name: _calls_a_sample(contender, plan.sample) for contender in contenders}
    timings = {contender.name: Timing() for contender in contenders}
    end = time.monotonic() + plan.budget
    number = 0
    while any(len(timing.kept) < plan.rounds for timing in timings.values()):
        shift = number % len(contenders)
        for contender in [*contenders[shift:], *contenders[:shift]]:
            timing = timings[contender.name]
            _wait_until_quiet(plan.patience)
            seconds, foreign = _sample(contender, counts[contender.name])
            timing.taken.append(seconds)
            if foreign <= plan.most_foreign:
                timing.kept.append(seconds)
        number += 1
        if time.monotonic() > end and number >= FEWEST:
            break
    return timings


def _calls_a_sample(contender: Contender, seconds: float) -> int:
    """Calls that take about so long, what comes before them included; warms up."""
    for _ in range(2):
        contender.call()
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            contender.call()
        taken = time.perf_counter() - start
        if taken >= seconds / 8 or count >= 1 << 20:
            return max(1, round(count * seconds / taken))
        count *= 4


def _sample(contender: Contender, count: int) -> tuple[float, float]:
    """(seconds a call, share of the wall time that other processes used)."""
    gc.collect()
    gc.disable()
    try:
        busy, own, wall = _busy(), time.process_time(), time.perf_counter()
        seconds = sum(contender.call() for _ in range(count))
        wall = time.perf_counter() - wall
        foreign = _busy() - busy - (time.process_time() - own)
    finally:
        gc.enable()
    return seconds / count, max(0.0, foreign) / wall


def _busy() -> float:
    """Seconds that all cores have worked, or the host has taken; own time if unknown."""
    try:
        with open(STAT, encoding="ascii") as file:
            ticks = [int(item) for item in file.readline().split()[1:]]
    except OSError:
        return time.process_time()
    return sum(ticks[k] for k in COUNTED) / os.sysconf("SC_CLK_TCK")


def _wait_until_quiet(patience: float) -> None:
    """Wait until nobody else is about to run, but no longer than this many seconds."""
    end = time.monotonic() + patience
    in_a_row = 0
    while in_a_row < FEWEST and time.monotonic() < end:
        in_a_row = in_a_row + 1 if _num_running() <= 1 else 0
        time.sleep(0.01)


def _num_running() -> int:
    """Threads of the machine that run or want to; 1 if unknown."""
    try:
        with open(LOAD, encoding="ascii") as file:
            return int(file.read().split()[3].partition("/")[0])
    except OSError:
        return 1
