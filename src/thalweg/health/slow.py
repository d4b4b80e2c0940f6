"""Learning rates that are too low: steps far shorter than usual, or a loss on its way and slow."""

from __future__ import annotations

import numpy as np

from thalweg.health.curve import Curve
from thalweg.health.layers import vanishing_gradient
from thalweg.health.rates import ENOUGH, SHORT_STEPS, UPDATE_LOW, still_rises, update_ratio
from thalweg.health.view import Suspicion, View, number

STILL_HIGH = 0.85
"""A loss above this share of its first value has hardly moved."""

BENT, STRAIGHT = 0.25, 0.33
"""The share of its fall that a loss gains in the second half of a run: that of many a curve which
bends and is done, and of one that is hardly bent; a straight line has a half.
"""

RAGGED = 0.05
"""A loss whose points are this unsure, as a share of them, hides a fall of a few of these."""

TAKE_LENGTHS = ("sgd", "momentum", "nesterov")
"""Optimizers whose steps are as long as the gradient times the rate."""

CUT, MUCH_LEFT = 10.0, 0.3
"""How many times its limit the gradient's norm mostly is where clipping rules the descent, and the
share of the first loss that is much; of 1,619 healthy runs the two together had none.
"""

HARDLY_ANY = 0.01
"""Clipping that usually leaves less than this share of a gradient makes the steps what they are."""

FASTER = 2.0
"""A fall that is so many times as fast at first as it is later is no straight line."""


BACK, LEFT, LATER = 0.025, 0.8, 0.1
"""A loss on other samples that rises again by less than this share of its fall goes one way; of
one that has this share left at the end much is left; half of a fall that took more than this share
of the run did not come at once. Of 2,076 healthy runs the three together had two.
"""


def lr_too_low(view: View) -> Suspicion | None:
    """Steps are far shorter than usual, or the loss falls on a straight line to the end, or from
    one evaluation to the next, and it has hardly come down.
    """
    curve = view.main
    if curve is None or len(curve) < 12 or curve.first <= 0:
        return None
    if not view.is_over and (view.end < ENOUGH or still_rises(view)):
        return None
    if view.knows_already:
        return None  # small steps are what fine-tuning wants
    slow = _cut_steps(view, curve) or tiny_steps(view, curve)
    if slow is not None or curve.first - curve.last < 5 * max(curve.error, 1e-12):
        return slow
    slow = _short_steps(view, curve)
    if slow is None and view.is_over:
        slow = steady_steps(view, LATER) or _straight(view, curve)
    return slow


def steady_steps(view: View, later: float = 0.0) -> Suspicion | None:
    """The loss on other samples hardly comes down, and does so at nearly every evaluation: all
    steps go the right way and are far too short. A model that is at a loss goes up and down.

    later: the share of the run that half of the fall took at least
    """
    curve = view.validation
    if curve is None or len(curve) < 12 or curve.first <= 0 or not view.is_over:
        return None
    fallen = float(curve.v[0] - curve.v[-1])
    risen = float(np.maximum(np.diff(curve.v), 0).sum())
    if fallen <= 0 or risen > BACK * fallen or len(np.unique(curve.v)) < len(curve) / 2:
        return None
    start = max(curve.first, view.main.first if view.main is not None else curve.first)
    half = curve.t[int(np.argmax(curve.v <= start - (start - curve.last) / 2))]
    if curve.last < LEFT * start or half <= later * view.end:
        return None
    count = int((np.diff(curve.v) < 0).sum())
    return Suspicion(
        "lr_too_low",
        float(curve.t[0]),
        0.7,
        f"the validation loss fell from {number(curve.first)} to {number(curve.last)} only, and at "
        f"{count} of {len(curve) - 1} evaluations: the steps go the right way and are too short",
        {"left": round(curve.last / start, 3), "falls": count, "evaluations": len(curve) - 1},
    )


def _straight(view: View, curve: Curve) -> Suspicion | None:
    """The second half of the run gained as much as the first; any that goes on looks like it."""
    start = max(curve.first, float(curve.raw_v[0]))
    late, left = _late_share(view, curve, start), curve.last / start
    ratio = update_ratio(view)
    is_small = ratio is not None and ratio < UPDATE_LOW
    is_short = view.log.unit == "step" and view.end < ENOUGH
    least = BENT if is_small else STRAIGHT
    if late < least or not (left > 0.6 or is_small) or (is_short and not is_small):
        return None
    if not is_small and _began_fast(view, curve, late * (curve.first - curve.last)):
        return None
    confidence = min(0.48, 0.2 + 0.5 * (late - 0.25) + 0.3 * max(0.0, left - 0.6))
    says = (
        f"the loss fell from {number(start)} to {number(curve.last)} only, and "
        f"{100 * late:.0f}% of that in the second half: it is on its way and slow"
    )
    if is_small and ratio is not None:
        confidence = max(confidence, 0.85)
        says += f"; a step moves the weights by {number(ratio)} of their size, where 1e-3 is usual"
    evidence = {"late_share": round(late, 3), "left": round(left, 3), "update_ratio": ratio}
    severity = "act" if is_small else "warn"  # a late insight has this shape as well
    return Suspicion("lr_too_low", curve.t[0], confidence, says, evidence, severity=severity)


