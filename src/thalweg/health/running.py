"""How the run was run: schedules, plans, the clock, steps that were skipped."""

from __future__ import annotations

import numpy as np

from thalweg.health.curve import Curve
from thalweg.health.rates import still_rises
from thalweg.health.view import Suspicion, View, number

SLOWER, SLOWER_BRIEF, BRIEF = 2.0, 2.5, 0.02
"""So many times as long does a step take that has become slow; one below so many seconds, which a
busy machine alone can double now and then, so many times.
"""

STOP = 5.0
"""A step that takes so many times as long waits for something."""

NEARBY, LEAP = 0.1, 10.0
"""A loss that is so many times what it was, within this share of the run, is that of other data."""

SHORT = 0.1
"""No run is done after this share of its steps: a rate that has decayed by then came down early."""

ANEW = 1.5
"""A schedule that begins anew goes on at so many times the rate that it had come to."""

LONGER = (
    "let the schedule last as long as the run: its length is counted in steps (or epochs) of its "
    "own, and it was stepped more often than that"
)

WAITED, HARDLY = 2, 5e-3
"""Values that no plateau is shorter than, for who lowers the rate waits for a few; and the share of
the best that does not count as better.
"""

SPENT = 2e-3
"""A rate below this share of its largest moves nothing any more."""

FELL = 0.05
"""A rate that is this share of what it was a row before fell at once."""

DECAYED = 0.03
"""A rate below this share of its largest has been decayed."""


def schedule_fault(view: View) -> Suspicion | None:
    """The rate came down too early, never came down or up as planned, or jumped back up."""
    series, curve = view.lr, view.main
    if series is None or curve is None or len(series) < 12 or len(curve) < 12:
        return None
    rates = _calm(np.nan_to_num(series.values))
    return (
        _done_early(view, series.steps, rates)
        or _too_early(view, series.steps, rates, curve)
        or _fell_at_once(view, series.steps, rates)
        or (_restarted(view, series.steps, rates) if view.has_run(0.9) else None)
        or _per_epoch(view, series.steps, rates)
    )


def _calm(rates: np.ndarray) -> np.ndarray:
    """Without what stands out in a single row: that is no schedule."""
    three = np.stack([rates[:-2], rates[1:-1], rates[2:]])
    middle = np.where(rates[1:-1] > 3 * three[[0, 2]].max(0), np.median(three, 0), rates[1:-1])
    return np.concatenate([rates[:1], middle, rates[-1:]])


def _done_early(view: View, steps: np.ndarray, rates: np.ndarray) -> Suspicion | None:
    """For much of the run the rate is so low that its steps change nothing."""
    is_low = rates < SPENT * rates.max()
    if not is_low[-1]:
        return None
    at = int(np.flatnonzero(~is_low)[-1]) + 1
    end = max(float(steps[-1]), view.number("steps") or 0.0)
    whole, low = max(end - steps[0], 1.0), float(steps[-1] - steps[at])
    share = (end - steps[at]) / whole
    if share < 0.5 or low < 0.05 * whole:
        return None
    return Suspicion(
        "schedule_fault",
        float(steps[at]),
        0.93,
        f"the rate is below {number(SPENT)} of its largest from {view.name(steps[at])} on: the "
        f"last {100 * share:.0f}% of the run changed next to nothing",
        {"since": float(steps[at]), "share_of_run": round(1 - share, 3)},
        gaps={"schedule": LONGER},
    )


