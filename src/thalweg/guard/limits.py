"""Robust limits: how high a loss, or a gradient's norm, may be after the steps so far.

A window holds the last ordinary values of a series; the limit lies a multiple of their spread above
their median. Four things keep it from speaking against healthy runs, and from being led astray:

- the spread is the median absolute deviation or the upper tail's, whichever is larger: losses of
  small batches are skewed, and their median absolute deviation knows only the bulk;
- a height that came and went before is allowed twice over: rare classes and heavy tails return;
- what is not finite, or was skipped, never enters; a clipped norm enters as the limit it passed, so
  that one outlier weighs no more than any large value, yet a lasting change is followed;
- zeros, which have no logarithm, stay out: they are ordinary, and say nothing of the scale.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from thalweg.guard.policy import Policy

MAD_TO_SIGMA = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""

TAIL, TAIL_TO_SIGMA = 0.9, 1 / 1.2816
"""The upper tail is the 90% quantile; a normal one's standard deviation over its distance from the
median.
"""

MEDIAN_ERROR = 1.2533
"""The standard error of a normal distribution's median over that of its mean."""

NEGATIVE_SHARE = 8
"""With more than one value in eight below zero, differences are taken, not logarithms: an additive
spread is what losses that change sign have.
"""

MOST_PEAKS = 32

SMALLEST = 2.0**-126
"""The smallest float32 number of full precision."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the update holds a step against before it is applied.

    loss: a step with a loss above it is skipped
    norm, clip_to: a gradient whose norm is above `norm` is scaled down to the norm `clip_to`
    `loss` and `norm` are float32 numbers, so that a device's comparison and the guard's agree.

    >>> Limits().loss
    inf
    """

    loss: float = math.inf
    norm: float = math.inf
    clip_to: float = math.inf


class Scale(NamedTuple):
    """How far y lies above x; what lies so far above x; the distance that a factor means at x."""

    apart: Callable[[float, float], float]
    above: Callable[[float, float], float]
    times: Callable[[float, float], float]


def _log_apart(y: float, x: float) -> float:
    return math.log(y / x) if x > 0 else math.inf


def _log_above(x: float, distance: float) -> float:
    return x * math.exp(distance) if distance < 700 else math.inf


LOG = Scale(_log_apart, _log_above, lambda factor, x: math.log(factor))
LINEAR = Scale(lambda y, x: y - x, lambda x, distance: x + distance, lambda f, x: (f - 1) * abs(x))


class Rise(NamedTuple):
    """A lasting rise: the median before, that of the newest values, and what it must fall to."""

    before: float
    now: float
    calm: float


