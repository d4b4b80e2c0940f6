"""How training and validation go together: memorised, not learnt, or learnt in odd batches."""

from __future__ import annotations

import numpy as np

from thalweg.health.curve import Curve
from thalweg.health.view import Suspicion, View, number
from thalweg.record.foreign.log import LOSS

SLIGHT, FAR = 0.1, 0.25
"""A validation loss that has risen by this share of its best is slightly, or clearly, past it."""

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
    share = excess / max(abs(best), 0.02 * curve.progress, 1e-12)
    if excess < 4 * jitter / max(1, len(curve) // 20) ** 0.5 or share < SLIGHT:
        return None
    holds = _metric_holds(view)
    if holds and share < FAR:
        return None
    after = curve.v[i:]
    if len(after) < 3 or float(np.mean(after[len(after) // 2 :] > best + 0.5 * excess)) < 0.8:
        return None
    falls = train is None or train.last < float(train.at(curve.t[i : i + 1])[0]) + train.error
    if not falls:
        return None
    says = (
        f"the validation loss was lowest at {view.name(curve.t[i])} ({number(best)}) and has risen "
        f"to {number(curve.last)} since"
    )
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


def _metric_holds(view: View) -> bool:
    """Is the validation accuracy (or r2) at the end as good as it ever was, near enough?"""
    for name in ("validation_accuracy", "validation_r2"):
        curve = Curve.of(view.log.get(name))
        if curve is not None and len(curve) >= 5:
            return float(curve.calm.max()) - curve.last < HELD
    return False


def label_noise(view: View) -> Suspicion | None:
    """The training loss falls and the validation loss never did: nothing carries over."""
    curve, train = view.validation, view.fit
    if curve is None or train is None or len(curve) < 5 or train.first <= 0:
        return None
    learnt = (curve.first - curve.best) / max(abs(curve.first), 1e-12)
    fitted = (train.first - train.last) / train.first
    if learnt > 0.05 or fitted < 0.25:
        return None
    return Suspicion(
        "label_noise",
        float(curve.t[0]),
        0.8,
        f"the training loss fell from {number(train.first)} to {number(train.last)}, and the "
        f"validation loss never below {number(curve.best)} (it began at {number(curve.first)}): "
        "what is learnt does not carry over to other samples",
        {"validation_best": curve.best, "train_last": train.last},
    )


def unshuffled(view: View) -> Suspicion | None:
    """Neighbouring batches resemble each other, as in a file that is sorted."""
    found = residuals(view)
    if found is None:
        return None
    rest, level = found
    alike = _autocorrelation(rest, 1)
    spread = float(np.std(rest)) / max(level, 1e-12)
    if alike < 0.5 or spread < 0.15:
        return None
    return Suspicion(
        "unshuffled",
        0.0,
        min(0.95, 0.6 + 0.5 * (alike - 0.5)),
        f"the losses of neighbouring steps go together (correlation {alike:.2f}, where shuffled "
        "batches have none), and they vary by "
        f"{100 * spread:.0f}% of the loss",
        {"correlation": round(alike, 3), "spread": round(spread, 3)},
    )


def repeated_batches(view: View) -> Suspicion | None:
    """The training loss repeats its ups and downs every so many steps."""
    found = residuals(view)
    if found is None:
        return None
    rest, _ = found
    longest = min(len(rest) // 4, 400)
    alike = [_autocorrelation(rest, lag) for lag in range(2, longest)]
    if not alike:
        return None
    lag = int(np.argmax(alike)) + 2
    twice = _autocorrelation(rest, 2 * lag) if 2 * lag < len(rest) // 2 else 0.0
    if max(alike) < 0.6 or twice < 0.4 or _autocorrelation(rest, 1) > 0.5:
        return None
    return Suspicion(
        "repeated_batches",
        0.0,
        min(0.95, 0.4 + 0.6 * max(alike)),
        f"the loss repeats its ups and downs every {lag} steps (correlation {max(alike):.2f}): the "
        "batches come in the same order again and again",
        {"period": lag, "correlation": round(max(alike), 3)},
    )


def residuals(view: View) -> tuple[np.ndarray, float] | None:
    """What the training loss of each step has beyond its trend, in the later part of the run, and
    the level there; None where the log has not every step.
    """
    series = view.log.get(LOSS)
    if series is None or len(series) < 120 or view.log.unit != "step":
        return None
    if np.median(np.diff(series.steps)) != 1 or not np.isfinite(series.values).all():
        return None
    values = series.values[len(series) // 4 :]
    half = 25
    kernel = np.ones(2 * half + 1)
    weight = np.convolve(np.ones(len(values)), kernel, mode="same")
    trend = np.convolve(values, kernel, mode="same") / weight
    return values - trend, float(np.median(np.abs(values)))


def _autocorrelation(rest: np.ndarray, lag: int) -> float:
    """The correlation of a series with itself so many points later; 0 for a constant."""
    one, other = rest[:-lag], rest[lag:]
    size = float(np.std(one) * np.std(other))
    return float(np.mean((one - one.mean()) * (other - other.mean())) / size) if size > 0 else 0.0


def class_imbalance(view: View) -> Suspicion | None:
    """Accuracy is fine and balanced accuracy is not: rare classes are never predicted."""
    whole = Curve.of(view.log.get("validation_accuracy"))
    each = Curve.of(view.log.get("validation_balanced_accuracy"))
    if whole is None or each is None or len(each) < 5:
        return None
    if whole.last - each.last < 0.25 or each.last > 0.65:
        return None
    return Suspicion(
        "class_imbalance",
        float(each.t[0]),
        0.85,
        f"accuracy is {100 * whole.last:.0f}%, the mean over the classes {100 * each.last:.0f}%: "
        "the rarer classes are hardly ever predicted",
        {"accuracy": whole.last, "balanced_accuracy": each.last},
    )


def forgetting(view: View) -> Suspicion | None:
    """The score on an earlier task falls while the new one is learnt."""
    curve = Curve.of(view.log.get("earlier_accuracy"))
    if curve is None or len(curve) < 3:
        return None
    lost = curve.first - curve.last
    if lost < max(0.05, 4 * curve.error):
        return None
    since = float(curve.t[np.flatnonzero(curve.v < curve.first - 0.5 * lost)[0]])
    return Suspicion(
        "forgetting",
        since,
        min(0.95, 0.7 + lost),
        f"accuracy on the earlier task fell from {100 * curve.first:.1f}% to "
        f"{100 * curve.last:.1f}%",
        {"first": curve.first, "last": curve.last},
    )