def _began_fast(view: View, curve: Curve, gained: float) -> bool:
    """Does the log begin when some of the run is over, and did the loss fall faster in its first
    rows than later? Then more of the fall, nobody knows how much, came before the first row.

    gained: in the later half
    """
    if view.chance is not None or curve.raw_t[0] <= 0.01 * view.end:
        return False
    width = max(1, len(curve) // 10)
    first, then = curve.v[:width], curve.v[width : 2 * width]
    return float(np.mean(first) - np.mean(then)) / width > FASTER * gained / (len(curve) / 2)


def _late_share(view: View, curve: Curve, start: float) -> float:
    """The share of the fall that came after half of the sum of the rates was spent."""
    rates = view.lr_at(curve.t)
    spent = np.cumsum(rates) if rates is not None else np.arange(1.0, len(curve) + 1)
    middle = int(np.searchsorted(spent, spent[-1] / 2))
    width = max(1, len(curve) // 20)
    there = float(np.median(curve.v[max(0, middle - width) : middle + width + 1]))
    return (there - curve.last) / max(start - curve.last, 1e-12)


def tiny_steps(view: View, curve: Curve) -> Suspicion | None:
    """Nothing has moved, because the steps are far too short for it."""
    ratio = update_ratio(view)
    if ratio is None or ratio > SHORT_STEPS:
        return None
    kept = _kept_by_clipping(view)
    if ratio < UPDATE_LOW / 1000 and kept is None:
        return None
    if curve.last < STILL_HIGH * curve.first or curve.error > RAGGED * curve.first:
        return None
    if view.norm is None or view.norm.last < 0.3 * view.norm.first or vanishing_gradient(view):
        return None
    says = (
        f"the loss has hardly moved ({number(curve.first)}, then {number(curve.last)}), and a "
        f"step moves the weights by {number(ratio)} of their size, where 1e-3 is usual"
    )
    gaps = {}
    if kept is not None:
        says += f": clipping leaves {100 * kept:.2g}% of each gradient"
        gaps = {"raise_lr": "raise_clip"}
    return Suspicion("lr_too_low", float(curve.t[0]), 0.8, says, {"update_ratio": ratio}, gaps)


def _kept_by_clipping(view: View) -> float | None:
    """The share of a gradient that clipping usually leaves, where that is hardly any."""
    series = view.log.get("clip_factor")
    kept = 1.0 if series is None or not len(series) else float(np.nanmedian(series.values))
    return kept if 0 < kept < HARDLY_ANY else None


def _cut_steps(view: View, curve: Curve) -> Suspicion | None:
    """Clipping leaves a small part of nearly every gradient, and of the loss much is left. Rules
    that divide by the size of gradients, as Adam does, take the same steps with or without it.
    """
    limit, norm = view.number("clip"), view.norm
    name = str(view.log.settings.get("optimizer") or "").lower()
    if not limit or norm is None or not any(rule in name for rule in TAKE_LENGTHS):
        return None
    least, usual = np.quantile(norm.v, (0.1, 0.5)) / limit
    left = curve.last / curve.first
    if least < CUT / 3 or usual < CUT or left < MUCH_LEFT:
        return None
    return Suspicion(
        "lr_too_low",
        float(curve.t[0]),
        0.75,
        f"clipping at {number(limit)} cut nearly every gradient, whose norm is mostly about "
        f"{number(float(usual * limit))}: steps are about 1/{usual:.0f} of what the rate "
        f"says, and {100 * left:.0f}% of the first loss are left",
        {"clip": limit, "times": round(float(usual), 1), "left": round(left, 3)},
        {"raise_lr": "raise_clip"},
    )


def _short_steps(view: View, curve: Curve) -> Suspicion | None:
    """From scratch, steps far shorter than usual, and much of the loss left even in training."""
    ratio, fit = update_ratio(view), view.fit
    if ratio is None or fit is None or view.chance is None or curve.first < 0.8 * view.chance:
        return None
    if view.number("label_smoothing") and not view.floor:
        return None
    seen = fit.last if view.loss is None else min(fit.last, view.loss.last)
    left = max(0.0, seen - view.floor) / (max(view.chance, fit.first) - view.floor)
    least = 0.2 if ratio < UPDATE_LOW else 0.35
    if not UPDATE_LOW / 1000 < ratio < SHORT_STEPS or left < least or vanishing_gradient(view):
        return None
    return Suspicion(
        "lr_too_low",
        float(curve.t[0]),
        0.8,
        f"a step moves the weights by {number(ratio)} of their size, where 1e-3 is usual, and the "
        f"training loss has come down to {number(fit.last)} only: {100 * left:.0f}% of the way "
        "from a guess to the lowest loss is left",
        {"update_ratio": ratio, "left": round(left, 3)},
    )
