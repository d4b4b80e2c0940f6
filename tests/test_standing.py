"""Losses that hardly move: by steps that are too short, or because nothing is learnt."""

from __future__ import annotations

import math

import numpy as np
import pytest

from made_logs import STEPS, log_of, noisy
from thalweg.health.diagnosis import diagnose, so_far
from thalweg.record.foreign.log import Log

AT = np.arange(15.0, STEPS + 1, 15.0)


def beside(validation: np.ndarray, train: float = 2.3) -> Log:
    """A noisy training loss that stands, and a validation loss at 40 evaluations."""
    return log_of(loss=noisy(np.full(STEPS, train), 0.05), validation_loss=(AT, validation))


def told(log: Log) -> list[str]:
    return [each.code for each in diagnose(log).findings]


def test_a_loss_that_falls_a_little_at_every_evaluation_has_a_rate_that_is_too_low():
    verdict = diagnose(beside(np.linspace(2.31, 2.28, len(AT))))
    (finding,) = verdict.findings
    assert finding.code == "TW102"
    assert "at 39 of 39 evaluations" in str(finding.evidence["says"])


def test_a_loss_that_goes_up_and_down_by_as_much_is_at_chance():
    wobbling = 2.31 - 0.02 * (1 - np.exp(-AT / 60)) + 0.01 * np.sin(AT)
    assert told(beside(wobbling)) == ["TW104"]


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_loss_that_comes_to_stand_at_that_of_a_guess_is_at_chance(classes):
    guess = math.log(classes)
    wobbling = guess * (1 + 0.12 * np.exp(-AT / 40) + 0.002 * np.sin(AT))
    assert told(beside(wobbling, guess)) == ["TW104"]


@pytest.mark.parametrize(
    "validation",
    [
        np.linspace(2.31, 1.2, len(AT)),  # far down
        2.31 - 0.4 * (1 - np.exp(-AT / 40)),  # at once, as in fine-tuning
        2.45 * (1 + 0.12 * np.exp(-AT / 40) + 0.002 * np.sin(AT)),  # no guess is there
    ],
)
def test_what_comes_down_or_stands_elsewhere_is_not_called_so(validation):
    log = beside(validation)
    log.series["loss"].values[:] = noisy(np.interp(np.arange(STEPS), AT, validation), 0.05)
    assert not {"TW102", "TW104"} & set(told(log))


@pytest.mark.parametrize("noise", [0.25, 0.6])
def test_other_data_are_told_where_batches_are_ragged(noise):
    ragged = 1 + noise * np.random.default_rng(0).uniform(-1, 1, STEPS)
    level = np.where(np.arange(STEPS) < 350, 0.25, 0.7)
    loss = np.maximum(level, 2.3 * np.exp(-np.arange(STEPS) / 40)) * ragged
    log = log_of(loss=loss, validation_loss=(AT, 0.3 + 2 * np.exp(-AT / 40)))
    assert ("TW203" in told(log)) == (noise < 0.5)


@pytest.mark.parametrize(
    ("up", "rows", "is_told"), [(1.2, 40, False), (2.0, 40, True), (1.2, 140, True)]
)
def test_the_first_rows_of_a_run_that_goes_on_may_rise_a_little(up, rows, is_told):
    loss = noisy(
        np.concatenate([np.linspace(1.0, 0.95, 20), np.linspace(0.95, up, rows - 20)]), 0.01
    )
    log = log_of({"steps": 1000}, loss=loss)
    assert ("TW002" in [each.code for each in so_far(log).findings]) == is_told


def test_what_has_begun_may_carry_over_yet():
    at = np.arange(5.0, 61.0, 5.0)
    loss = noisy(np.linspace(1.0, 0.7, 60), 0.02)
    log = log_of({"steps": 1000}, loss=loss, validation_loss=(at, 1.0 + 0.01 * np.sin(at)))
    assert "TW203" not in [each.code for each in so_far(log).findings]
    assert "TW203" in [each.code for each in diagnose(log).findings]
