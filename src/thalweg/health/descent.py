"""How the descent goes: rates too high and too low, standing still, weights that shrink."""

from __future__ import annotations

import numpy as np

from thalweg.health.curve import MAD, Curve, noise_of
from thalweg.health.view import Suspicion, View, number

UPDATE_LOW, UPDATE_HIGH = 2e-5, 3e-2
"""Sizes of a step beside that of the weights, below and above which a rate is suspect; about 1e-3
is usual.
"""


def lr_too_high(view: View) -> Suspicion | None:
    """The loss goes up and down by much of what it fell, at a rate that did not come down."""
    curve = view.validation if view.validation is not None else view.loss
    if curve is None or len(curve) < 12 or curve.progress <= 0:
        return None
    jitter = jitter_of(curve)
    hump = _hump(view)
    rate = _end_rate(view, curve)
    if rate < 0.2 or (jitter < 0.08 and (hump < 2.0 or jitter < 0.03)):
        return None
    surer = 0.15 if hump >= 2.0 else 0.0
    confidence = min(0.95, 0.55 + 2.0 * max(0.0, jitter - 0.08) + surer)
    says = (
        f"from one evaluation to the next the loss moves by {100 * jitter:.0f}% of its whole fall "
        f"(from {number(curve.first)} to {number(curve.best)}), without the rate coming down"
    )
    if hump >= 2.0:
        says += f"; at the start it rose to {hump:.2g} times its first value"
    return Suspicion(
        "lr_too_high",
        curve.t[len(curve) // 2],
        confidence,
        says,
        {"jitter": round(jitter, 4), "hump": round(hump, 3)},
    )


def jitter_of(curve: Curve) -> float:
    """How far neighbouring points of the later half lie apart, as a share of the progress."""
    late = curve.v[len(curve) // 2 :]
    return noise_of(late) / max(curve.progress, 1e-12)


def _hump(view: View) -> float:
    """The highest of the first tenth beside the first value, of the training loss."""
    curve = view.loss
    if curve is None or curve.first <= 0 or len(curve.raw_v) < 50:
        return 1.0
    start = curve.raw_v[: max(5, len(curve.raw_v) // 10)]
    usual = float(np.median(start[: max(1, len(start) // 20)]))
    return float(np.median(np.sort(start)[-max(1, len(start) // 20) :])) / max(usual, 1e-12)


def _end_rate(view: View, curve: Curve) -> float:
    """The rate in the last tenth as a share of the largest; 1 where it is not known."""
    rates = view.lr_at(curve.t)
    if rates is None:
        return 1.0
    return float(np.median(rates[-max(1, len(rates) // 10) :]) / rates.max())


def lr_too_low(view: View) -> Suspicion | None:
    """The loss falls on a straight line to the end, and has hardly come down."""
    curve = view.main
    if curve is None or len(curve) < 12:
        return None
    fallen = curve.first - curve.last
    if fallen < 5 * max(curve.error, 1e-12) or curve.first <= 0:
        return None
    late = _late_share(view, curve)
    left = curve.last / curve.first
    ratio = update_ratio(view)
    is_small = ratio is not None and ratio < UPDATE_LOW
    if late < 0.25 or not (left > 0.6 or is_small):
        return None
    confidence = min(0.95, 0.5 + 0.8 * (late - 0.25) + 0.4 * max(0.0, left - 0.6))
    says = (
        f"the loss fell from {number(curve.first)} to {number(curve.last)} only, and "
        f"{100 * late:.0f}% of that in the second half: it is on its way and slow"
    )
    if is_small and ratio is not None:
        confidence = max(confidence, 0.85)
        says += f"; a step moves the weights by {number(ratio)} of their size, where 1e-3 is usual"
    evidence = {"late_share": round(late, 3), "left": round(left, 3), "update_ratio": ratio}
    return Suspicion("lr_too_low", curve.t[0], confidence, says, evidence)


def _late_share(view: View, curve: Curve) -> float:
    """The share of the fall that came after half of the sum of the rates was spent."""
    rates = view.lr_at(curve.t)
    spent = np.cumsum(rates) if rates is not None else np.arange(1.0, len(curve) + 1)
    middle = int(np.searchsorted(spent, spent[-1] / 2))
    width = max(1, len(curve) // 20)
    there = float(np.median(curve.v[max(0, middle - width) : middle + width + 1]))
    return (there - curve.last) / max(curve.first - curve.last, 1e-12)


def update_ratio(view: View) -> float | None:
    """The median size of a step beside that of the weights it moves; None: not measured."""
    sizes = [_ratio(view, f":{name}") for name in layers_of(view) if name.endswith("weight")]
    known = [size for size in (*sizes, _ratio(view, "")) if size is not None]
    return float(np.median(known)) if known else None


def layers_of(view: View) -> list[str]:
    """The parameters whose steps were measured one by one."""
    prefix = "update_norm:"
    return [name.removeprefix(prefix) for name in view.log.series if name.startswith(prefix)]


def _ratio(view: View, which: str) -> float | None:
    steps, weights = view.log.get(f"update_norm{which}"), view.log.get(f"parameter_norm{which}")
    if steps is None or weights is None or not len(steps) or not len(weights):
        return None
    sizes = np.interp(steps.steps, weights.steps, weights.values)
    is_there = np.isfinite(steps.values) & (sizes > 0)
    return float(np.median(steps.values[is_there] / sizes[is_there])) if is_there.any() else None


def stuck_at_chance(view: View) -> Suspicion | None:
    """The loss has not fallen at all, or no further than to what chance gives."""
    curve = view.main
    if curve is None or len(curve) < 12:
        return None
    fallen = curve.first - curve.last
    floor = max(3 * curve.error, 0.02 * abs(curve.first))
    if view.end > 2 * curve.raw_t[-1]:
        return None  # a log of the first steps alone
    chance = view.chance
    at_chance = chance is not None and curve.last > 0.97 * chance and curve.best > 0.95 * chance
    if not at_chance and fallen > floor:
        return None
    if not at_chance and curve.progress > 3 * floor:
        return None  # it had fallen: it is another matter that it rose again
    beside = f", where chance gives {number(chance)}" if chance is not None else ""
    return Suspicion(
        "stuck_at_chance",
        curve.t[0],
        0.9 if at_chance else 0.75,
        f"the loss was {number(curve.first)} at the start and is {number(curve.last)} after "
        f"{view.name(curve.raw_t[-1])}{beside}",
        {"first": curve.first, "last": curve.last, "chance": chance},
    )


def weight_decay_too_strong(view: View) -> Suspicion | None:
    """The weights shrink to a part of what they were, and the loss does not come down for it."""
    size = Curve.of(view.log.get("parameter_norm"))
    curve = view.main
    if size is None or curve is None or len(size) < 8 or len(curve) < 12:
        return None
    shrunk = size.last / max(size.first, 1e-12)
    left = curve.last / curve.first if curve.first > 0 else 0.0
    if shrunk > 0.5 or left < 0.5:
        return None
    since = float(size.t[np.flatnonzero(size.v < 0.8 * size.first)[0]])
    return Suspicion(
        "weight_decay_too_strong",
        since,
        0.85,
        f"the weights' norm fell from {number(size.first)} to {number(size.last)} while the loss "
        f"stayed at {number(curve.last)} ({100 * left:.0f}% of the first)",
        {"first_norm": size.first, "last_norm": size.last},
    )


def plateau(view: View) -> Suspicion | None:
    """The loss stands still for most of the run at much of its first value, the rate still high."""
    curve = view.main
    if curve is None or len(curve) < 24 or curve.first <= 0 or curve.progress <= 0:
        return None
    middle = float(np.median(curve.part(0.3, 0.45)))
    gained = middle - curve.last
    left = curve.last / curve.first
    if gained > max(4 * curve.error, 0.02 * curve.progress) or left < 0.6:
        return None
    if _end_rate(view, curve) < 0.2:
        return None
    spread = MAD * float(np.median(np.abs(curve.part(0.5, 1.0) - curve.last)))
    return Suspicion(
        "plateau",
        float(curve.t[int(0.3 * len(curve))]),
        0.6,
        f"the loss has stood at {number(curve.last)} (give or take {number(spread)}) for 60% of "
        f"the run, {100 * left:.0f}% of what it began with",
        {"level": curve.last, "first": curve.first},
    )
