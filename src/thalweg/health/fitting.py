"""How training and validation go together: memorised, forgotten, or learnt in odd batches."""

from __future__ import annotations

import math

import numpy as np

from thalweg.health.curve import MAD, Curve
from thalweg.health.scores import scores
from thalweg.health.view import Suspicion, View, number
from thalweg.record.foreign.log import LOSS

SLIGHT, FAR = 0.1, 0.25
"""A validation loss that has risen by this share of its best is slightly, or clearly, past it."""

FORGOT = 0.1
"""An accuracy that is lower by so much than it was has been lost."""

NEAR = 0.05
"""Where the best is below this share of the whole fall, a rise is measured by that instead."""

GAP = 0.9
"""Training samples whose loss is at least this share of that of others are not memorised."""

HELD = 0.015
"""An accuracy within so much of its best has held, whatever the loss does."""


def overfitting(view: View) -> Suspicion | None:
    """The validation loss rises again while the training loss goes on falling."""
    curve, train = view.validation, view.fit
    if curve is None or len(curve) < 5:
        return None
    i = curve.best_at
    best = float(curve.calm[i])
    excess = curve.last - best
    jitter = max(curve.error, 1e-12)
    share = excess / max(abs(best), NEAR * view.fall_of(curve), 1e-12)
    if excess < 4 * jitter / max(1, len(curve) // 20) ** 0.5 or share < SLIGHT:
        return None
    holds = _metric_holds(view)
    if holds and share < FAR:
        return None
    after = curve.v[i:]
    if len(after) < 3 or float(np.mean(after[len(after) // 2 :] > best + 0.3 * excess)) < 0.8:
        return None
    if not _is_learnt_better(view, curve):
        return None
    says = (
        f"the validation loss was lowest at {view.name(curve.t[i])} ({number(best)}) and has risen "
        f"to {number(curve.last)} since"
    )
    if train is not None and not _falls_after(train, float(curve.t[i])) and view.loss is not None:
        train = view.loss
    if train is not None:
        says += f", while the training loss went on to {number(train.last)}"
    return Suspicion(
        "overfitting",
        float(curve.t[i]),
        min(0.97, 0.75 + 0.2 * share),
        says,
        {"best": best, "best_step": float(curve.t[i]), "last": curve.last},
        severity="warn" if holds or share < FAR else "act",
    )


def _is_learnt_better(view: View, curve: Curve) -> bool:
    """Does the model get better, since the validation loss was best, at what it is trained on?"""
    fit, step = view.fit, float(curve.t[curve.best_at])
    known = [each for each in (fit, view.loss) if each is not None]
    if known and not any(_falls_after(each, step) and view.is_no_guess(each) for each in known):
        return False
    return view.alike is None or view.alike.last < GAP * curve.last


def _falls_after(curve: Curve, step: float) -> bool:
    """Is it at the end no higher than it was at a step?"""
    return curve.last < float(curve.at(np.array([step]))[0]) + curve.error


def _metric_holds(view: View) -> bool:
    """Is the score on other samples at the end as good as it ever was, near enough?"""
    return next((score.lost < HELD for score in scores(view)), False)


def underfitting(view: View) -> Suspicion | None:
    """A classifier learns what it is trained on as badly as the rest, and gets no further."""
    curve, fit, chance, found = view.validation, view.alike, view.chance, unsureness(view)
    if curve is None or fit is None or chance is None or found is None:
        return None
    if not view.is_over:
        return None
    unsure, right, classes = found
    still = float(np.median(curve.part(0.7, 0.8))) - curve.last
    is_done = still < 0.02 * view.fall_of(curve)
    is_alike = GAP * curve.last < fit.last < 1.25 * curve.last
    is_bad = HIGH * chance < curve.best < 0.93 * chance and unsure > UNSURE
    if not (is_done and is_alike and is_bad) or not LEAST_CLASSES < classes <= MOST_CLASSES:
        return None
    return Suspicion(
        "underfitting",
        float(curve.t[0]),
        0.2,
        f"the loss stands at {number(fit.last)} on what is trained on and at {number(curve.last)} "
        f"on other samples, {100 * curve.last / chance:.0f}% of chance, with {100 * right:.0f}% "
        "right: what is given to the model, or the model itself, says too little",
        {"train": fit.last, "validation": curve.last, "chance": chance, "accuracy": right},
    )


HIGH, UNSURE, LEAST_CLASSES, MOST_CLASSES = 0.38, 0.68, 4, 32
"""A validation loss above this share of chance, of one that is about as unsure of each sample as of
the next, for a number of classes between: the symbols of a language are unsure by nature, and where
there are three classes what is given often tells no more.
"""


def unsureness(view: View) -> tuple[float, float, int] | None:
    """The best validation loss by that of one who is right as often and equally unsure of every
    sample; how often that is; of how many classes. None: not known, or labels are smoothed
    """
    curve, chance = view.validation, view.chance
    accuracy = Curve.of(view.log.get("validation_accuracy"))
    if curve is None or chance is None or accuracy is None or len(curve) < 8:
        return None
    if view.number("label_smoothing"):
        return None  # it lifts the loss, of validation too as most tools measure it
    classes = round(math.exp(chance))
    right = float(accuracy.at(curve.t[[curve.best_at]])[0])
    return curve.best / evenly(right, classes), right, classes


def evenly(right: float, classes: int) -> float:
    """The cross-entropy of one who is right so often, equally sure each time, and knows nothing of
    the classes that are not it.

    >>> round(evenly(0.9, 10), 3)
    0.545
    """
    right = min(max(right, 1 / classes), 1 - 1e-4)
    wrong = 1 - right
    return -right * math.log(right) - wrong * math.log(wrong / (classes - 1))


def unshuffled(view: View) -> Suspicion | None:
    """Neighbouring batches resemble each other, as in a file that is sorted; or each epoch has the
    order of the one before.
    """
    found = residuals(view)
    if found is None:
        return None
    rest, spread = found
    alike, period = _autocorrelation(rest, 1), _period(view, rest)
    if period is not None and _is_epoch(view, period[0]):
        return Suspicion(
            "unshuffled",
            0.0,
            min(0.85, 0.5 + 0.4 * period[1]),
            f"the loss repeats its ups and downs every {period[0]} steps (correlation "
            f"{period[1]:.2f}): the batches come in the same order again and again",
            {"period": period[0], "correlation": round(period[1], 3)},
        )
    if alike < 0.45 or spread < 0.15 or _autocorrelation(rest, 2) < 0.2:
        return None
    return Suspicion(
        "unshuffled",
        0.0,
        0.25,
        f"the losses of neighbouring steps go together (correlation {alike:.2f}, where shuffled "
        "batches have none), and they vary by "
        f"{100 * spread:.0f}% of the loss",
        {"correlation": round(alike, 3), "spread": round(spread, 3)},
    )


def repeated_batches(view: View) -> Suspicion | None:
    """The training loss repeats its ups and downs every few steps."""
    found = residuals(view)
    period = _period(view, found[0]) if found is not None and found[1] > 0.01 else None
    if period is None or _is_epoch(view, period[0]):
        return None
    return Suspicion(
        "repeated_batches",
        0.0,
        min(0.95, 0.5 + 0.5 * period[1]),
        f"the loss repeats its ups and downs every {period[0]} steps (correlation "
        f"{period[1]:.2f}): the same few batches are handed out again and again",
        {"period": period[0], "correlation": round(period[1], 3)},
    )


def _period(view: View, rest: np.ndarray) -> tuple[int, float] | None:
    """After how many steps the losses come again, and their correlation; None: they do not."""
    most = FAR_OUT * MAD * float(np.median(np.abs(rest)))
    rest = np.clip(rest, -most, most) if most > 0 else rest
    return _shortest(rest) or _epoch_again(view, rest)


def _epoch_again(view: View, rest: np.ndarray) -> tuple[int, float] | None:
    """Do they come again after an epoch, which may be longer than what is searched?"""
    epoch = _steps_per_epoch(view)
    if epoch is None or not FEW_BATCHES < epoch < 0.7 * len(rest):
        return None
    alike = _autocorrelation(rest, epoch)
    return (epoch, alike) if alike > max(0.4, BY_CHANCE / (len(rest) - epoch) ** 0.5) else None


def _shortest(rest: np.ndarray) -> tuple[int, float] | None:
    """The shortest number of steps after which they come again, of not too many."""
    longest = min(int(0.45 * len(rest)), 400)
    alike = np.array([_autocorrelation(rest, lag) for lag in range(2, longest)])
    if not len(alike) or alike.max() < 0.4:
        return None
    if _autocorrelation(rest, 1) > min(0.5, float(alike.max())):
        return None  # a slow drift, no order
    lag = int(np.flatnonzero(alike > 0.85 * alike.max())[0]) + 2
    best, twice = float(alike[lag - 2]), 2 * lag
    if best < BY_CHANCE / (len(rest) - lag) ** 0.5:
        return None
    if twice < 0.7 * len(rest):
        return (lag, best) if _autocorrelation(rest, twice) > 0.3 else None
    return (lag, best) if best > 0.6 else None


def _is_epoch(view: View, period: int) -> bool:
    """Is it as long as an epoch, where that is known, or as one may be?"""
    epoch = _steps_per_epoch(view)
    return period > (FEW_BATCHES if epoch is None else 0.75 * epoch)


def _steps_per_epoch(view: View) -> int | None:
    """From the settings, where they tell both."""
    steps, epochs = view.number("steps"), view.number("epochs")
    return round(steps / epochs) if steps and epochs else None


BY_CHANCE = 5.5
"""Standard errors of a correlation that none of many lags reaches by chance."""

FEW_BATCHES = 10
"""A period of so many steps is no epoch."""

EVERY = 0.98
"""The share of rows that are of the step after the row before, in a log of every step."""

MOST = 20_000
"""Steps whose order is looked at, the last ones."""

FAR_OUT = 5.0
"""Robust deviations beyond which a step's loss counts as so far out, and no more: else two spikes
would be an order that comes again.
"""

HALF = 10
"""Neighbours at each side that make a trend."""


def residuals(view: View) -> tuple[np.ndarray, float] | None:
    """How far the training loss of each step lies from its trend, as a share of it, in the later
    part of the run, and the spread of that; None where the log has not every step.
    """
    series = view.log.get(LOSS)
    if series is None or len(series) < 120 or view.log.unit != "step":
        return None
    is_next = np.diff(series.steps) == 1
    if is_next.mean() < EVERY or not np.isfinite(series.values).all():
        return None  # every step of the beginning and later one in hundreds: no neighbours
    values = series.values[len(series) // 4 :][-MOST:]
    kernel = np.ones(2 * HALF + 1)
    weight = np.convolve(np.ones(len(values)), kernel, mode="same")
    trend = np.convolve(values, kernel, mode="same") / weight
    if np.abs(trend).min() < 1e-12 or np.abs(trend).max() > 1e30:
        return None
    rest = np.clip((values - trend) / np.abs(trend), -3.0, 3.0)
    return rest, float(np.std(rest))


def _autocorrelation(rest: np.ndarray, lag: int) -> float:
    """The correlation of a series with itself so many points later; 0 for a constant."""
    one, other = rest[:-lag], rest[lag:]
    size = float(np.std(one) * np.std(other))
    return float(np.mean((one - one.mean()) * (other - other.mean())) / size) if size > 0 else 0.0


RARE_LATE = 0.5
"""The share of a run before which rare classes are often not learnt yet."""


def class_imbalance(view: View) -> Suspicion | None:
    """Accuracy is fine and balanced accuracy is not: rare classes are never predicted."""
    whole = Curve.of(view.log.get("validation_accuracy"))
    each = Curve.of(view.log.get("validation_balanced_accuracy"))
    if whole is None or each is None or len(each) < 5:
        return None
    if whole.last - each.last < 0.25 or each.last > 0.65 or not view.has_run(RARE_LATE):
        return None
    return Suspicion(
        "class_imbalance",
        float(each.t[0]),
        0.65,
        f"accuracy is {100 * whole.last:.0f}%, the mean over the classes {100 * each.last:.0f}%: "
        "the rarer classes are hardly ever predicted",
        {"accuracy": whole.last, "balanced_accuracy": each.last},
    )


def forgetting(view: View) -> Suspicion | None:
    """The score on an earlier task falls while the new one is learnt."""
    worst: tuple[float, str, Curve] | None = None
    for name, series in view.log.series.items():
        curve = Curve.of(series) if is_of_other_part(name) else None
        if curve is None or len(curve) < 3:
            continue
        lost = curve.first - curve.last
        if lost > max(FORGOT, 4 * curve.error) and (worst is None or lost > worst[0]):
            worst = lost, name, curve
    if worst is None:
        return None
    lost, name, curve = worst
    since = float(curve.t[np.flatnonzero(curve.v < curve.first - 0.5 * lost)[0]])
    return Suspicion(
        "forgetting",
        since,
        min(0.95, 0.7 + lost),
        f"accuracy on the earlier task ({name}) fell from {100 * curve.first:.1f}% to "
        f"{100 * curve.last:.1f}%",
        {"first": curve.first, "last": curve.last, "series": name},
    )


def is_of_other_part(name: str) -> bool:
    """An accuracy on samples that are not trained on now."""
    return name == "earlier_accuracy" or name.startswith("validation_accuracy:")
