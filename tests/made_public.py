"""Logs of runs that never were, in shapes that public runs have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from made_logs import STEPS, evaluations, falling, log_of, noisy
from thalweg.record.foreign.log import Log

TEN = {"num_classes": 10}


def swings() -> Log:
    """Twenty rows that go up and down by a third of the loss, and end in a high."""
    rows = (9.0, 8.4, 8.9, 8.6, 8.3, 8.0, 7.4, 6.4, 5.5, 9.6, 9.9, 9.6, 9.4, 9.1, 5.1, 4.8)
    return log_of(loss=(np.arange(10.0, 200.0, 10.0), np.array([*rows, 8.5, 8.2, 8.0])))


def lowered_on_plateaus() -> Log:
    """Two hundred epochs; a tenth of the rate each time that nothing had got better for a while."""
    held = np.concatenate([np.linspace(1.0, 0.5, 9), [0.52, 0.51], np.linspace(0.46, 0.34, 38)])
    held = np.concatenate([held, [0.341, 0.342], np.full(149, 0.335)])
    rates = np.full(200, 0.1)
    for at in (11, 51, 150, 171):
        rates[at:] *= 0.1
    at = np.arange(1.0, 201.0)
    log = log_of(loss=(at, held - 0.02), validation_loss=(at, held), lr=(at, rates))
    log.unit = "epoch"
    return log


def of_hard_batches() -> Log:
    """Losses of single batches, of which one in some hundred is far harder."""
    noise = np.random.default_rng(3).standard_t(6, size=20 * STEPS)
    return log_of(loss=falling(1.5, 1.0, steps=20 * STEPS, pace=900.0) * np.exp(0.17 * noise))


def on_to_another_task() -> Log:
    """After two thirds the next task begins, whose steps take longer."""
    loss = falling(2.0, 0.002, pace=40.0)
    loss[400:] = falling(1.8, 0.003, steps=200, pace=20.0)
    seconds = np.where(np.arange(STEPS) < 400, 0.1, 0.6)
    return log_of(loss=loss, seconds=seconds, lr=np.full(STEPS, 1e-3))


def of_parts() -> Log:
    """A first loss far above that of a guess, which is the sum of several."""
    log = log_of(TEN, loss=noisy(falling(11.4, 0.9)))
    log.parts = ("semantic loss", "boundary loss")
    return log


def adapter() -> Log:
    """A language model with an adapter, whose loss hardly moves."""
    return log_of({"adapter": "lora"}, loss=noisy(falling(2.2, 2.19), 0.05))


def memorised(*, first: float) -> Log:
    """A validation loss alone, that comes down, turns and ends higher than it began."""
    at = np.arange(1.0, 61.0)
    held = first - 0.25 * (1 - np.exp(-at / 3)) + 0.4 * np.maximum(0.0, at - 8) / 52
    return log_of(validation_loss=(at, noisy(held, 0.004)))


def jump_of(factor: float) -> np.ndarray:
    """In three rows."""
    times = np.ones(STEPS)
    times[400:403] = factor
    return times


def bent() -> Log:
    """A loss of which much is left, on a curve that bends as that of hard data does."""
    at = np.arange(1.0, STEPS + 1)
    return log_of(loss=noisy(1.7 + 0.6 * np.exp(-at / 400), 0.01))


PUBLIC_HEALTHY: dict[str, Callable[[], Log]] = {
    "swings to the end": swings,
    "a rate that waits for plateaus": lowered_on_plateaus,
    "hard batches now and then": of_hard_batches,
    "a sum of losses": of_parts,
    "a curve that bends": bent,
    "one row above the others": lambda: log_of(loss=noisy(falling()) * jump_of(3.0)),
    "an adapter on what is known": adapter,
    "stopped early": lambda: log_of({"steps": 9000, "stopped_early": True}, loss=noisy(falling())),
}

PUBLIC_FAULTY: dict[str, tuple[Callable[[], Log], str]] = {
    "memorised, without a training loss": (lambda: memorised(first=1.1), "TW201"),
    "a validation loss alone that explodes": (
        lambda: log_of(validation_loss=evaluations(falling() + np.geomspace(1e-6, 60.0, STEPS))),
        "TW002",
    ),
}
