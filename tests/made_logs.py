"""Logs of runs that never were: curves of the shapes that healthy and faulty runs have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from thalweg.record.foreign.log import Log, Series

STEPS = 600


def log_of(settings: Mapping[str, Any] | None = None, **columns: Any) -> Log:
    """Columns by role: arrays, one value a step; or (steps, values)."""
    log = Log("made", "csv", settings=settings or {}, rows=STEPS)
    for name, column in columns.items():
        is_pair = isinstance(column, tuple)
        steps, values = column if is_pair else (np.arange(1.0, len(column) + 1), column)
        log.series[name] = Series(name, np.asarray(steps, float), np.asarray(values, float))
    return log


def falling(
    first: float = 2.3, last: float = 0.3, *, steps: int = STEPS, pace: float = 60.0
) -> np.ndarray:
    """An exponential fall to a floor."""
    return last + (first - last) * np.exp(-np.arange(steps) / pace)


def noisy(curve: np.ndarray, share: float = 0.08, seed: int = 0) -> np.ndarray:
    """With noise in proportion."""
    return curve * (1 + share * np.random.default_rng(seed).normal(size=len(curve)))


def evaluations(curve: np.ndarray, *, every: int = 15, above: float = 0.05) -> Any:
    """(steps, values) of a validation loss a little above the curve."""
    at = np.arange(every - 1, len(curve), every)
    values = curve[at] + above + 0.003 * np.random.default_rng(1).normal(size=len(at))
    return at + 1.0, values


def cosine(lr: float = 0.1, *, steps: int = STEPS) -> np.ndarray:
    return lr * 0.5 * (1 + np.cos(math.pi * np.arange(steps) / steps))


def cycles(lr: float = 0.1, *, count: int = 4) -> np.ndarray:
    return np.concatenate([cosine(lr, steps=STEPS // count)] * count)


def waiting() -> np.ndarray:
    """Seconds of steps, of which in the last half each tenth waits for something; in no part of
    the run do they take twice the usual time on average.
    """
    seconds = np.full(STEPS, 0.01)
    seconds[: STEPS // 10] = 0.008
    seconds[STEPS // 2 :: 10] = 0.109
    return seconds


def plain(**more: Any) -> Log:
    curve = falling()
    return log_of(
        **{
            "loss": noisy(curve),
            "validation_loss": evaluations(curve),
            "gradient_norm": noisy(1 + 0 * curve, 0.2, seed=2),
            "lr": cosine(),
            **more,
        }
    )


def restarts() -> Log:
    """A loss that rises at each restart of a cyclic rate and falls below itself again."""
    lr = cycles()
    curve = falling() + 2.0 * lr * np.linspace(1.0, 0.6, STEPS)
    return log_of(loss=noisy(curve), validation_loss=evaluations(curve), lr=lr)


def late_insight() -> Log:
    """A plateau at chance, then a fall."""
    x = np.arange(STEPS)
    curve = 0.2 + 2.1 / (1 + np.exp((x - 300) / 20))
    return log_of(loss=noisy(curve, 0.03), validation_loss=evaluations(curve))


def near_zero() -> Log:
    curve = 2.3 * np.exp(-np.arange(STEPS) / 40) + 1e-4
    ragged = curve * np.exp(0.8 * np.random.default_rng(3).normal(size=STEPS))
    return log_of(loss=ragged, validation_loss=evaluations(curve, above=0.08))


def dropout() -> Log:
    """A training loss above that of validation, and noise."""
    curve = falling(last=0.8)
    return log_of(loss=noisy(curve, 0.2), validation_loss=evaluations(falling(last=0.4)))


def tiny_validation() -> Log:
    curve = falling()
    at, values = evaluations(curve)
    ragged = values * (1 + 0.05 * np.random.default_rng(4).normal(size=len(values)))
    return log_of(loss=noisy(curve), validation_loss=(at, ragged))


HEALTHY: dict[str, Callable[[], Log]] = {
    "plain": plain,
    "a training loss alone": lambda: log_of(loss=noisy(falling())),
    "a validation loss alone": lambda: log_of(validation_loss=evaluations(falling())),
    "restarts of a cyclic rate": restarts,
    "a plateau, then progress": late_insight,
    "near zero": near_zero,
    "heavy dropout": dropout,
    "a tiny validation set": tiny_validation,
    "still improving": lambda: plain(
        loss=noisy(falling(pace=300)), validation_loss=evaluations(falling(pace=300))
    ),
    "a language model's": lambda: log_of(
        loss=noisy(2.0 + 6.0 * (1 + np.arange(STEPS)) ** -0.35, 0.01), lr=cosine(3e-4)
    ),
    "a loss below zero": lambda: log_of(loss=falling() - 3.0),
    "a norm that grows a little": lambda: plain(gradient_norm=np.linspace(0.5, 3.0, STEPS)),
    "a loss scale that breathes": lambda: plain(
        loss_scale=2.0 ** (15 + np.arange(STEPS) // 100 % 3)
    ),
}


def broken(at: int = 300, value: float = math.nan) -> Log:
    loss = noisy(falling())
    loss[at:] = value
    return log_of(loss=loss)


def diverging() -> Log:
    x = np.arange(STEPS)
    curve = falling() + np.where(x > 300, 3.0 * (1 - np.exp(-(x - 300) / 40.0)), 0.0)
    return log_of(loss=noisy(curve))


def spiky() -> Log:
    loss = noisy(falling())
    loss[[250, 400]] *= 8.0
    return log_of(loss=loss)


def memorising() -> Log:
    x = np.arange(STEPS)
    validation = falling(last=0.6) + np.where(x > 150, (x - 150) / 400.0, 0.0)
    return log_of(loss=noisy(falling(last=0.01)), validation_loss=evaluations(validation))


def exploding() -> Log:
    x = np.arange(STEPS)
    norm = np.where(x > 300, np.exp((x - 300) / 40.0), 1.0)
    return log_of(loss=diverging().series["loss"].values, gradient_norm=noisy(norm, 0.2))


def sorted_batches() -> Log:
    x = np.arange(STEPS)
    curve = falling(last=0.8) * (1 + 0.7 * np.sign(np.sin(x / 6.0)))
    return log_of(loss=noisy(curve), validation_loss=evaluations(falling(last=1.5)))


def same_batches() -> Log:
    pattern = np.random.default_rng(5).uniform(0.4, 1.6, size=7)
    curve = falling(last=0.5) * np.resize(pattern, STEPS)
    return log_of(loss=noisy(curve, 0.02))


FAULTY: dict[str, tuple[Callable[[], Log], str]] = {
    "NaN to the end": (broken, "TW001"),
    "infinity to the end": (lambda: broken(value=math.inf), "TW001"),
    "NaN from the first": (lambda: broken(at=0), "TW001"),
    "divergence": (diverging, "TW002"),
    "worse from the start": (lambda: log_of(loss=noisy(np.linspace(2.3, 40, STEPS))), "TW002"),
    "spikes": (spiky, "TW003"),
    "an exploding gradient": (exploding, "TW004"),
    "a straight line": (lambda: log_of(loss=noisy(np.linspace(2.3, 1.9, STEPS), 0.02)), "TW102"),
    "chance": (
        lambda: log_of({"num_classes": 10}, loss=noisy(np.full(STEPS, math.log(10)), 0.02)),
        "TW104",
    ),
    "memorised": (memorising, "TW201"),
    "sorted batches": (sorted_batches, "TW206"),
    "the same batches": (same_batches, "TW207"),
    "dead": (lambda: plain(**{"dead:relu1": np.linspace(0.2, 1.0, 30)}), "TW301"),
    "cut short": (lambda: plain_of({"steps": 5 * STEPS}), "TW403"),
    "slow": (lambda: plain(seconds=np.repeat([0.01, 0.05], STEPS // 2)), "TW404"),
    "each tenth step waits": (lambda: plain(seconds=waiting()), "TW404"),
    "overflow": (lambda: plain(loss_scale=2.0 ** -np.arange(30.0)), "TW402"),
}


def plain_of(settings: Mapping[str, Any]) -> Log:
    log = plain()
    log.settings = settings
    return log
