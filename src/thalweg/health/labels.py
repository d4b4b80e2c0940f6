"""What labels do to losses: noise in them, none that counts, or one that is given away."""

from __future__ import annotations

import math

import numpy as np

from thalweg.health.curve import MAD, Curve
from thalweg.health.fitting import evenly, unsureness
from thalweg.health.rates import THROWN, blowup, rate_rose, update_ratio
from thalweg.health.scores import scores
from thalweg.health.view import Suspicion, View, number
from thalweg.record.foreign.log import LOSS, NORM

NOISIER = 1.3
"""The loss on training samples by that on others, both as an evaluation measures it. Of some 460
healthy classifiers the largest was 1.29, on a validation part of 30 samples.
"""

UNSURE = 0.95, 1.12
"""A loss by that of one who knows no more than how often the model is right. Healthy classifiers
lie about 0.55, those of two classes about 0.85; wrong labels make every sample equally unsure.
"""

TOLD_APART = 0.25
"""How much more often than a guess a model must be right, as a share of what a guess gets wrong,
before it is asked how sure it is.
"""

OVERSHOOT = 4.0
"""Other data lift the loss to its new level at once; a jump so far beyond it is a spike."""

STRAYS = 0.2
"""Of the rows beside a change of data, at most this share lies on the wrong side of it."""

FOLLOWS = 0.75
"""A validation loss that rises by this share of what the training loss does rises with it."""

OFTEN = 0.8
"""The share of the evaluations that may be better than what is called usual."""

LEARNT = 0.7
"""Training samples whose loss is below this share of that of others are known by heart."""

EARLY = 0.5
"""An evaluation is early where less than this share of what training gains was gained before."""

MUCH, SEEN = 0.25, 20
"""The share of a run, or evaluations, after which it is asked what carried over."""

NEAR_ZERO = 0.3
"""A loss that is often below this share of what it mostly is can come down to zero by itself."""

GIVEN = 0.0025
"""A validation loss below this share of chance is too good to be true."""


def label_noise(view: View) -> Suspicion | None:
    """What is learnt does not carry over, the data change at one step, or what fits the one part
    does not fit the other, or no sample better than the next.
    """
    return (
        _never_carried_over(view)
        or _data_changed(view)
        or _noisier_training(view)
        or _evenly_unsure(view)
    )


def _never_carried_over(view: View) -> Suspicion | None:
    """The training loss falls and the validation loss never did."""
    curve, train = view.validation, view.fit
    if curve is None or train is None or len(curve) < 5 or train.first <= 0:
        return None
    may_yet = not view.has_run(MUCH) and len(curve) < SEEN
    if may_yet or _is_often_right(view) or _is_evaluated_late(curve, train):
        return None
    learnt = view.fall_of(curve) / max(abs(curve.first), train.first, 1e-12)
    if view.chance is not None:
        learnt = 1 - curve.best / view.chance
    fitted = (train.first - train.last) / train.first
    if learnt > 0.05 or fitted < 0.1 or train.first - train.last < 8 * train.error:
        return None
    if curve.last < curve.first - 2 * curve.error and fitted < 0.25:
        return None
    if blowup(view) > THROWN or (view.chance is not None and train.first > 2 * view.chance):
        return None  # thrown about, not misled
    return Suspicion(
        "label_noise",
        float(curve.t[0]),
        0.85 if fitted > 0.25 else 0.75,
        f"the training loss fell from {number(train.first)} to {number(train.last)}, and the "
        f"validation loss never below {number(curve.best)} (it began at {number(curve.first)}): "
        "what is learnt does not carry over to other samples",
        {"validation_best": curve.best, "train_last": train.last},
    )


def _is_evaluated_late(curve: Curve, train: Curve) -> bool:
    """Was most learnt before the first evaluation, and what carries over perhaps with it?"""
    there = float(train.at(curve.t[:1])[0])
    return train.first - there > EARLY * (train.first - train.last) > 0


def _is_often_right(view: View) -> bool:
    """Is the accuracy on other samples clearly better than a guess, or has another score risen?"""
    if any(score.rose for score in scores(view) if score.name != "accuracy"):
        return True
    accuracy = Curve.of(view.log.get("validation_accuracy"))
    if accuracy is None:
        return False
    guess = math.exp(-view.chance) if view.chance is not None else 0.5
    # the best of many evaluations of few rows is above a guess by chance
    return float(np.quantile(accuracy.v, OFTEN)) > min(0.9, 1.5 * guess)


