"""Jumps of a loss that come down again, told from the noise of its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from thalweg.health.curve import MAD, Curve, noise_of
from thalweg.health.rates import rate_rose
from thalweg.health.view import Suspicion, View

Z, FACTOR, WINDOW = 8.0, 2.0, 64
"""A spike: so many robust deviations of the log loss above those before it, and so many times."""

BRIEF, FACTOR_OF_ONE = 3, 4.0
"""A few rows of a training loss alone, at less than so many times: a rare batch."""

Z_OF_FEW = 12.0
"""The same where the deviation itself is known from a few dozen values only."""

ABOVE_START, Z_ABOVE = 1.2, 5.5
"""A jump to so many times what the loss was before anything was learnt needs fewer deviations."""

TAIL = 1.5
"""A spike is so many times further up than what was usual before it: losses of batches of two kinds
(mixed pictures and plain ones) jump as well.
"""

APART, APART_OF_ROW, TO_COUNT, ROWS_TO_COUNT = 1.25, 2.0, 4, 400
"""A spike stands so many times as far out as the fourth of the rows that are none, of a log with
enough rows to count them; one of a single row, as a hard batch makes it, further.
"""

SAME = 0.03
"""Jumps that lie so near, as a share of the run, are one, which both losses tell."""

NOT_ONE = 8
"""Samples of a batch below which a row that stands out tells of a sample, not of the weights."""

MOST_MEASURED = 1_000
"""Values of a validation loss beyond which it is measured on batches, as the other is."""

HARMED = 2.0
"""A loss that is so many times what it was, once a jump is over, has been harmed by it."""

LOUD = float(np.log(8.0))
"""A jump of at least this factor, in logarithms, is one even where the loss stays higher."""


@dataclass(frozen=True, slots=True)
class Spike:
    """A jump of a loss. z, factor: over what was before it, in deviations and times; after: the
    factor that was left when it had come down; is_brief: of a few rows of a training loss alone
    """

    step: float
    z: float
    factor: float
    after: float
    is_brief: bool = False

    @property
    def does_harm(self) -> bool:
        """Did the loss stay clearly above what it was?"""
        return self.after > HARMED


def spikes(view: View) -> Suspicion | None:
    """The loss jumps far beyond what it does from row to row, and comes down again."""
    found = spikes_seen(view)
    worst = max(found, key=lambda spike: spike.z, default=None)
    if worst is None or (len(found) == 1 and worst.is_brief and worst.factor < FACTOR_OF_ONE):
        return None
    steps = [spike.step for spike in found]
    harm = max((spike for spike in found if spike.does_harm), key=lambda s: s.after, default=None)
    shown = ", ".join(f"{each:,.10g}" for each in steps[:5]) + (", ..." if len(steps) > 5 else "")
    times = "once" if len(steps) == 1 else f"{len(steps)} times"
    back = "" if harm is None else " in part"
    says = (
        f"the loss jumped {times} and came down again{back} (at {view.log.unit} {shown}); the "
        f"largest to {worst.factor:.3g} times what it was, {worst.z:.0f} robust deviations"
    )
    if harm is not None:
        says += f"; after {view.name(harm.step)} it stayed at {harm.after:.2g} times what it was"
    return Suspicion(
        "spikes",
        steps[0],
        _sure_of(found, harm is not None),
        says,
        {
            "steps": steps[:50],
            "largest_z": round(worst.z, 1),
            "largest_factor": round(worst.factor, 2),
        },
        severity="warn" if harm is None else "act",
    )


def _sure_of(found: Sequence[Spike], does_harm: bool) -> float:
    """One jump may be a rare batch, several are not; what stays may have another cause. Of planted
    faults whose log shows one jump it was the cause of one in five.
    """
    if len(found) == 1:
        return 0.25
    return 0.55 if does_harm else min(0.95, 0.78 + 0.02 * (max(each.z for each in found) - Z))


def spikes_seen(view: View) -> list[Spike]:
    """Those of either loss that no higher rate has made."""
    found: list[Spike] = []
    of_samples = view.loss is not None and (view.number("batch_size") or NOT_ONE) < NOT_ONE
    own = spikes_of(view.loss, lasting=of_samples, of_batches=True)
    for each in (*own, *spikes_of(view.validation), *bumps_of(view.validation)):
        known = [i for i, o in enumerate(found) if abs(each.step - o.step) <= SAME * view.end]
        if not known and not rate_rose(view, each.step):
            found.append(each)
        elif known and not each.is_brief:  # seen in both losses, it is one
            found[known[0]] = replace(found[known[0]], is_brief=False)
    return sorted(found, key=lambda spike: spike.step)


def bumps_of(curve: Curve | None) -> list[Spike]:
    """Of losses that an evaluation measures, which hardly move by chance: each time that one is far
    above all that were measured before it, until it is back.
    """
    if curve is None or not 8 <= len(curve.raw_v) <= MOST_MEASURED or curve.raw_v.min() <= 0:
        return []
    v, logs = curve.raw_v, np.log(curve.raw_v)
    spread = max(noise_of(logs), 0.02)
    lowest = np.minimum.accumulate(v)
    found, k = [], 1
    while k < len(v):
        low = float(lowest[k - 1])
        rise = float(logs[k] - np.log(low))
        is_high = rise > max(np.log(FACTOR), Z * spread) and v[k] > low + 0.1 * curve.progress
        back = np.flatnonzero(v[k + 1 :] < 1.3 * low)
        until = k + 1 + int(back[0]) if len(back) else k + 1
        top = float(logs[k:until].max() - np.log(low))
        if not is_high or not len(back) or (top < Z_OF_FEW * spread and top < LOUD):
            k += 1
            continue
        found.append(Spike(float(curve.raw_t[k]), top / spread, float(np.exp(top)), 1.0))
        k = until + 1
    return found


def spikes_of(
    curve: Curve | None, *, lasting: bool = False, of_batches: bool = False
) -> list[Spike]:
    """Each jump that came down again, by most of its height at the least: among the rows, and for
    one that lasts among the medians of many. lasting: the latter only; of_batches: of the others,
    those that no hard batch explains
    """
    if curve is None:
        return []
    found = [] if lasting else _jumps(curve, curve.raw_t, curve.raw_v, of_batches=of_batches)
    if len(curve) == len(curve.raw_v) or found:
        return found
    return _jumps(curve, curve.t, curve.v)


def _jumps(curve: Curve, t: np.ndarray, v: np.ndarray, *, of_batches: bool = False) -> list[Spike]:
    """Of a loss v (n,) at steps t."""
    if len(v) < 24 or v.min() <= 0:
        return []
    logs = np.log(v)
    window = min(WINDOW, max(12, len(v) // 6))
    before = np.lib.stride_tricks.sliding_window_view(logs, window)[:-1]
    middle = np.median(before, axis=1)
    own = MAD * np.median(np.abs(before - middle[:, None]), axis=1)
    least_spread = max(noise_of(logs), 0.02)  # a few rows may lie near each other by chance
    spread = np.maximum(own, least_spread)
    rise = logs[window:] - middle
    is_above = logs[window:] > np.log(max(ABOVE_START * curve.first, 1e-300))
    least = curve.best + 0.1 * max(curve.progress, 1e-12)
    tail = np.sort(before, axis=1)[:, -2] - middle  # one earlier spike may stand there
    is_high = (rise > np.where(is_above, Z_ABOVE, Z) * spread) & (rise > np.log(FACTOR))
    usual = _highest(rise / spread, is_high, window) if of_batches else 0.0
    found = []
    begin, last, free = 0, -2, 0  # a jump is one, however many rows it lasts
    for k in np.flatnonzero(is_high & (v[window:] > least)):
        begin, last = (begin if k == last + 1 else k), k
        if k < free or rise[begin] < TAIL * tail[begin]:
            continue
        after = logs[k + window + 1 : k + 2 * window + 1]
        peak = float(logs[k + window : k + window + 4].max()) - middle[k]
        is_back = after < middle[k] + max(3 * spread[k], np.log(1.3))
        is_down = after < middle[k] + 0.5 * peak
        back = np.flatnonzero(is_back if is_back.any() else is_down)
        if not len(back) or (
            not is_back.any() and (peak < LOUD or is_down[back[0] :].mean() < 0.8)
        ):
            continue
        is_row = bool(is_back[0])
        if rise[k] / spread[k] < (APART_OF_ROW if is_row else APART) * usual:
            continue
        is_brief = of_batches and bool(is_back[:BRIEF].any())
        left = float(np.exp(np.median(after[back[0] :]) - middle[k]))
        top = float(np.exp(logs[k + window : k + window + 1 + back[0]].max() - middle[k]))
        z = float(rise[k] / spread[k])
        found.append(Spike(float(t[begin + window]), z, top, left, is_brief))
        free = k + 2 + (int(back[0]) if is_back.any() else window)
    return found


def _highest(above: np.ndarray, is_high: np.ndarray, window: int) -> float:
    """How far rows lie above those before them, far from all jumps, the few highest aside: losses
    of hard batches reach as far as some jumps, one in a thousand of them.
    """
    if len(above) < ROWS_TO_COUNT:
        return 0.0
    near = np.convolve(is_high, np.ones(2 * window + 1), mode="same") > 0.5
    usual = np.sort(above[~near])
    return float(usual[-TO_COUNT]) if len(usual) >= ROWS_TO_COUNT else 0.0