def _too_early(view: View, steps: np.ndarray, rates: np.ndarray, curve: Curve) -> Suspicion | None:
    """Decayed in the first half, while the loss was still falling."""
    low = rates < DECAYED * rates.max()
    if not low[-1]:
        return None
    high = np.flatnonzero(~low)
    since = float(steps[min(len(steps) - 1, high[-1] + 1)])
    share = (since - steps[0]) / max(curve.raw_t[-1] - steps[0], 1.0)
    if share > 0.5 or _waits_for_plateaus(view, steps, rates, since):
        return None
    before = curve.raw_v[curve.raw_t < since]
    after = curve.raw_v[curve.raw_t >= since]
    if len(before) < 1 or len(after) < 8:
        return None
    size = max(1, len(before) // 5)
    start, at_decay = float(np.median(before[:size])), float(np.median(before[-size:]))
    late = float(np.median(before[len(before) // 2 : len(before) // 2 + size]))
    is_short = share < SHORT
    was_falling = late - at_decay > max(0.1 * (start - at_decay), 2 * curve.error)
    still = at_decay - curve.last
    if not (is_short or was_falling) or still > 0.5 * max(start - at_decay, 0.0) + 2 * curve.noise:
        return None
    if curve.last < 0.15 * start:
        return None
    return Suspicion(
        "schedule_fault",
        since,
        0.8,
        f"the rate was below {100 * DECAYED:.0f}% of its largest from {view.name(since)} on, after "
        f"{100 * share:.0f}% of the run, while the loss was still falling; since then it went from "
        f"{number(float(after[0]))} to {number(curve.last)} only",
        {"since": since, "share_of_run": round(share, 3)},
        gaps={"schedule": LONGER},
    )


def _waits_for_plateaus(view: View, steps: np.ndarray, rates: np.ndarray, until: float) -> bool:
    """Does the rate fall by the same factor at odd times, each up to a step after evaluations (or
    epochs) that brought nothing better? Who lowers it on plateaus does so as the loss stands still.
    """
    curve = view.validation or view.main
    falls = np.flatnonzero(rates[1:] < 0.95 * rates[:-1]) + 1
    if curve is None or len(falls) < 3 or (rates[1:] > 1.05 * rates[:-1]).any():
        return False
    ratios, holds = rates[falls] / np.maximum(rates[falls - 1], 1e-300), np.diff(falls)
    is_odd = ratios.max() < 1.1 * ratios.min() and holds.max() - holds.min() > 1
    return bool(is_odd and all(_stood(curve, steps[i]) for i in falls if steps[i] <= until))


def _stood(curve: Curve, step: float) -> bool:
    """Were the last values before a step hardly better than the best before them?"""
    values = curve.raw_v[curve.raw_t < step]
    if len(values) < WAITED + 2:
        return False
    earlier = float(values[:-WAITED].min())
    return float(values[-WAITED:].min()) >= earlier - HARDLY * abs(earlier)


def _fell_at_once(view: View, steps: np.ndarray, rates: np.ndarray) -> Suspicion | None:
    """One fall by a factor within the first quarter of the run, and none like it later."""
    falls = np.flatnonzero((rates[1:] < FELL * rates[:-1]) & (rates[:-1] > 0))
    if len(falls) != 1 or rates[-1] > 2 * FELL * rates.max():
        return None
    i = int(falls[0])
    share = (steps[i + 1] - steps[0]) / max(steps[-1] - steps[0], 1.0)
    if share > 0.25:
        return None
    at = float(steps[i + 1])
    return Suspicion(
        "schedule_fault",
        at,
        0.8,
        f"the rate falls from {number(float(rates[i]))} to {number(float(rates[i + 1]))} in one "
        f"step at {view.name(at)}, {100 * share:.0f}% of the way, and stays there",
        {"since": at, "share_of_run": round(share, 3)},
        gaps={"schedule": LONGER},
    )


def _restarted(view: View, steps: np.ndarray, rates: np.ndarray) -> Suspicion | None:
    """One jump up by a factor, after the rate had come down for long, with no other like it."""
    before, after = rates[:-1], rates[1:]
    jumps = np.flatnonzero((after > 2.5 * before) & (before > 0) & (before < 0.4 * rates.max()))
    warm = int(np.argmax(rates))
    jumps = jumps[(jumps > warm) | (before[jumps] < 0.4 * np.maximum.accumulate(rates)[jumps])]
    falls_back = np.flatnonzero(after < 0.2 * before)
    if len(jumps) == 1 and jumps[0] > 5 and after[jumps[0]] < 1.2 * rates[: jumps[0] + 1].max():
        at = float(steps[jumps[0] + 1])
        low, high = float(before[jumps[0]]), float(after[jumps[0]])
    elif len(falls_back) == 1 and rates[-1] > rates[falls_back[0] + 1] and falls_back[0] > 5:
        at = float(steps[falls_back[0] + 1])
        low, high = float(before[falls_back[0]]), float(after[falls_back[0]])
        if after[falls_back[0]] > 0.1 * rates.max() or not _rises_after(rates, falls_back[0] + 1):
            return None
        if rates[falls_back[0] + 1 :].max() < ANEW * low:
            return None  # it warms up again, and goes on at the rate that it had
    else:
        return None
    return Suspicion(
        "schedule_fault",
        at,
        0.75,
        f"the rate jumps from {number(low)} to {number(high)} at {view.name(at)}, once: the "
        "schedule began anew",
        {"since": at, "from": low, "to": high},
        gaps={"schedule": "restore the scheduler's state with the model's when a run is resumed"},
    )


def _rises_after(rates: np.ndarray, at: int) -> bool:
    """Is it a warm-up that begins again?"""
    later = rates[at:]
    return len(later) > 3 and later[min(len(later) - 1, 3)] > later[0]


def _per_epoch(view: View, steps: np.ndarray, rates: np.ndarray) -> Suspicion | None:
    """A schedule that should have come to its end and has hardly begun."""
    planned = view.number("steps")
    name = str(view.log.settings.get("schedule") or "")
    if planned is None or steps[-1] < 0.9 * planned:
        return None
    warmup = view.number("warmup") or 0.0
    ended = rates[-1] / rates.max()
    rises_all_along = len(rates) >= 12 and bool((np.diff(rates) >= 0).all()) and still_rises(view)
    is_decay = any(word in name for word in ("cosine", "linear", "one", "poly"))
    late = rates[int(0.8 * len(rates))]
    is_warming = warmup > 0 and steps[-1] > 1.5 * warmup and rates[-1] > 1.05 * late
    if not ((is_decay and ended > 0.5) or is_warming or rises_all_along):
        return None
    changes = int(np.count_nonzero(np.diff(rates)))
    return Suspicion(
        "schedule_fault",
        float(steps[0]),
        0.93,
        f"the schedule ({name or 'a warm-up'}) should have come to its end, and the rate is still "
        f"{100 * ended:.0f}% of its largest; it changed {changes} times in {len(steps):,} rows",
        {"end_share": round(float(ended), 3), "changes": changes},
        gaps={
            "schedule": "step the scheduler once a step, not once an epoch, where its length is "
            "counted in steps"
        },
    )


def truncated(view: View) -> Suspicion | None:
    """The run ended well before the steps that were planned."""
    planned, curve = view.number("steps"), view.main
    if planned is None or curve is None or view.log.unit != "step" or not view.is_over:
        return None
    gap = float(np.median(np.diff(curve.raw_t))) if len(curve.raw_t) > 1 else 0.0
    done = (view.end + gap) / planned  # what came after the last row is not in it
    if done > 0.9 or view.log.settings.get("patience") or view.log.settings.get("stopped_early"):
        return None
    if view.log.format == "trainer_state" and not view.log.checkpoints:
        return None  # written with every checkpoint: it says where that was, not where a run ended
    return Suspicion(
        "truncated",
        view.end,
        0.9,
        f"the log ends at {view.name(view.end)} of {planned:,.0f}, {100 * done:.0f}% of the plan",
        {"end": view.end, "planned": planned},
    )


def stalled_throughput(view: View) -> Suspicion | None:
    """A step takes much longer than it did, and goes on to; or every so often one does."""
    curve = Curve.of(view.log.get("seconds"))
    if curve is None or len(curve.raw_v) < 40:
        return None
    values = curve.raw_v
    parts = np.array_split(values, 20)
    mids = np.array([np.median(part) for part in parts])
    usual = float(np.median(mids[:8]))
    late = values[-max(8, len(values) // 5) :]
    if usual <= 0:
        return None
    least = SLOWER if usual > BRIEF else SLOWER_BRIEF
    is_slow = np.median(late) > least * usual and np.quantile(late, 0.1) > 0.8 * least * usual
    is_broken = not is_slow and _stops(values, usual)
    if not (is_slow or is_broken):
        return None
    if is_slow:
        part = int(np.flatnonzero(mids <= 0.6 * least * usual)[-1]) + 1
        first = min(len(values) - 1, part * len(values) // len(parts))
        says = f"a step takes {number(float(np.median(late)))} s where it took {number(usual)} s"
    else:
        stops = np.flatnonzero(values > STOP * usual)
        first = int(stops[stops >= len(values) // 5][0])  # of those before there are hardly any
        share = 100 * float((late > STOP * usual).mean())
        says = (
            f"{share:.0f}% of the late steps take over {STOP:g} times the usual {number(usual)} s"
        )
    if is_slow and _is_phase(view, float(curve.raw_t[first])):
        return None
    return Suspicion(
        "stalled_throughput",
        float(curve.raw_t[first]),
        0.85,
        f"{says}; the run spends {number(float(late.mean()) / usual)} times as long on a step",
        {"usual_seconds": usual, "late_seconds": float(late.mean())},
    )


def _is_phase(view: View, step: float) -> bool:
    """Does the loss leap as well, near the step from which steps are slow? Then it is another task,
    or other data, that takes its time.
    """
    curve = view.loss
    if curve is None or curve.raw_v.min() <= 0:
        return False
    near = np.abs(curve.raw_t - step) < NEARBY * view.end
    before = curve.raw_v[(curve.raw_t < step) & near]
    after = curve.raw_v[(curve.raw_t >= step) & near]
    return len(before) > 2 and len(after) > 0 and float(after.max()) > LEAP * np.median(before)


def _stops(values: np.ndarray, usual: float) -> bool:
    """Do many steps of the last fifth take many times as long, and hardly any of the first?"""
    late, early = values[-max(8, len(values) // 5) :], values[: len(values) // 5]
    often = float((late > STOP * usual).mean())
    before = float((early[3:] > STOP * usual).mean()) if len(early) > 8 else 0.0
    return often > 0.03 and before < 0.3 * often and late.mean() > 2 * early[3:].mean()


def skipped_steps(view: View) -> Suspicion | None:
    """The loss scale falls without end: every step overflows and is skipped."""
    curve = Curve.of(view.log.get("loss_scale"))
    if curve is None or len(curve) < 4:
        return None
    fallen = curve.first / max(curve.raw_v[-1], 1e-300)
    if fallen < 2**10 or curve.raw_v[-1] > curve.raw_v.min():
        return None
    since = float(curve.t[np.flatnonzero(curve.v < curve.first)[0]])
    return Suspicion(
        "skipped_steps",
        since,
        0.95,
        f"the loss scale fell from {number(curve.first)} to {number(float(curve.raw_v[-1]))} and "
        "did not recover: at each halving a step was skipped",
        {"first": curve.first, "last": float(curve.raw_v[-1])},
    )
