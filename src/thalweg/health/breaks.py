"""Numbers that break: not finite, diverging, exploding gradients."""

from __future__ import annotations

import numpy as np

from thalweg.health.curve import Curve
from thalweg.health.rates import raised
from thalweg.health.spikes import spikes_seen
from thalweg.health.view import FEW, Suspicion, View, number
from thalweg.record.foreign.log import LOSS, NORM, VALIDATION

IN_A_ROW = 3
"""Values that are not finite at the end of a series: it has broken for good."""

RISE = 0.3
"""A loss that has lost this share of its progress for good has diverged."""

AS_MUCH, MANY_ROWS = 0.8, 60
"""A loss that came down again from a rise of this share of its last one may do so once more, where
rows are too few to tell.
"""

BEGUN, FEW_DOZEN, ABOVE_FIRST = 0.15, 100, 1.5
"""A run that goes on has only begun before this share of its steps and so many of its rows; then a
loss has to rise to so many times what it was at first.
"""

FAR_ABOVE = 4.0
"""A validation loss alone that is so many times what it was at first: more than what is memorised
mostly makes of it.
"""

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
    is_handful = len(curve) < MANY_ROWS and not worse_than_start
    swings = is_handful and _came_back(curve) > AS_MUCH * rise  # and its end is a row or two
    if swings or (_has_begun(view, curve) and curve.last < ABOVE_FIRST * curve.first):
        return None
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


def _has_begun(view: View, curve: Curve) -> bool:
    """Does it go on, and has it shown a few dozen rows only?"""
    return not view.has_run(BEGUN) and len(curve.raw_v) < FEW_DOZEN


def _came_back(curve: Curve) -> float:
    """The largest rise before the lowest point, from which it came down again."""
    earlier = curve.calm[1 : curve.best_at + 1]
    if len(earlier) < IN_A_ROW:
        return 0.0
    return float(np.max(earlier - np.minimum.accumulate(earlier)))


def _came_of_spike(view: View, step: float) -> bool:
    """Did a jump that left harm come just then?"""
    return any(s.does_harm and abs(s.step - step) < 0.05 * view.end for s in spikes_seen(view))


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
