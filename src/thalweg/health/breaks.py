"""Numbers that break: not finite, diverging, spikes, exploding gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.health.curve import MAD, Curve, noise_of
from thalweg.health.rates import raised, rate_rose
from thalweg.health.view import FEW, Suspicion, View, number
from thalweg.record.foreign.log import LOSS, NORM, VALIDATION

IN_A_ROW = 3
"""Values that are not finite at the end of a series: it has broken for good."""

RISE = 0.3
"""A loss that has lost this share of its progress for good has diverged."""

Z, FACTOR, WINDOW = 8.0, 2.0, 64
"""A spike: so many robust deviations of the log loss above those before it, and so many times."""

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

AS_MUCH = 0.8
"""A loss that came down again from a rise of this share of its last one may do so once more."""

FAR_ABOVE = 4.0
"""A validation loss alone that is so many times what it was at first: more than what is memorised
mostly makes of it.
"""

HARMED = 2.0
"""A loss that is so many times what it was, once a jump is over, has been harmed by it."""

LOUD = float(np.log(8.0))
"""A jump of at least this factor, in logarithms, is one even where the loss stays higher."""

GROWN = 30.0
"""A gradient's norm that is so many times what it was has exploded, where the loss suffers."""

FAR_OFF = 4.0
"""A first loss so many times that of equal probabilities comes of weights that are too large."""


def nonfinite(view: View) -> Suspicion | None:
    """NaN or infinity in a loss or in the gradient's norm."""
    for role, name in ((LOSS, "the loss"), (VALIDATION, "the validation loss"), (NORM, "the norm")):
        series = view.log.get(role)
        bad = np.flatnonzero(~np.isfinite(series.values)) if series is not None else []
        if series is None or not len(bad) or _is_sparse(series.values):
            continue
        values = series.values
        if role == NORM and not np.isfinite(values).any():
            continue  # a column that was never filled
        tail = len(values) - 1 - (np.flatnonzero(np.isfinite(values)).max(initial=-1))
        is_broken = tail >= min(IN_A_ROW, len(values)) or len(bad) > 0.2 * len(values)
        if role == NORM and not is_broken:
            continue  # a loss scaler overflows now and then, and skips the step
        since = float(series.steps[len(values) - tail] if tail else series.steps[bad[0]])
        before = _before(view, since)
        first = float(series.steps[bad[0]])
        how = f"at {len(bad):,} of {len(values):,} rows, first at {view.name(first)}"
        if is_broken and tail == len(values):
            how = "at any row of the log"
        elif is_broken and tail == len(bad):
            how = f"from {view.name(first)} on"
        elif is_broken and tail:
            how += f", and from {view.name(since)} on"
        return Suspicion(
            "nonfinite",
            since,
            0.97 if is_broken else 0.93,
            "; ".join(filter(None, (f"{name} is not finite {how}", before))),
            {"count": len(bad), "rows": len(values), "first": first},
            severity="act" if is_broken else "warn",
        )
    return None


def _is_sparse(values: np.ndarray) -> bool:
    """Was it measured every so many rows, and written as NaN in the others?"""
    there = np.flatnonzero(np.isfinite(values))
    gaps = np.diff(there)
    if np.isinf(values).any() or len(gaps) < 3 or np.median(gaps) < 2:
        return False
    usual = float(np.median(gaps))
    return len(values) - there[-1] <= usual and float((np.abs(gaps - usual) <= 1).mean()) > 0.8


