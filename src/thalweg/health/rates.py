"""Learning rates that are too high, how far a step moves the weights, and updates that are lost."""

from __future__ import annotations

import numpy as np

from thalweg.health.curve import Curve, noise_of
from thalweg.health.view import FEW, GUESS, Suspicion, View, number
from thalweg.record.foreign.log import LOSS, VALIDATION

UPDATE_LOW, UPDATE_HIGH = 1e-4, 8e-3
"""Sizes of a step beside that of the weights, below and above which a rate is suspect; about 1e-3
is usual.
"""

SHORT_STEPS = 2.5e-4
"""Steps that are suspect where even the training samples are learnt badly: of 570 healthy runs
seven had shorter ones, and all of these had learnt them well.
"""

ROUNDED = 3e-3
"""bfloat16 keeps 8 bits: a step of less than 1/512 to 1/256 of a weight rounds to nothing."""

AT_WORK = 0.2
"""A rate below this share of the largest is on its way to rest."""

ENOUGH = 100
"""Steps below which a slow run cannot be told from a short one."""

SEEN_ENOUGH, ROSE = 8, 1.5
"""Rows of the start of a training loss that show whether it was thrown up, and to how many times
its first value it then rises at the least.
"""

THROWN = 3.0
"""A loss that rises to so many times its first value was thrown there."""

STANDS_OUT = 2.0
"""What was thrown up early lies this far above all that the loss does later."""

RESTLESS_STEPS = 2e-4
"""The size of late steps times how far the loss moves between evaluations: above it they are too
long. Of some 1,100 healthy runs four had more, at most 2.9e-4.
"""

OWN_STEPS = 10.0
"""AdaDelta and Adafactor choose the length of their steps, which are long in healthy runs too: so
many times that limit.
"""

RAISED = 3.0
"""A rate that is so many times that of the row before was raised."""

MANY = 60
"""Evaluations by which a run that goes on, one knows not how long, can be told to be restless."""

FELL = 0.2
"""A loss that has lost less than this share of its first value has learnt next to nothing."""

RESTLESS = 0.08
"""A loss that moves by this share of all that it fell does not settle."""


def lr_too_high(view: View) -> Suspicion | None:
    """Steps that are too long: they throw the loss far up at first, or keep it from settling."""
    curve = view.validation if view.validation is not None else view.loss
    found = raised(view) or _thrown_up(view)
    if found is not None or curve is None or len(curve) < FEW:
        return found
    if not (view.has_run(0.9) or len(curve) >= MANY):
        return None  # a loss that still falls fast moves from one evaluation to the next
    return _long_steps(view, curve) or _restless(view, curve)


