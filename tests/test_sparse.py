"""Detectors on few rows, on means, and where columns are missing."""

from __future__ import annotations

import numpy as np
import pytest

from made_logs import falling, log_of
from made_sparse import SPARSE_FAULTY, SPARSE_HEALTHY, long_jump, two_bad_batches
from thalweg.health.diagnosis import diagnose


@pytest.mark.parametrize("make", SPARSE_HEALTHY.values(), ids=SPARSE_HEALTHY)
def test_nothing_is_said_of_a_healthy_log(make):
    verdict = diagnose(make())
    assert [(each.code, each.evidence["says"]) for each in verdict.findings] == []


@pytest.mark.parametrize(("make", "code"), SPARSE_FAULTY.values(), ids=SPARSE_FAULTY)
def test_a_fault_is_named(make, code):
    assert code in [each.code for each in diagnose(make()).findings]


def test_a_long_jump_is_dated_at_its_beginning_and_measured_at_its_top():
    (found,) = diagnose(long_jump(2000, every=10)).findings
    assert len(found.evidence["steps"]) == 1
    assert 5990 <= found.since_step <= 6070
    assert 2.3 < found.evidence["largest_factor"] < 2.9


def test_two_spikes_are_no_order_that_comes_again():
    assert "TW206" not in [each.code for each in diagnose(two_bad_batches()).findings]


def test_what_it_takes_is_told():
    verdict = diagnose(log_of(loss=falling()[:5]))
    assert verdict.state == "unknown"
    assert "5 values of the loss" in verdict.sentence
    assert "it takes 12" in verdict.sentence


def test_what_settings_would_say_is_told_as_missing():
    lacks = "\n".join(diagnose(log_of(loss=falling())).not_checkable)
    assert "no batch size in the log: gradient mostly noise" in lacks
    assert "no number of classes in the log: plateau, underfitting, leakage" in lacks


def test_a_loss_of_zeros_beside_settings_divides_nothing():
    settings = {"lr": 1.0, "weight_decay": 1.0}
    at = np.arange(20.0)
    log = log_of(settings, loss=np.zeros(20), validation_loss=(at, np.zeros(20)))
    assert diagnose(log).state in ("finished", "stalled")
