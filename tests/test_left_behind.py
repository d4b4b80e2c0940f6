"""Weights that get a gradient and no longer move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from made_logs import STEPS, log_of, noisy, plain
from thalweg.health.diagnosis import diagnose

AT = np.arange(20.0, STEPS, 20.0)
BODY, HEAD = "body.weight", "head.weight"


def columns(*, slope: float = 0.3, step: float = 1e-2, since: float = 300) -> dict[str, Any]:
    """Norms of two weights, of which one stands still from some step on."""
    return {
        f"gradient_norm:{BODY}": (AT, np.full(len(AT), slope)),
        f"gradient_norm:{HEAD}": (AT, np.full(len(AT), 0.5)),
        f"update_norm:{BODY}": (AT, np.where(since > AT, step, 0.0)),
        f"update_norm:{HEAD}": (AT, np.full(len(AT), step)),
        f"parameter_norm:{BODY}": (AT, np.full(len(AT), 10.0)),
        f"parameter_norm:{HEAD}": (AT, np.full(len(AT), 10.0)),
    }


def test_what_the_optimizer_has_lost_is_named():
    verdict = diagnose(plain(**columns()))
    (finding,) = verdict.findings
    assert "parameters that are not trained" not in str(verdict.not_checkable)
    assert (finding.code, finding.since_step) == ("TW307", 300)
    assert str(finding.evidence["says"]).startswith("from step 300 on body.weight of 2 parameters")


@pytest.mark.parametrize(
    "more",
    [
        {"slope": 0.0},  # frozen by intent
        {"slope": 1e-6},  # what comes before a normalisation
        {"step": 1e-7},  # a rate of nearly 0, and rounding
        {"since": STEPS - 30},  # it may be chance
    ],
)
def test_what_need_not_move_is_not(more):
    assert not diagnose(plain(**columns(**more))).findings


def test_steps_that_round_to_nothing_are_told_as_such():
    log = log_of({"precision": "bf16-weights"}, loss=noisy(np.full(STEPS, 1.0)), **columns(since=0))
    assert "TW401" in [each.code for each in diagnose(log).findings]


def test_biases_and_a_head_are_trained_by_intent():
    silent = {f"gradient_norm:{name}": (AT, np.zeros(len(AT))) for name in (BODY, HEAD)}
    bias = {"gradient_norm:body.bias": (AT, np.full(len(AT), 0.2))}
    assert not diagnose(plain(**silent, **bias)).findings
