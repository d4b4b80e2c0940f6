"""The laws of descent: every optimizer of the table obeys each, a planted fault breaks it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from conformance import faults_of_numbers, faults_of_state, faults_of_steps, laws
from conformance.problems import PROBLEMS
from conformance.sound import Averaging, Coupled, Sound
from conformance.subjects import Subject, every_subject

# Known minima.


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_a_known_minimum_is_one(problem):
    at = torch.tensor(problem.minimum, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(problem.value(at), at)
    bend = torch.autograd.functional.hessian(problem.value, at.detach())
    assert float(slope.abs().max()) < 1e-12
    assert float(torch.linalg.eigvalsh(bend).min()) > 0


@every_subject
@pytest.mark.parametrize("name", PROBLEMS)
def test_finds_known_minima(subject, name):
    laws.finds_minimum(subject, name)


# Every law for every subject, and the faults that break it.


@dataclasses.dataclass(frozen=True)
class Law:
    """A law, a class that breaks it, and the flags of that class's row."""

    holds: Callable[[Subject], None]
    broken_by: type[torch.optim.Optimizer]
    flags: dict[str, Any] = dataclasses.field(default_factory=dict)


LAWS = (
    Law(laws.finds_minimum, faults_of_steps.Climbs),
    Law(laws.zero_gradient_moves_nothing_but_decay, faults_of_steps.DecaysAtRateZero),
    Law(laws.rate_of_zero_changes_no_bit, faults_of_steps.MovesAtRateZero),
    Law(laws.state_comes_back_to_the_bit, faults_of_state.CountsOutsideOfState),
    Law(laws.without_its_state_a_run_is_another, Sound, {"keeps_no_state": True}),
    Law(laws.layouts_change_nothing, faults_of_numbers.WritesInMemoryOrder),
    Law(laws.layouts_change_nothing, faults_of_numbers.ReadsInMemoryOrder),
    Law(laws.one_number_for_all_gradients, faults_of_numbers.ReadsExpandedAsZero),
    Law(laws.scalar_goes_as_a_vector_of_one, faults_of_steps.ForgetsScalars),
    Law(laws.empty_tensors_change_nothing, faults_of_steps.StopsAtAnEmptyTensor),
    Law(laws.late_group_goes_as_if_alone, faults_of_steps.OneCountForAll),
    Law(laws.frozen_parameter_waits, faults_of_steps.OneCountForAll),
    Law(laws.frozen_parameter_waits, faults_of_steps.DecaysWithoutGradient),
    Law(laws.groups_have_their_own_settings, faults_of_steps.IgnoresGroupEps),
    Law(laws.groups_have_their_own_settings, faults_of_steps.IgnoresGroupRate),
    Law(laws.accumulated_batches_are_one_big_batch, faults_of_steps.KeepsFirstGradient),
    Law(laws.gradient_scale_as_declared, Sound, {"gradient_scale": "linear"}),
    Law(laws.gradient_scale_as_declared, Sound, {"gradient_scale": "neither"}),
)

ADAM = {"gradient_scale": "invariant", "scale_settings": {"eps": 0.0}}
SOUND = {
    "sound": Subject(name="sound", build=Sound, **ADAM),
    "averaging": Subject(name="averaging", build=Averaging, averages_weights=True, **ADAM),
    "coupled": Subject(name="coupled", build=Coupled, couples_tensors=True, minimum_atol=0.01),
}
every_law = pytest.mark.parametrize(
    "holds", dict.fromkeys(law.holds for law in LAWS[1:]), ids=lambda holds: holds.__name__
)


@every_subject
@every_law
def test_law(subject, holds):
    holds(subject)


@pytest.mark.parametrize("subject", SOUND.values(), ids=SOUND)
@every_law
def test_a_sound_optimizer_obeys(subject, holds):
    holds(subject)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.holds.__name__)