def _data_changed(view: View) -> Suspicion | None:
    """From one step to the next the loss stands at another level, and no update can have done it.

    A rate that is too high takes steps to do harm, and the gradient's norm grows with it.
    """
    curve = view.loss
    if curve is None or len(curve.raw_v) < 40:
        return None
    v, t = curve.raw_v, curve.raw_t
    is_dense = len(v) >= 100
    width = max(10 if is_dense else 6, len(v) // 20)
    i = _largest_rise(v, width)
    before, after = v[i - width : i], v[i : i + width]
    low, high = float(np.median(before)), float(np.median(after))
    spreads = [MAD * float(np.median(np.abs(part - np.median(part)))) for part in (before, after)]
    least = (4.0, 1.5) if is_dense else (6.0, 2.0)
    is_clear = high - low > max(least[0] * spreads[0], least[1] * spreads[1])
    is_sudden = float(np.median(v[i : i + 3])) > low + 0.7 * (high - low)
    stays = curve.last > low + 0.4 * (high - low)
    is_spike = float(v[i : i + 3].max()) > OVERSHOOT * high
    middle = (low + high) / 2
    # where both levels were there all along, some batches hold a rare class
    is_new = max((before > middle).mean(), (after < middle).mean()) <= STRAYS
    if not is_clear or high < 1.5 * low or not is_sudden or not stays or is_spike or not is_new:
        return None
    if rate_rose(view, float(t[i])) or _norm_exploded(view, float(t[i]), width):
        return None
    followed = followed_by_validation(view, float(t[i - 1]), high - low)
    if followed is None and not is_dense:
        return None  # within one row the weights may have broken just as well
    if followed is not None and followed > FOLLOWS:
        return None
    return Suspicion(
        "label_noise",
        float(t[i]),
        0.8,
        f"at {view.name(t[i])} the loss steps from {number(low)} to {number(high)} at once and "
        f"stays there{_as_before(view)}: other data, or other labels, came from there on",
        {"before": low, "after": high},
        severity=None if followed is not None else "warn",  # it may be the plan's next stage
    )


def followed_by_validation(view: View, step: float, rise: float) -> float | None:
    """How far the validation loss rose from a step on, as a share of what that of training did.

    Where the weights have broken it rises as far; where other data came to train on it keeps more
    of what was learnt. None: there are too few evaluations
    """
    curve = view.validation
    if curve is None:
        return None
    before, after = curve.raw_v[curve.raw_t <= step][-4:], curve.raw_v[curve.raw_t > step][1:6]
    if len(before) < 2 or len(after) < 3:
        return None
    return float(np.median(after) - np.median(before)) / max(rise, 1e-12)


def _as_before(view: View) -> str:
    """What was measured and did not change with it, in words."""
    known = [name for name, is_there in _MEASURED.items() if is_there(view)]
    return f", while the {' and the '.join(known)} stayed as before" if known else ""


_MEASURED = {
    "rate": lambda view: view.lr is not None,
    "gradient": lambda view: view.norm is not None,
}


def _largest_rise(v: np.ndarray, width: int) -> int:
    """The index at which the mean of the next so many values is furthest above that of the last."""
    sums = np.concatenate([[0.0], np.cumsum(np.minimum(v, np.quantile(v, 0.98)))])
    at = np.arange(width, len(v) - width + 1)
    rises = sums[at + width] - 2 * sums[at] + sums[at - width]
    return _edge(v, int(at[np.argmax(rises)]), width)


def _edge(v: np.ndarray, near: int, width: int) -> int:
    """The first index near another one that is above the middle of the levels at its sides."""
    low, high = max(width, near - width // 2), min(len(v) - width, near + width // 2)
    middle = (np.median(v[low - width : low]) + np.median(v[high : high + width])) / 2
    above = np.flatnonzero(v[low : high + 1] > middle)
    return low + int(above[0]) if len(above) else near


def _norm_exploded(view: View, step: float, width: int) -> bool:
    """Was the gradient's norm far out of its range in the steps before?"""
    series = view.log.get("gradient_norm")
    if series is None:
        return False
    usual = series.values[(series.steps >= step - 2 * width) & (series.steps < step - 3)]
    near = series.values[(series.steps >= step - 3) & (series.steps < step)]
    return len(usual) > 5 and len(near) > 0 and bool(near.max() > 10 * np.median(usual))


def _noisier_training(view: View) -> Suspicion | None:
    """A classifier is worse on what it was trained on than on what it never saw."""
    curve, train = view.validation, view.alike
    accuracy = Curve.of(view.log.get("validation_accuracy"))
    if curve is None or train is None or accuracy is None or len(curve) < 8:
        return None
    is_small = grain(accuracy) > 0.01 or float(accuracy.v.max()) >= 1.0
    if is_small or train.last < NOISIER * curve.last or train.last < 0.2 * _top(view, curve):
        return None
    return Suspicion(
        "label_noise",
        float(train.t[0]),
        0.9,
        f"the loss is {number(train.last)} on samples that were trained on and "
        f"{number(curve.last)} on others, both measured alike: the labels of the training part "
        "are the noisier ones",
        {"train": train.last, "validation": curve.last},
    )


def grain(accuracy: Curve) -> float:
    """The smallest step between two of its values: 1 / samples, or more; 1 for a constant."""
    steps = np.diff(np.unique(accuracy.raw_v))
    return float(steps[steps > 1e-9].min(initial=1.0))


def _top(view: View, curve: Curve) -> float:
    """The loss of one who knows nothing, as far as that is known."""
    return view.chance if view.chance is not None else curve.first


def _evenly_unsure(view: View) -> Suspicion | None:
    """At its best the model is as unsure of each sample as it is right on the whole: where labels
    are sound, some samples are easy.
    """
    curve, chance, found = view.validation, view.chance, unsureness(view)
    if curve is None or chance is None or found is None:
        return None
    unsure, right, classes = found
    best, low = curve.best, 0.45 if classes == 2 else 0.25
    if not UNSURE[0] <= unsure <= UNSURE[1] or not low * chance < best < 0.93 * chance:
        return None
    if right - 1 / classes < TOLD_APART * (1 - 1 / classes):
        return None  # where little can be told from the inputs no sample is easy
    still = float(np.median(curve.part(0.7, 0.8))) - curve.last
    ratio, fit = update_ratio(view), view.fit
    if fit is not None and float(fit.at(curve.t[[curve.best_at]])[0]) < LEARNT * best:
        return None  # learnt by heart before it was that good
    if still > 0.06 * view.fall_of(curve) or (ratio is not None and ratio < 5e-4):
        return None  # on its way: sureness comes after being right
    return Suspicion(
        "label_noise",
        float(curve.t[0]),
        0.42,
        f"at its best the validation loss is {number(best)} with {100 * right:.0f}% right: "
        f"{100 * unsure:.0f}% of what it would be if every sample were equally unsure "
        f"({number(evenly(right, classes))}), where sound labels leave some that are easy",
        {"best": best, "accuracy": right, "unsure": round(unsure, 3)},
        severity="warn",
    )


def all_masked(view: View) -> Suspicion | None:
    """The training loss, or its gradient, is exactly zero in some steps, and as ever in those
    around them.
    """
    return _zeros(view, LOSS, "the loss") or _zeros(view, NORM, "the gradient's norm")


def _zeros(view: View, role: str, name: str) -> Suspicion | None:
    series = view.log.get(role)
    if series is None or len(series) < 24:
        return None
    values = series.values
    is_zero = values == 0.0
    share, at = float(is_zero.mean()), np.flatnonzero(is_zero)
    others = np.flatnonzero(~is_zero & np.isfinite(values))
    if not 0.01 <= share < 0.95 or len(others) < 8:
        return None
    level = float(np.median(values[others]))
    after = np.searchsorted(others, at)
    around = values[others][np.clip(np.stack([after - 1, after]), 0, len(others) - 1)].min(0)
    if level <= 0 or np.quantile(around, 0.1) < 0.05 * level or is_zero[-8:].all():
        return None  # it has come down to zero, which some losses can
    is_known = view.chance is not None
    if not is_known and np.quantile(values[others], 0.05) < NEAR_ZERO * level:
        return None  # other rows come near it, as those of a margin loss do
    return Suspicion(
        "all_masked",
        float(series.steps[at[0]]),
        0.88 if is_known else 0.55,
        f"{name} is exactly 0 in {100 * share:.0f}% of the rows and about {number(level)} in "
        "those around them: no label counted there, or it is a loss that can be 0",
        {"share": round(share, 4), "others": level},
        severity="act" if is_known else "warn",
    )


def leakage(view: View) -> Suspicion | None:
    """The validation loss is next to nothing of what chance gives."""
    curve, chance = view.validation, view.chance
    if curve is None or chance is None or len(curve) < 5 or curve.last > GIVEN * chance:
        return None
    accuracy = Curve.of(view.log.get("validation_accuracy"))
    if accuracy is not None and 0.01 < grain(accuracy) < 1.0:
        return None  # a few samples may all be easy
    return Suspicion(
        "leakage",
        float(curve.t[np.flatnonzero(curve.v < GIVEN * chance)[0]]),
        0.75,
        f"the validation loss came down to {number(curve.last)}, {100 * curve.last / chance:.2g}% "
        f"of chance ({number(chance)}): hardly any real task is that easy; does an input hold the "
        "answer, or do validation rows stand in the training part?",
        {"last": curve.last, "chance": chance},
        severity="warn",
    )
