"""How the descent goes: standing still, at chance or above it, weights that shrink."""

from __future__ import annotations

import numpy as np

from thalweg.health.curve import MAD, Curve
from thalweg.health.fitting import evenly
from thalweg.health.labels import FOLLOWS, followed_by_validation
from thalweg.health.rates import (
    ENOUGH,
    ROSE,
    SHORT_STEPS,
    THROWN,
    UPDATE_HIGH,
    blowup,
    end_rate,
    update_ratio,
)
from thalweg.health.slow import STILL_HIGH, steady_steps, tiny_steps
from thalweg.health.view import TUNING_RATE, Suspicion, View, number

LATE = 0.1
"""A log that begins after this share of its steps is that of a run which was resumed."""

A_GUESS, FEW_CLASSES, MANY_CLASSES = 0.02, 2.5, 6.5
"""How near to the loss of a guess is one; a dozen classes lie that far apart that it tells; a loss
above the last is a guess of hundreds of classes or more.
"""

AT_A_GUESS = 0.007
"""How far from it a loss that stands at that of a guess may lie, as a share, wherever that number
of classes is not known; of 2,076 healthy runs none came so near and stood there.
"""

FEW_SAMPLES = 2

NEAR_CHANCE = 0.03
"""How far from the loss of a guess, as a share of it, a loss stands at chance beyond doubt."""

APART = 0.03
"""A balanced accuracy that is so much above that of a guess is none."""

STRONG, SHRINKS = 0.05, 2e-3
"""Weight decay in the gradient (usual: 1e-5 to 1e-3), and beside it as a share of the weights that
a step takes (usual: 1e-6 to 1e-4), from which on it is out of proportion.
"""


SHRUNK, WORSE = 0.6, 1.1
"""Weights of which less than this share is left, and a loss that is so many times its best."""

FAR = 10.0
"""A loss of so many times a guess's is no longer that of a fresh model."""

AS_BEGAN = 0.9, 1.4
"""By the first loss, or that of chance, a loss that stands where it began; a first row that is a
mean over steps lies below it.
"""

KNOWS = 0.9
"""A loss below this share of that of a guess, by how often it is right, is none of a guess."""


def stuck_at_chance(view: View) -> Suspicion | None:
    """The loss has not fallen at all, or no further than to what chance gives."""
    curve = view.main
    if curve is None or len(curve) < 12 or _is_early(view, curve) or blowup(view) > THROWN:
        return None
    if not np.any(curve.raw_v):
        return None  # 0 in every row: it was never measured
    chance, at_chance = view.chance, _is_at_chance(view, curve)
    has_moved = _has_fallen(view, curve) or curve.last > 1.2 * curve.first
    stands = _stands(view, curve) and not (has_moved or view.knows_already)
    if at_chance is False or (at_chance is None and not stands):
        return _fell_back(view)
    if (slow := tiny_steps(view, curve) or steady_steps(view)) is not None:
        return slow
    rates = {"other_lr": _direction(view)}
    beside = f", where chance gives {number(chance)}" if chance is not None else ""
    return Suspicion(
        "stuck_at_chance",
        curve.t[0],
        0.73 if at_chance else 0.65,
        f"the loss was {number(curve.first)} at the start and is {number(curve.last)} after "
        f"{view.name(curve.raw_t[-1])}{beside}",
        {"first": curve.first, "last": curve.last, "chance": chance},
        gaps=rates,
        severity="act" if at_chance or _began_at_a_guess(curve) else "warn",
    )


def far_above_chance(view: View) -> Suspicion | None:
    """A log that begins after some steps, and shows no loss that is not far above a guess's."""
    curve, chance = view.main, view.chance
    if curve is None or chance is None or len(curve) < 12:
        return None
    if view.log.unit != "step" or curve.raw_t[0] <= 2:
        return None
    if float(np.min(curve.raw_v)) < FAR * chance:
        return None
    return Suspicion(
        "lr_too_high",
        float(curve.raw_t[0]),
        0.75,
        f"the loss is {number(curve.first)} at {view.name(curve.raw_t[0])} and "
        f"{number(curve.last)} at the end, where a guess costs {number(chance)}: the first steps "
        "have thrown it there",
        {"first": curve.first, "last": curve.last, "chance": chance},
    )


