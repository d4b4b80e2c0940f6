"""What is said of shapes that public runs have."""

from __future__ import annotations

import numpy as np
import pytest

from made_logs import falling, log_of, noisy
from made_public import PUBLIC_FAULTY, PUBLIC_HEALTHY, on_to_another_task
from thalweg.health.diagnosis import diagnose


@pytest.mark.parametrize("shape", PUBLIC_HEALTHY)
def test_nothing_is_said_of(shape):
    verdict = diagnose(PUBLIC_HEALTHY[shape]())
    assert [(finding.code, finding.evidence) for finding in verdict.findings] == []
    assert not any("own fault" in check for check in verdict.not_checkable)


@pytest.mark.parametrize("shape", PUBLIC_FAULTY)
def test_what_is_said_first_of(shape):
    make, code = PUBLIC_FAULTY[shape]
    assert diagnose(make()).findings[0].code == code


def test_other_data_that_no_evaluation_judges_warn():
    loss = noisy(falling(1.0, 0.5), 0.02)
    loss[300:] = noisy(falling(1.4, 1.3), 0.02)[300:]
    (finding,) = diagnose(log_of(loss=loss)).findings
    assert (finding.code, finding.severity) == ("TW203", "warn")


def test_evaluations_alone_that_do_not_settle_warn():
    up_and_down = 1.0 + 0.4 * np.random.default_rng(0).random(60) + np.linspace(0.4, 0.0, 60)
    (finding,) = diagnose(log_of(validation_loss=up_and_down)).findings
    assert (finding.code, finding.severity) == ("TW101", "warn")


def test_another_task_is_no_machine_that_stalls():
    codes = [finding.code for finding in diagnose(on_to_another_task()).findings]
    assert "TW404" not in codes
