"""The checks themselves: sound optimizers pass them all, each planted fault fails its check."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from conformance import (
    faults_of_numbers,
    faults_of_state,
    faults_of_steps,
    test_companions,
    test_construction,
    test_dtypes,
    test_implementations,
    test_state,
    test_step,
    test_trajectory,
)
from conformance.planted import FAULTS, Fault
from conformance.sound import Averaging, Coupled, Sound
from conformance.subjects import Subject

MODULES = (
    test_construction,
    test_step,
    test_state,
    test_implementations,
    test_dtypes,
    test_companions,
    test_trajectory,
)
PLANTED_IN = (faults_of_steps, faults_of_state, faults_of_numbers)

CHECKS = {
    name.removeprefix("test_"): check
    for module in MODULES
    for name, check in vars(module).items()
    if name.startswith("test_")
}

ADAMW = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0}
SOUND = {
    "sound": Subject(
        name="sound", build=Sound, reference=torch.optim.AdamW, reference_settings=ADAMW
    ),
    "averaging": Subject(name="averaging", build=Averaging, averages_weights=True),
    "coupled": Subject(name="coupled", build=Coupled, couples_tensors=True),
}


@pytest.mark.parametrize("subject", SOUND.values(), ids=SOUND)
@pytest.mark.parametrize("name", [name for name in CHECKS if name != "compile"])
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_a_sound_optimizer_passes(name, subject):
    CHECKS[name](subject)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_a_planted_fault_fails_its_check(fault):
    with pytest.raises((fault.raises, pytest.fail.Exception)):
        CHECKS[fault.check](row_of(fault))


def row_of(fault: Fault) -> Subject:
    row = Subject(name=str(fault), build=fault.build, **fault.flags)
    return dataclasses.replace(row, reference=torch.optim.AdamW, reference_settings=ADAMW)


def test_every_check_has_a_planted_fault():
    """Compiling, which a clean clone may not be able to, aside."""
    assert CHECKS.keys() - {fault.check for fault in FAULTS} == {"compile"}
