"""Logs of runs that never were, as tools write them: few rows, means, columns that are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from made_logs import STEPS, evaluations, falling, log_of, noisy
from made_more import classifier
from thalweg.record.foreign.log import Log

TENTH = np.arange(10.0, STEPS + 1, 10.0)
FIFTIETH = np.arange(50.0, STEPS + 1, 50.0)


def each_tenth(loss: np.ndarray, **more: Any) -> Log:
    """A row every ten steps: the value of that step."""
    return log_of(loss=(TENTH, loss[9::10]), **more)


def tuned_on() -> Log:
    """A small loss that hardly moves, of how many classes nobody says; most is right."""
    at, accuracy = evaluations(np.full(STEPS, 0.95), above=0.0)
    held = evaluations(np.full(STEPS, 0.12), above=0.0)
    loss = noisy(np.full(STEPS, 0.12), 0.3)
    return log_of(loss=loss, validation_loss=held, validation_accuracy=(at, accuracy))


def restless_and_small() -> Log:
    """Batches of a tuned model differ by a factor of ten, to the end; the first was an easy one."""
    loss = 0.05 * np.exp(0.8 * np.random.default_rng(3).normal(size=STEPS))
    loss[0] = 0.02
    return log_of(loss=loss)


def calm_by_chance() -> Log:
    """Single losses of a noisy run, a dozen of which happen to be alike before a large one."""
    values = 0.03 * np.exp(0.4 * np.random.default_rng(4).normal(size=60))
    values[:12] = np.linspace(0.5, 0.05, 12)
    values[40:52] = 0.03 + 0.001 * np.arange(12)
    values[52] = 0.14
    return log_of(loss=(TENTH, values))


def planned(every: int, end: int, steps: int) -> Log:
    """A row every so many steps, the last at `end` of those that were planned."""
    at = np.arange(every, end + 1.0, every)
    return log_of({"steps": steps}, loss=(at, 2.0 * np.exp(-at / 200.0)))


def long_jump(steps: int, *, every: int = 1) -> Log:
    """Ten thousand steps, and a loss that is more than twice as high for so many of them."""
    at = np.arange(every, 10_001.0, every)
    loss = 2.5 + 6 * np.exp(-at / 700) + 0.05 * np.random.default_rng(0).normal(size=len(at))
    return log_of(loss=(at, loss + 4.0 * ((at > 6000) & (at <= 6000 + steps))))


def two_bad_batches() -> Log:
    """In a noisy loss: no more robust deviations than noise has, but above all that was before."""
    loss = falling(2.3, 0.1) * np.exp(0.6 * np.random.default_rng(5).normal(size=STEPS))
    loss[[250, 410]] = 9.0
    return log_of(loss=loss)


def stepped(level: float, held: float) -> Log:
    """From half of the run on the losses stand at these levels, from one row to the next."""
    is_late = np.arange(STEPS) >= 300
    loss = noisy(np.where(is_late, level, falling()), 0.05)
    other = np.where(is_late, held, falling())
    return each_tenth(loss, validation_loss=evaluations(other))


def few_rows(level: float) -> Log:
    """Ten rows of a loss, and evaluations that tell more."""
    held = evaluations(noisy(np.full(STEPS, level), 0.01))
    return log_of(loss=(FIFTIETH[:10], np.full(10, level)), validation_loss=held)


def without_gradient() -> Log:
    """The gradient is exactly 0 in a fifth of the rows, the loss is as ever."""
    norm = np.abs(noisy(np.ones(STEPS), 0.3))
    norm[np.random.default_rng(6).random(STEPS) < 0.2] = 0.0
    return log_of(loss=noisy(falling()), gradient_norm=norm)


def averaged(batch_size: int) -> Log:
    """What a Trainer writes: means of ten steps, of batches so small that each is a guess."""
    single = falling(2.3, 0.5) * np.random.default_rng(7).exponential(size=STEPS)
    means = single.reshape(-1, 10).mean(1)
    settings = {"batch_size": batch_size, "log_every": 10}
    log = log_of(settings, loss=(TENTH, means))
    log.tool = "huggingface"
    return log


def begun_before() -> Log:
    """Means of fifty steps, of which the first hides most of the fall; then a slow one."""
    falls = (0.0, 0.085, 0.08, 0.12, 0.127, 0.113, 0.132, 0.145, 0.135, 0.151, 0.141, 0.181)
    return log_of(loss=(FIFTIETH, 0.538 - np.array(falls)))


def settled(settings: Mapping[str, Any]) -> Log:
    return classifier({"num_classes": 10, **settings})


SPARSE_HEALTHY: dict[str, Callable[[], Log]] = {
    "tuned further, classes unknown": tuned_on,
    "small and restless": restless_and_small,
    "alike by chance": calm_by_chance,
    "a row every 50 steps of 340": lambda: planned(50, 300, 340),
    "decay of an optimizer without a name": lambda: settled({"lr": 3e-3, "weight_decay": 0.2}),
    "means of usual batches": lambda: averaged(32),
    "most of the fall before the first row": begun_before,
    "every tenth step": lambda: each_tenth(
        noisy(falling()), validation_loss=evaluations(falling())
    ),
    "a warm-up, then level": lambda: log_of(
        {"steps": STEPS}, loss=noisy(falling()), lr=np.minimum(1.0, np.arange(1, 601) / 60.0)
    ),
}

SPARSE_FAULTY: dict[str, tuple[Callable[[], Log], str]] = {
    "a jump of 800 steps": (lambda: long_jump(800), "TW003"),
    "a jump of 2,000 steps, each tenth": (lambda: long_jump(2000, every=10), "TW003"),
    "bad batches in a noisy loss": (two_bad_batches, "TW003"),
    "other data between two rows": (lambda: stepped(1.5, 0.8), "TW203"),
    "all is lost between two rows": (lambda: stepped(2.3, 2.3), "TW104"),
    "a few rows at one level": (lambda: few_rows(2.3), "TW104"),
    "no gradient now and then": (without_gradient, "TW310"),
    "means of single samples": (lambda: averaged(1), "TW107"),
    "a warm-up without an end": (
        lambda: log_of({"steps": STEPS}, loss=noisy(falling()), lr=np.arange(1, 601) / 1e4),
        "TW105",
    ),
}
