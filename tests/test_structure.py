"""Structure: every fault is named in its first steps, and sound programs are left alone."""

from __future__ import annotations

import warnings

import pytest

import faulty_asked  # noqa: F401  (these enter their programs)
import faulty_between  # noqa: F401
import faulty_details  # noqa: F401
import faulty_models  # noqa: F401
import faulty_more  # noqa: F401
import faulty_programs  # noqa: F401
import sound_asked  # noqa: F401
import sound_between  # noqa: F401
import sound_details  # noqa: F401
import sound_models  # noqa: F401
import sound_more  # noqa: F401
import sound_programs  # noqa: F401
from looked_at import AT_MOST_WARNED, FAULTY, SOUND

LATEST = {
    "TW308": 2,
    "TW306": 2,
    "every_label_of_the_second_batch_masked": 2,
    "class_numbers_in_two_small_batches": 2,
    "first_state_loaded_at_every_step": 2,
    "both_factors_zero": 2,
    "small_tables_that_no_optimizer_holds": 2,
    "factors_times_zero": 2,
    "average_loaded_into_its_model": 2,
    "weights_drawn_in_the_loop": 2,
    "divergence_subtracted": 2,
    "divergence_subtracted_of_one_layer": 2,
    "twins_labelled_nought": 2,
    "class_among_the_columns": 2,
    "loader_begun_anew": 2,
    "first_rows_at_every_step": 2,
}
"""The step by which a fault must be named, by code or program, where it is not the first."""


def run(program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's own, about what is done wrongly here
        return program()


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_named(name):
    code, program = FAULTY[name]
    monitor = run(program)
    assert monitor.fault == ""
    named = {finding.code: finding for finding in monitor.findings}
    assert code in named, sorted(named)
    assert named[code].since_step <= LATEST.get(name, LATEST.get(code, 1))
    assert 0 < named[code].confidence < 1
    assert named[code].evidence["what"]


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_program_is_left_alone(name):
    monitor = run(SOUND[name])
    assert monitor.fault == ""
    told = [f for f in monitor.findings if f.severity == "act" or name not in AT_MOST_WARNED]
    assert told == []


def test_the_tables_are_large_enough():
    assert len(FAULTY) >= 40
    assert len(SOUND) >= 60