def test_a_planted_fault_breaks_the_law(law):
    row = {**ADAM, **law.flags}
    with pytest.raises(AssertionError):
        law.holds(Subject(name="faulty", build=law.broken_by, **row))


# Settings out of range, and parameters that are none.

NAN, INF = math.nan, math.inf
BAD = (
    ("lr", -1.0, "-1.0"),
    ("lr", NAN, "nan"),
    ("lr", INF, "inf"),
    ("lr", "fast", "'fast'"),
    ("weight_decay", -0.5, "-0.5"),
    ("weight_decay", NAN, "nan"),
    ("weight_decay", "much", "'much'"),
    ("momentum", -0.1, "-0.1"),
    ("momentum", NAN, "nan"),
    ("momentum", "some", "'some'"),
    ("betas", (1.0, 0.999), "1.0"),
    ("betas", (0.9, 1.5), "1.5"),
    ("betas", (-0.1, 0.999), "-0.1"),
    ("betas", (NAN, 0.999), "nan"),
    ("betas", ("a", 0.999), "'a'"),
    ("betas", (0.9,), "(0.9,)"),
    ("betas", 0.9, "0.9"),
    ("eps", -1e-8, "-1e-08"),
    ("eps", NAN, "nan"),
    ("eps", "small", "'small'"),
    ("alpha", -0.1, "-0.1"),
    ("alpha", NAN, "nan"),
    ("rho", 1.5, "1.5"),
    ("rho", NAN, "nan"),
    ("dampening", NAN, "nan"),
    ("lr_decay", -0.1, "-0.1"),
    ("momentum_decay", -0.1, "-0.1"),
)
"""Setting, value, and what the message must show of it."""

RANGE = r"<|>=|\bpair\b"
"""A message says what is allowed: an inequality, or that a pair is."""

every_bad_setting = pytest.mark.parametrize(
    ("name", "value", "seen"), BAD, ids=[f"{name}={value}" for name, value, _ in BAD]
)


@every_subject
@every_bad_setting
def test_a_setting_out_of_range_is_told(subject, name, value, seen):
    subject.must_take(name)
    with pytest.raises(ValueError, match=RANGE) as caught:
        subject.make(subject.fresh(), **{name: value})
    assert_one_line_with(caught.value, name.removesuffix("s"), seen)


@every_subject
@every_bad_setting
def test_a_setting_of_a_group_out_of_range_is_told(subject, name, value, seen):
    if name not in subject.make(subject.fresh()).defaults:
        pytest.skip(f"groups of {subject.name} have no {name}")
    with pytest.raises(ValueError, match=RANGE) as caught:
        subject.make([{"params": subject.fresh(), name: value}])
    assert_one_line_with(caught.value, name.removesuffix("s"), seen)


@every_subject
def test_an_unknown_option_is_told(subject):
    with pytest.raises((TypeError, ValueError), match="learning_rat") as caught:
        subject.make(subject.fresh(), learning_rat=0.1)
    assert_one_line_with(caught.value)


@every_subject
def test_no_parameters_are_told(subject):
    with pytest.raises(ValueError, match=r"empty|no parameters") as caught:
        subject.make([])
    assert_one_line_with(caught.value)


@every_subject
def test_a_parameter_twice_is_told(subject):
    p = subject.fresh()[0]
    for params in ([p, p], [{"params": [p]}, {"params": [p]}]):
        with pytest.raises(ValueError, match=r"more than one|twice|duplicate") as caught:
            subject.make(params)
        assert_one_line_with(caught.value)


def assert_one_line_with(error: Exception, *words: str) -> None:
    text = str(error)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def test_a_message_that_says_less_is_seen():
    assert_one_line_with(ValueError("lr is nan: allowed is lr >= 0"), "lr", "nan")
    for text in ("lr is wrong", "lr is nan:\nallowed is lr >= 0"):
        with pytest.raises(AssertionError):
            assert_one_line_with(ValueError(text), "lr", "nan")