def raised(view: View) -> Suspicion | None:
    """The rate was raised in the middle of the run, and the loss went up with it for good."""
    curve, series = view.loss, view.lr
    if curve is None or series is None or len(series) < 12 or len(curve.raw_v) < 24:
        return None
    rates = np.nan_to_num(series.values)
    rises = np.flatnonzero((rates[1:] > RAISED * rates[:-1]) & (rates[:-1] > 0))
    if len(rises) != 1:
        return None
    i = int(rises[0])
    at = float(series.steps[i + 1])
    before, after = curve.raw_v[curve.raw_t < at][-20:], curve.raw_v[curve.raw_t >= at]
    if len(before) < 8 or len(after) < 8:
        return None
    low, high = float(np.median(before)), float(np.median(after[: max(8, len(after) // 2)]))
    if high < 1.5 * low or curve.last < 1.2 * low:
        return None
    return Suspicion(
        "lr_too_high",
        at,
        0.93,
        f"at {view.name(at)} the rate went from {number(float(rates[i]))} to "
        f"{number(float(rates[i + 1]))} and the loss from {number(low)} to {number(high)}; it was "
        f"{number(curve.last)} at the end",
        {"since": at, "from": float(rates[i]), "to": float(rates[i + 1])},
    )


def still_rises(view: View) -> bool:
    """Is the rate on its way up, as in a warm-up?"""
    if view.lr is None or len(view.lr) < 4:
        return False
    rates = np.nan_to_num(view.lr.values)
    return bool(rates[-1] > 1.1 * rates[int(0.7 * len(rates))])


def rate_rose(view: View, step: float) -> bool:
    """Did the rate jump in the steps before?"""
    rates = view.lr_at(np.array([step - 4, step - 3, step - 2, step - 1, step]))
    return rates is not None and bool(rates.max() > 1.5 * max(rates.min(), 1e-300))


def _thrown_up(view: View) -> Suspicion | None:
    """Far above its first value at the start, and no good at the end."""
    series = view.log.get(LOSS)
    times = blowup(view)
    if series is None or times < THROWN or _others_were_calm(view):
        return None
    first = float(series.values[0])
    if view.main is None or not view.is_shaped or view.main.last < _no_use(view, first):
        return None
    highest = times * first
    noise = view.loss.noise if view.loss is not None else 0.0
    if view.knows_already and highest < max(view.chance or GUESS, first + 8 * noise):
        return None  # it never lost what it knew
    if view.chance is None and highest < STANDS_OUT * _highest_late(view):
        return None  # a loss that is small and moves as much to the end
    return Suspicion(
        "lr_too_high",
        _when_above(view, 2 * first),
        0.75 if times > 3 * THROWN else 0.6,
        f"the loss began at {number(first)}, went up to {number(highest)} in the first quarter of "
        f"the run, and is {number(view.main.last)} at the end: the first steps were far too long",
        {"first": first, "highest": highest, "last": view.main.last},
    )


def _highest_late(view: View) -> float:
    """Of either loss, in the later half."""
    curves = [curve for curve in (view.loss, view.validation) if curve is not None]
    return max(float(curve.raw_v[len(curve.raw_v) // 2 :].max()) for curve in curves)


def _others_were_calm(view: View) -> bool:
    """Were other samples fitted from the first to the last evaluation as they are at the end? Not
    known where the first came after the loss had come down again.
    """
    others = view.validation
    if others is None or not view.others_stand or not view.is_no_guess(others):
        return False
    if view.loss is not None and others.raw_t[0] > _last_above(view.loss, 2 * view.loss.raw_v[0]):
        return False
    return float(others.raw_v.max()) < 1.5 * others.last


def _last_above(curve: Curve, level: float) -> float:
    """The last step at which the loss is above a level, or the first of all."""
    return float(curve.raw_t[np.flatnonzero(curve.raw_v > level).max(initial=0)])


def _no_use(view: View, first: float) -> float:
    """The loss from which on a run is no good: much of chance, or the first one."""
    return 0.7 * view.chance if view.chance is not None else 0.95 * first


def blowup(view: View) -> float:
    """The highest loss of the first quarter, of training or validation, beside the very first; 1
    where the log does not begin with the first steps.
    """
    series = view.log.get(LOSS)
    if series is None or len(series) < 8 or series.steps[0] > 2 or view.log.unit != "step":
        return 1.0
    first = float(series.values[0])
    if not np.isfinite(first) or first <= 0:
        return 1.0
    until = series.steps[0] + 0.25 * (series.steps[-1] - series.steps[0])
    early = series.values[(series.steps <= until) & np.isfinite(series.values)]
    highest = float(early.max(initial=first))
    others = view.log.get(VALIDATION)
    is_calm = len(early) >= SEEN_ENOUGH and highest < ROSE * first
    if others is not None and not is_calm:  # else other samples are another matter
        late = others.values[(others.steps <= until) & np.isfinite(others.values)]
        highest = max(highest, float(late.max(initial=first)))
    return highest / first


def _when_above(view: View, level: float) -> float:
    """The first step at which either loss is above a level."""
    steps = [
        float(rows.steps[np.flatnonzero(rows.values > level)[0]])
        for role in (LOSS, VALIDATION)
        if (rows := view.log.get(role)) is not None and np.any(rows.values > level)
    ]
    return min(steps, default=0.0)


def _long_steps(view: View, curve: Curve) -> Suspicion | None:
    """To the end a step moves the weights by much of their size, and the loss is restless.

    Healthy runs of AdaGrad and RMSprop may have steps as long; theirs settle.
    """
    late = update_ratio(view, late=True)
    if late is None or late < UPDATE_HIGH or end_rate(view, curve) < 0.2:
        return None
    if view.validation is None:
        return None
    if view.fall_of(curve) < FELL * curve.first:
        return None  # nothing was learnt that could be thrown about
    jitter = jitter_of(view, curve)
    least = RESTLESS_STEPS * (OWN_STEPS if _chooses_own(view) else 1.0)
    if late * jitter < least:
        return None
    return Suspicion(
        "lr_too_high",
        float(curve.t[0]),
        min(0.75, 0.4 + 0.04 * late * jitter / least),
        f"in the last third a step still moves the weights by {100 * late:.2g}% of their size, "
        f"where 0.1% is usual, and the loss moves by {100 * jitter:.1f}% of its whole fall "
        f"({number(view.fall_of(curve))}, to {number(curve.best)}) from one evaluation to the next",
        {"update_ratio": late, "jitter": round(jitter, 4)},
        severity="act" if late * jitter > 3 * least else "warn",
    )


def _chooses_own(view: View) -> bool:
    """Does the optimizer make its steps as long as those before, or a share of the weights?"""
    name = str(view.log.settings.get("optimizer") or "").lower()
    return any(known in name for known in ("adadelta", "adafactor", "rprop"))


def _restless(view: View, curve: Curve) -> Suspicion | None:
    """The loss goes up and down by much of what it fell, at a rate that does not come down."""
    if view.validation is None:
        return None  # a training loss moves from batch to batch, whatever the steps are
    jitter, ratio = jitter_of(view, curve), update_ratio(view)
    is_restless = jitter > RESTLESS and end_rate(view, curve) > 0.2
    if not is_restless or view.fall_of(curve) < FELL * max(curve.first, 1e-12):
        return None
    if ratio is not None and ratio < SHORT_STEPS:
        return None  # so short a step throws nothing about: the loss has hardly fallen yet
    if _is_one_way(curve) or _is_calm_in_training(view, curve):
        return None
    is_seen = view.loss is not None or view.lr is not None  # else other samples may be too few
    return Suspicion(
        "lr_too_high",
        float(curve.t[len(curve) // 2]),
        min(0.7 if is_seen else 0.4, 0.35 + 2.0 * (jitter - RESTLESS)),
        f"from one evaluation to the next the loss moves by {100 * jitter:.0f}% of its whole fall "
        f"({number(view.fall_of(curve))}, to {number(curve.best)}), without the rate coming down",
        {"jitter": round(jitter, 4)},
        severity="act" if is_seen and jitter > 2 * RESTLESS else "warn",
    )


CALM = 0.02
"""A training loss that moves by less than this share of its fall, from epoch to epoch, is calm."""


def _is_one_way(curve: Curve) -> bool:
    """Does it come down from where it was thrown, by and by or at once, and stay down?"""
    late = curve.v[len(curve) // 2 :]
    falls = len(late) > 6 and float(np.mean(np.diff(late) < 0)) > 0.85
    return falls or (late.max() > 2 * np.median(late) and curve.last < 1.1 * curve.best)


def _is_calm_in_training(view: View, curve: Curve) -> bool:
    """Does the mean training loss of each epoch fall calmly, which long steps would throw about?"""
    train = view.loss
    if train is None or not 0.5 * len(curve) <= len(train.raw_v) <= 2 * len(curve):
        return False
    return noise_of(train.raw_v[len(train.raw_v) // 2 :]) < CALM * train.progress


def jitter_of(view: View, curve: Curve) -> float:
    """How far neighbouring points of the later half lie apart, as a share of the whole fall."""
    late = curve.v[len(curve) // 2 :]
    return noise_of(late) / max(view.fall_of(curve), 1e-12)


def end_rate(view: View, curve: Curve) -> float:
    """The rate in the last tenth as a share of the largest; 1 where it is not known."""
    rates = view.lr_at(curve.t)
    if rates is None:
        return 1.0
    return float(np.median(rates[-max(1, len(rates) // 10) :]) / rates.max())


def update_ratio(view: View, *, late: bool = False) -> float | None:
    """The median size of a step beside that of the weights it moves; None: not measured.

    late: in the last third of the run; what is never moved is left out
    """
    which = [f":{name}" for name in layers_of(view) if name.endswith("weight")] or [""]
    sizes = [_ratio(view, name, late=late) for name in which]
    known = [size for size in sizes if size is not None and size > 0]
    return float(np.median(known)) if known else None


def layers_of(view: View) -> list[str]:
    """The parameters whose steps were measured one by one."""
    prefix = "update_norm:"
    return [name.removeprefix(prefix) for name in view.log.series if name.startswith(prefix)]


def _ratio(view: View, which: str, *, late: bool) -> float | None:
    steps, weights = view.log.get(f"update_norm{which}"), view.log.get(f"parameter_norm{which}")
    if steps is None or weights is None or not len(steps) or not len(weights):
        return None
    sizes = np.interp(steps.steps, weights.steps, weights.values)
    is_there = np.isfinite(steps.values) & (sizes > 0)
    rates = None if late else view.lr_at(steps.steps)
    if rates is not None and np.isfinite(rates).all():
        is_there &= rates >= AT_WORK * rates.max()  # where it rests no step is long
    if late:
        is_there &= steps.steps >= steps.steps[0] + 2 / 3 * (steps.steps[-1] - steps.steps[0])
    return float(np.median(steps.values[is_there] / sizes[is_there])) if is_there.any() else None


def keeps_16_bits(view: View) -> bool:
    """Are the weights themselves kept in bfloat16, and nowhere in more?"""
    settings = view.log.settings
    return settings.get("precision") == "bf16-weights" and "master_weights" not in settings


def lost_updates(view: View) -> Suspicion | None:
    """Weights of 16 bits whose steps are smaller than the last digit of a weight."""
    ratio = update_ratio(view)
    if not keeps_16_bits(view) or ratio is None or ratio > ROUNDED:
        return None
    return Suspicion(
        "lost_updates",
        0.0,
        0.93,
        f"the weights are kept in bfloat16, which rounds to 0.4% of a weight, and a step moves "
        f"them by {100 * ratio:.2g}%: most updates round to nothing",
        {"update_ratio": ratio},
    )