def _direction(view: View) -> str:
    """Which rate to try, by how far a step moves the weights, or by a loss that rose at first."""
    ratio = update_ratio(view)
    is_low = ratio is None and 0 < view.highest_rate <= TUNING_RATE  # few begin anew so low
    if is_low or (ratio is not None and ratio < SHORT_STEPS):
        return "raise_lr"
    is_above = (
        view.chance is not None and view.main is not None and view.main.last > 2 * view.chance
    )
    if (ratio is not None and ratio > UPDATE_HIGH) or blowup(view) > ROSE or is_above:
        return "lower_lr"
    return "either_lr"


def _stands(view: View, curve: Curve) -> bool:
    """Is the log one from the first steps on, whose loss has come down by a tenth at the very most?

    Where rows are few and ragged, that no fall is seen does not say that there was none.
    """
    rows = np.median(np.diff(curve.raw_t)) if len(curve.raw_t) > 1 else 0.0
    began_late = curve.raw_t[0] > max(3 * rows, LATE * curve.raw_t[-1])
    fallen, error = curve.fall
    return not began_late and fallen + 2 * error < 0.1 * abs(curve.first)


def _began_at_a_guess(curve: Curve) -> bool:
    """Is the loss from the first to the last value what equal probabilities give for so many
    classes, or far more than a model that was trained before begins with?

    Fine-tuning that stands still began with what was learnt before, and may well be done.
    """
    if float(np.ptp(curve.raw_v)) == 0.0 and curve.first != 0.0:
        return True
    guesses = np.log(np.arange(2, 1001))
    is_guess = (
        float(np.abs(guesses / curve.first - 1).min()) < A_GUESS if curve.first > 0 else False
    )
    few = is_guess and curve.first < FEW_CLASSES and curve.error < A_GUESS * curve.first
    return (few or curve.first > MANY_CLASSES) and curve.last > 0.97 * curve.first


def _fell_back(view: View) -> Suspicion | None:
    """All that was learnt is lost at once, on other samples too, and the loss stands where it
    began: whatever goes in, the same comes out.
    """
    curve = view.loss
    if curve is None or len(curve) < 24 or not view.has_run(0.9):
        return None
    late = curve.part(0.8, 1.0)
    level, low = float(np.median(late)), curve.best
    start = view.chance or curve.first
    high = np.flatnonzero(curve.calm > (level + low) / 2)
    high = high[high > curve.best_at]
    if not AS_BEGAN[0] * start < level < AS_BEGAN[1] * start or low > 0.5 * level or not len(high):
        return None
    i = int(high[0])
    after = curve.v[min(i + 2, len(curve) - 1) :]
    least, lower, upper, most = np.quantile(after, (0.02, 0.1, 0.9, 0.98))
    is_flat = upper - lower < 0.6 * (level - low) and least > (level + low) / 2
    is_low = most < THROWN / 2 * level
    followed = followed_by_validation(view, float(curve.t[i - 1]), level - low)
    if not (is_flat and is_low) or followed is None or followed < FOLLOWS:
        return None
    return Suspicion(
        "stuck_at_chance",
        float(curve.t[i]),
        0.75,
        f"the loss had come down to {number(low)} and went back to {number(level)} at "
        f"{view.name(curve.t[i])}, about what it began with, and has stood there since, on other "
        "samples too: whatever goes in, the same comes out",
        {"best": low, "last": level, "first": start},
    )


def _is_at_chance(view: View, curve: Curve) -> bool | None:
    """Is the model no better than a guess, by what is known of chance; None: that does not tell."""
    explained = Curve.of(view.log.get("validation_r2"))
    if explained is not None and len(explained) >= 8:
        best = float(explained.calm.max())
        return True if best < 0.03 else False if best > 0.1 else None
    if view.chance is None:
        if _is_a_guess(view.validation):
            return True
        return False if _knows_more(view) else None
    if curve.last < 0.6 * view.chance or tells_classes_apart(view):
        return False
    others = view.validation
    if others is not None and len(others) >= 12 and curve.last > 0.85 * view.chance:
        never_fell = others.first - others.best < max(0.03 * others.first, 3 * others.error)
        if never_fell and others.best > 0.85 * view.chance:
            return True
    return True if curve.last > 0.97 * view.chance and curve.best > 0.95 * view.chance else None