class Window:
    """The last ordinary values of one series: positive numbers, or a loss that may be negative.

    applies_outliers: steps above the limit are applied all the same, clipped
    limit: a value above it is an outlier; calm: half as far above the median; both infinite until
    the window is full; noise: how far the median moves by chance; all until the next `refresh`

    >>> window = Window(Policy(window=4))
    >>> [window.observe(number, 1.0) for number in range(1, 5)]
    [False, False, False, False]
    >>> window.refresh(4); window.limit, window.observe(5, 3.0)
    (2.0, True)
    """

    def __init__(self, policy: Policy, *, applies_outliers: bool = False):
        self.policy = policy
        self._applies = applies_outliers
        self._start: float | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all but the level at which the run began: what follows is another level."""
        self._values: deque[float] = deque()
        self._sorted: list[float] = []
        self._peaks: deque[tuple[int, float, bool]] = deque(maxlen=MOST_PEAKS)
        self._open()
        self.interrupt()

    def _open(self) -> None:
        self.limit = self.calm = math.inf
        self.median: float | None = None
        self.noise = 0.0

    def interrupt(self) -> None:
        """The weights have changed: what is above now is not what was above before."""
        self._height, self._length, self._was_rejected = -math.inf, 0, False

    def observe(self, number: int, value: float) -> bool:
        """Is this finite value an outlier? If not, it enters the window."""
        is_outlier = value > self.limit
        if value > self.calm:
            self._height = max(self._height, value)
            self._length += 1
            self._was_rejected |= is_outlier
        elif self._length:
            self._came_and_went(number)
        if not is_outlier:
            self._enter(value)
        elif self._applies:
            self._enter(self.limit)
        return is_outlier

    def _came_and_went(self, number: int) -> None:
        """A run of skipped steps has left the weights as they were: it was the data, however long.

        Of applied ones only short runs say so.
        """
        is_proof = self._was_rejected and not self._applies
        if is_proof or self._length <= 2:
            self._peaks.append((number, self._height, self._was_rejected))
        self.interrupt()

    def _enter(self, value: float) -> None:
        if value == 0.0:
            return
        self._values.append(value)
        insort(self._sorted, value)
        if len(self._values) > self.policy.window:
            del self._sorted[bisect_left(self._sorted, self._values.popleft())]

    def forget(self, count: int) -> None:
        """Take the newest values out again."""
        for _ in range(min(count, len(self._values))):
            del self._sorted[bisect_left(self._sorted, self._values.pop())]

    def refresh(self, number: int) -> None:
        """Make the limits of the steps after `number` from the values so far; some 20 us."""
        policy = self.policy
        if len(self._values) < policy.window:
            if self._start is None:
                self._open()
            return
        scale, middle, spread = described(self._sorted)
        self.median = middle
        self.noise = self._by_chance(scale, middle, spread, len(self._values)) - middle
        if self._start is None:
            self._start = middle
        reach = max(policy.z * spread, scale.times(policy.factor, middle)) or math.inf
        floor = policy.floor * self._start if scale is LOG else -math.inf
        if scale is LOG:
            farthest = policy.beyond * scale.apart(self._sorted[-1], middle)
            reach = min(reach, max(farthest, math.log(policy.wide)))
        self.calm = max(scale.above(middle, reach / 2), floor)
        peak = self._highest_peak(number)
        if peak is not None:
            floor = max(floor, scale.above(peak, scale.times(policy.factor, peak - middle)))
        self.limit = in_single(max(scale.above(middle, reach), floor))

    def _highest_peak(self, number: int) -> float | None:
        while self._peaks and self._peaks[0][0] <= number - self.policy.peak_span:
            self._peaks.popleft()
        num_rejected = sum(was_rejected for _, _, was_rejected in self._peaks)
        are_data = num_rejected >= self.policy.num_peaks
        heights = [h for _, h, was_rejected in self._peaks if are_data or not was_rejected]
        return max(heights, default=None)

    def rise(self, at_most: float = math.inf) -> Rise | None:
        """The lasting rise of the newest values over the others, or over `at_most`, if any."""
        policy, count = self.policy, self.policy.level_steps
        if len(self._values) < policy.window:
            return None
        values = list(self._values)
        now = sorted(values[-count:])[count // 2]
        before = sorted(values[:-count])
        if now <= min(self._level_of(before), at_most):
            return None
        scale, middle, spread = described(before)
        return Rise(middle, now, min(at_most, self._by_chance(scale, middle, spread, policy.look)))

    def high_level(self) -> float:
        """Above it a median of `level_steps` values has risen for good; infinite: not known."""
        if len(self._values) < self.policy.window // 2:
            return math.inf
        return self._level_of(self._sorted)

    def noise_level(self) -> float:
        """Above it a median of `level_steps` values is higher than by chance; infinite: unknown."""
        if len(self._values) < self.policy.window // 2:
            return math.inf
        return self._by_chance(*described(self._sorted), self.policy.level_steps)

    def _by_chance(self, scale: Scale, middle: float, spread: float, count: int) -> float:
        """How high the median of so many values comes by chance."""
        error = MEDIAN_ERROR * spread / math.sqrt(count)
        return scale.above(middle, self.policy.level_z * error)

    def _level_of(self, ordered: Sequence[float]) -> float:
        """How high a median may be after these ascending values.

        Where a few rows weigh hundreds of times as much as the others the mean is made of few
        batches, and only its rise is one: the median is far below it, and wanders.
        """
        policy = self.policy
        scale, middle, spread = described(ordered)
        reach = max(policy.level_z * spread, scale.times(policy.level_factor, middle)) or math.inf
        level = scale.above(middle, reach)
        if scale is LINEAR:
            return level
        mean = sum(ordered) / len(ordered)
        return max(level, policy.level_factor * mean, policy.floor * (self._start or 0.0))

    def to_tree(self) -> dict[str, Any]:
        """All that it remembers, as strict JSON can hold it."""
        return {
            "values": list(self._values),
            "peaks": [list(peak) for peak in self._peaks],
            "run": [self._height, self._length, self._was_rejected] if self._length else None,
            "start": self._start,
            "median": self.median,
            "noise": as_stored(self.noise),
            "calm": as_stored(self.calm),
            "limit": as_stored(self.limit),
        }

    def take(self, tree: Mapping[str, Any]) -> None:
        """Remember what `to_tree` gave."""
        self.begin_anew()
        for value in tree["values"]:
            self._enter(finite(value))
        for number, height, was_rejected in tree["peaks"]:
            self._peaks.append((int(number), finite(height), bool(was_rejected)))
        if tree["run"] is not None:
            height, length, was_rejected = tree["run"]
            self._height, self._length = finite(height), int(length)
            self._was_rejected = bool(was_rejected)
        self._start = None if tree["start"] is None else finite(tree["start"])
        self.median = None if tree["median"] is None else finite(tree["median"])
        self.noise = from_stored(tree["noise"])
        self.calm, self.limit = from_stored(tree["calm"]), from_stored(tree["limit"])


def described(ordered: Sequence[float]) -> tuple[Scale, float, float]:
    """The scale, median and spread of ascending numbers; the spread as a standard deviation."""
    scale = LOG if ordered[len(ordered) // NEGATIVE_SHARE] > 0 else LINEAR
    middle = ordered[len(ordered) // 2]
    tail = scale.apart(ordered[int(TAIL * len(ordered))], middle)
    spread = max(MAD_TO_SIGMA * deviation(ordered, scale.apart), TAIL_TO_SIGMA * tail)
    return scale, middle, spread


def deviation(ordered: Sequence[float], apart: Callable[[float, float], float]) -> float:
    """The median distance of n ascending numbers to their median, in log n comparisons.

    >>> deviation([1.0, 2.0, 3.0, 5.0, 9.0], LINEAR.apart)
    2.0
    """
    middle = ordered[len(ordered) // 2]
    count = len(ordered) // 2 + 1  # the nearest so many stand side by side: where do they begin?
    first, last = 0, len(ordered) - count
    while first < last:
        at = (first + last) // 2
        if apart(middle, ordered[at]) > apart(ordered[at + count], middle):
            first = at + 1
        else:
            last = at
    below, above = ordered[first], ordered[first + count - 1]
    return max(apart(middle, below), apart(above, middle))


def in_single(value: float) -> float:
    """The nearest float32 number: infinity beyond its range; what is above zero stays so."""
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return SMALLEST if value > 0 and single < SMALLEST else single


def finite(value: Any) -> float:
    """A number of a stored state. Raises ValueError for one that cannot stand there."""
    if not math.isfinite(value):
        raise ValueError(f"{value!r} stands for a finite number")
    return float(value)


def as_stored(limit: float) -> float | None:
    """None for no limit: strict JSON has no infinity."""
    return None if limit == math.inf else limit


def from_stored(limit: Any) -> float:
    """What `as_stored` made of a limit."""
    return math.inf if limit is None else finite(limit)