def _before(view: View, since: float) -> str:
    """What went ahead of it, in words; "" where there is nothing to say."""
    for role, name in ((NORM, "gradient's norm"), (LOSS, "loss")):
        series = view.log.get(role)
        if series is None:
            continue
        is_earlier = (series.steps < since) & np.isfinite(series.values)
        values = series.values[is_earlier]
        if len(values) < 4:
            continue
        usual, last = np.median(values), float(np.max(values[-max(3, len(values) // 20) :]))
        if usual > 0 and last > 5 * usual:
            return f"before it the {name} had grown from {number(usual)} to {number(last)}"
    main = view.main
    if main is None or not np.any(main.raw_t < since):
        return ""
    return (
        "it came at once: nothing had grown before it, as with a value in the data or an overflow"
    )


def divergence(view: View) -> Suspicion | None:
    """The loss rises and stays up: what was learnt is lost again, or it never fell."""
    curve = view.loss if view.loss is not None else view.validation
    is_early = not view.is_over and view.log.unit == "step"
    least = FEW if is_early else 5  # a run that goes on will show more
    return None if curve is None or len(curve) < least else _diverged(view, curve)


def _diverged(view: View, curve: Curve) -> Suspicion | None:
    rise = curve.last - curve.best
    floor = 4 * curve.error + 2 * curve.noise / max(1, len(curve) // 20) ** 0.5
    best = curve.calm[curve.best_at]
    if rise <= max(floor, 1e-9 * abs(best)):
        return None
    progress = max(curve.progress, 4 * curve.error)
    late = curve.part(0.9, 1.0)
    worse_than_start = curve.last > curve.first + max(floor, 0.1 * abs(curve.first))
    stays = float(np.mean(late > best + (0.1 if worse_than_start else 0.5) * rise))
    share = rise / max(progress, 1e-12 * abs(rise))
    if stays < 0.8 or (share < RISE and not worse_than_start):
        return None
    if _is_restart(view, curve) or _is_another_thing(view, curve, worse_than_start):
        return None
    if not worse_than_start and _came_back(curve) > AS_MUCH * rise:
        return None  # it swings
    since = _leaves(curve)
    if raised(view) is not None or _came_of_spike(view, since):
        return None  # that is the news, and what it left is told with it
    text = (
        f"the loss rose from {number(best)} at {view.name(curve.t[curve.best_at])} to "
        f"{number(curve.last)} at the end and stayed there"
    )
    if worse_than_start:
        text += f", above the {number(curve.first)} that it began with"
    return Suspicion(
        "divergence",
        since,
        0.88 if worse_than_start or share > 0.7 else 0.75,
        text,
        {"best": float(best), "last": curve.last, "first": curve.first, "lost": round(share, 3)},
    )


def _is_another_thing(view: View, curve: Curve, worse_than_start: bool) -> bool:
    """May the rise be overfitting, which only a training loss tells; or has what is minimised
    changed (a term that grows, harder samples), while other samples are fitted as well as ever?
    """
    if curve is view.validation:
        has_learnt = curve.progress > 4 * curve.error
        return not worse_than_start or (has_learnt and curve.last < FAR_ABOVE * curve.first)
    return curve is view.loss and view.others_stand


def _came_back(curve: Curve) -> float:
    """The largest rise before the lowest point, from which it came down again."""
    earlier = curve.calm[1 : curve.best_at + 1]
    if len(earlier) < IN_A_ROW:
        return 0.0
    return float(np.max(earlier - np.minimum.accumulate(earlier)))


def _came_of_spike(view: View, step: float) -> bool:
    """Did a jump that left harm come just then?"""
    return any(s.does_harm and abs(s.step - step) < 0.05 * view.end for s in _spikes(view))


def _leaves(curve: Curve) -> float:
    """The step at which the curve last left the neighbourhood of its best."""
    best = curve.calm[curve.best_at]
    near = np.flatnonzero(curve.calm <= best + 0.1 * (curve.last - best))
    return float(curve.t[min(len(curve) - 1, near[-1] + 1)])


def _is_restart(view: View, curve: Curve) -> bool:
    """Did the rate rise again since the best point, as a schedule of cycles has it?"""
    rates = view.lr_at(curve.t)
    if rates is None:
        return False
    at_best = rates[curve.best_at]
    later = rates[curve.best_at :]
    return bool(
        later.max() > 3 * max(at_best, 1e-300)
        and rates.max() <= 1.05 * rates[: curve.best_at + 1].max()
    )


@dataclass(frozen=True, slots=True)
class Spike:
    """A jump of a loss. z, factor: over what was before it, in deviations and times; after: the
    factor that was left when it had come down
    """

    step: float
    z: float
    factor: float
    after: float

    @property
    def does_harm(self) -> bool:
        """Did the loss stay clearly above what it was?"""
        return self.after > HARMED


def spikes(view: View) -> Suspicion | None:
    """The loss jumps far beyond what it does from row to row, and comes down again."""
    found = _spikes(view)
    if not found:
        return None
    worst = max(found, key=lambda spike: spike.z)
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


def _spikes(view: View) -> list[Spike]:
    """Those of either loss that no higher rate has made."""
    found: list[Spike] = []
    of_samples = view.loss is not None and (view.number("batch_size") or NOT_ONE) < NOT_ONE
    own = spikes_of(view.loss, lasting=of_samples, of_batches=True)
    for each in (*own, *spikes_of(view.validation), *bumps_of(view.validation)):
        is_known = any(abs(each.step - other.step) <= SAME * view.end for other in found)
        if not is_known and not rate_rose(view, each.step):
            found.append(each)  # seen in both losses, it is one
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


def _jumps(
    curve: Curve, t: np.ndarray, v: np.ndarray, *, of_batches: bool = False
) -> list[Spike]:
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
        is_row = len(after) > 0 and bool(is_back[0])
        if rise[k] / spread[k] < (APART_OF_ROW if is_row else APART) * usual:
            continue
        left = float(np.exp(np.median(after[back[0] :]) - middle[k]))
        top = float(np.exp(logs[k + window : k + window + 1 + back[0]].max() - middle[k]))
        found.append(Spike(float(t[begin + window]), float(rise[k] / spread[k]), top, left))
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


def exploding_gradient(view: View) -> Suspicion | None:
    """The gradient's norm grows by orders while the loss suffers."""
    norm, loss = view.norm, view.main
    if norm is None or loss is None or len(norm) < 12:
        return None
    usual = float(np.median(norm.part(0.0, 0.3)))
    late = float(np.median(norm.part(0.9, 1.0)))
    largest = float(norm.raw_v.max())
    if usual <= 0:
        return None
    lost = (loss.last - loss.best) / max(loss.progress, 4 * loss.error, 1e-12)
    grown = late / usual
    if grown < GROWN or lost < RISE:
        return None
    since = float(norm.t[np.flatnonzero(norm.v > 5 * usual)[0]])
    return Suspicion(
        "exploding_gradient",
        since,
        0.85,
        f"the gradient's norm grew from {number(usual)} to {number(late)} (at most "
        f"{number(largest)}) while the loss rose from {number(loss.best)} to {number(loss.last)}",
        {"usual": usual, "late": late, "largest": largest},
    )


def bad_initialisation(view: View) -> Suspicion | None:
    """Before anything was learnt the loss is far above that of one who knows nothing."""
    series, chance = view.log.get(LOSS), view.chance
    if series is None or chance is None or not len(series) or series.steps[0] > 2:
        return None
    first = float(series.values[0])
    if not np.isfinite(first) or first < FAR_OFF * chance:
        return None
    return Suspicion(
        "bad_initialisation",
        float(series.steps[0]),
        0.55,
        f"the first loss is {number(first)}, where {number(chance)} is what equal probabilities "
        "give: the outputs are far too large before anything is learnt",
        {"first": first, "chance": chance},
    )