def tells_classes_apart(view: View) -> bool:
    """Is it right clearly more often than a guess, each class counted alike, from early on and to
    the end? That is known by the balanced accuracy alone.
    """
    accuracy, classes = Curve.of(view.log.get("validation_balanced_accuracy")), view.chance
    if accuracy is None or classes is None or len(accuracy) < 8:
        return False
    return float(np.quantile(accuracy.part(0.3, 1.0), 0.1)) > np.exp(-classes) + APART


def _is_a_guess(curve: Curve | None) -> bool:
    """Does it stand at the loss of equal probabilities for a few classes, and was it never much
    lower nor far above? Three digits of one number are no accident.
    """
    if curve is None or len(curve) < 5:
        return False
    guesses = np.log(np.arange(2, 11))
    late = curve.part(0.5, 1.0)
    guess = float(guesses[np.argmin(np.abs(guesses - np.median(late)))])
    if bool(np.all(np.abs(curve.v / guess - 1) < AT_A_GUESS / 2)):
        return True
    low, middle, high = np.quantile(late, (0.1, 0.5, 0.9)) / guess - 1
    is_there = abs(middle) < AT_A_GUESS and low > -2 * AT_A_GUESS and high < 2 * AT_A_GUESS
    was_near = curve.best > (1 - 2 * AT_A_GUESS) * guess and curve.last > STILL_HIGH * curve.first
    return bool(is_there and was_near and len(curve) >= 12)


def _knows_more(view: View) -> bool:
    """Is the validation loss below that of one who says the shares of the classes each time and is
    right as often? Of however many classes.
    """
    curve, accuracy = view.validation, Curve.of(view.log.get("validation_accuracy"))
    if curve is None or accuracy is None or curve.best <= 0:
        return False
    right = float(accuracy.at(curve.t[[curve.best_at]])[0])
    return 0 < right <= 1 and curve.best < KNOWS * evenly(right, 2)


def _is_early(view: View, curve: Curve) -> bool:
    """Is it too early to speak of standing still, or is this a log of the first steps alone?"""
    if len(curve.raw_v) >= 24 and float(np.ptp(curve.raw_v)) == 0.0:
        return False  # not a digit of it has changed
    if view.number("steps") is not None and not view.has_run(0.4):
        return True  # some tasks wait long before the first insight
    is_near = view.chance is not None and abs(curve.last / view.chance - 1) < NEAR_CHANCE
    if not is_near and not view.has_run(0.7):
        return True  # it may be a hard task on its way
    return (view.log.unit == "step" and view.end < ENOUGH) or view.end > 2 * curve.raw_t[-1]


def _has_fallen(view: View, curve: Curve) -> bool:
    """Has the loss come down, now or before it rose again, or that of validation?"""
    fallen, error = curve.fall
    floor = max(3 * error, 0.02 * abs(curve.first))
    had_fallen = curve.progress > max(3 * floor, 9 * curve.error)
    return fallen > floor or had_fallen or _validation_fell(view)


def _validation_fell(view: View) -> bool:
    """Did the validation loss come down clearly? It has no noise of batches in it."""
    curve = view.validation
    if curve is None or len(curve) < 3:
        return False
    return curve.first - curve.last > max(0.05 * abs(curve.first), 4 * curve.error)


def weight_decay_too_strong(view: View) -> Suspicion | None:
    """The weights shrink to a part of what they were, and the loss does not come down for it; or
    the setting is out of all proportion, and what is trained on is not learnt either.
    """
    return _shrunk(view) or _strong_setting(view)


def _strong_setting(view: View) -> Suspicion | None:
    decay, lr, fit, curve = (
        view.number("weight_decay"),
        view.number("lr"),
        view.fit,
        view.validation,
    )
    if decay is None or lr is None or fit is None or curve is None or len(fit) < 8:
        return None
    name = str(view.log.settings.get("optimizer") or "").lower()
    is_apart = any(word in name for word in ("adamw", "lion", "muon", "lamb", "adafactor"))
    a_step = lr * decay
    is_weak = (a_step < SHRINKS) if is_apart else (decay < STRONG)
    if is_weak or (not name and a_step < SHRINKS):
        return None  # which of the two it is hangs on the optimizer
    left = fit.last / max(view.chance or fit.first, fit.first, 1e-12)
    if fit.last < 0.8 * curve.last or left < 0.03:
        return None
    what = f"{100 * a_step:.2g}% of a weight at every step" if is_apart else f"{number(decay)}"
    return Suspicion(
        "weight_decay_too_strong",
        float(fit.t[0]),
        0.65 if is_apart else 0.9,
        f"weight decay takes {what}, far more than is usual, and the loss stands at "
        f"{number(fit.last)} on what is trained on, {number(curve.last)} on other samples: it "
        "holds back what could be learnt",
        {"weight_decay": decay, "train": fit.last, "validation": curve.last},
    )


def _shrunk(view: View) -> Suspicion | None:
    """The weights lose much of the size they had, and the loss has risen since or never came down.

    Of 1,619 healthy runs none had less than 0.65 of it left.
    """
    size, curve = view.weights, view.main
    if view.validation is not None and len(view.validation) >= 8:
        curve = view.validation  # it has no noise of batches in it
    if size is None or curve is None or len(size) < 8 or len(curve) < 8:
        return None
    if blowup(view) > THROWN:
        return None  # weights that were thrown up come down again
    kept = size.v / np.maximum(np.maximum.accumulate(size.v), 1e-12)
    low = int(np.argmin(kept))
    high = int(np.argmax(size.v[: low + 1]))
    has_risen = curve.last > WORSE * curve.best + 2 * curve.error
    is_high = curve.first > 0 and curve.last > 0.5 * curve.first
    if kept[low] > SHRUNK or not (has_risen or is_high):
        return None
    since = high + int(np.flatnonzero(kept[high : low + 1] < 0.8)[0])
    decay = view.number("weight_decay")
    setting = "" if decay is None else f" (weight_decay is {number(decay)})"
    if has_risen:
        beside = f"the loss went from {number(curve.best)} to {number(curve.last)}"
    else:
        beside = f"the loss is {number(curve.last)}, and was {number(curve.first)} at first"
    return Suspicion(
        "weight_decay_too_strong",
        float(size.t[since]),
        0.88,
        f"the weights' norm fell from {number(size.v[high])} to {number(size.v[low])}{setting}, "
        f"and {beside}: they are made smaller faster than they learn",
        {"first_norm": size.v[high], "last_norm": size.v[low], "best": curve.best},
    )


def plateau(view: View) -> Suspicion | None:
    """The loss stands still for most of the run at much of its first value, the rate still high."""
    curve = view.main if view.is_over else None
    if curve is None or len(curve) < 24 or view.chance is None or curve.progress <= 0:
        return None  # where chance is not known, a loss that began well looks like it
    if view.log.unit == "step" and view.end < ENOUGH:
        return None  # a few dozen steps at a usual rate may not have moved it yet
    middle = float(np.median(curve.part(0.3, 0.45)))
    gained = middle - curve.last
    left = curve.last / max(view.chance, curve.first)
    if gained > max(4 * curve.error, 0.02 * curve.progress) or left < 0.6:
        return None
    if end_rate(view, curve) < 0.2 or tells_classes_apart(view):
        return None  # of the latter the inputs may tell no more
    spread = MAD * float(np.median(np.abs(curve.part(0.5, 1.0) - curve.last)))
    return Suspicion(
        "plateau",
        float(curve.t[int(0.3 * len(curve))]),
        0.3,
        f"the loss has stood at {number(curve.last)} (give or take {number(spread)}) for 60% of "
        f"the run, {100 * left:.0f}% of what it began with",
        {"level": curve.last, "first": curve.first},
    )


def batch_too_small(view: View) -> Suspicion | None:
    """One or two samples a step, and losses that tell next to nothing from step to step."""
    batch, curve = view.number("batch_size"), view.loss
    if batch is None or curve is None or len(curve.raw_v) < 24:
        return None
    samples = batch * (view.number("accumulate") or 1.0) * (view.number("world_size") or 1.0)
    late = curve.raw_v[len(curve.raw_v) // 2 :]
    level = float(np.mean(late))
    spread = float(np.std(late / max(level, 1e-12))) * view.num_averaged**0.5
    if samples > FEW_SAMPLES or spread < 0.6 or not np.isfinite(spread):
        return None
    return Suspicion(
        "batch_too_small",
        float(curve.raw_t[0]),
        0.92,
        f"a step sees {samples:.0f} sample{'s' if samples > 1 else ''}, and its loss lies "
        f"{number(level)} give or take {number(spread * level)}: such gradients are mostly noise",
        {"samples": samples, "spread": round(spread, 2)},
    )
