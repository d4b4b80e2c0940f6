"""Detectors on curves of known shape: each fault is named, and no healthy shape is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from made_logs import FAULTY, HEALTHY, STEPS, falling, log_of, noisy, plain
from made_more import (
    MORE_FAULTY,
    MORE_HEALTHY,
    of_a_policy,
    seldom_measured,
    steps_of,
    thrown_to_chance,
    thrown_up_with_its_weights,
    tuned,
)
from thalweg.health import diagnosis
from thalweg.health.aftermath import together
from thalweg.health.codes import BY_KEY, CODES
from thalweg.health.diagnosis import DETECTORS, OWN_FAULT, diagnose, so_far
from thalweg.health.verdict import with_findings
from thalweg.health.words import SPELLED, Run, advice
from thalweg.record.foreign import Columns, read_text
from thalweg.record.foreign.log import REWARDS, Series
from thalweg.types import Verdict


@pytest.mark.parametrize(
    "make", [*HEALTHY.values(), *MORE_HEALTHY.values()], ids=[*HEALTHY, *MORE_HEALTHY]
)
def test_nothing_is_said_of_a_healthy_shape(make):
    verdict = diagnose(make())
    assert [(each.code, each.evidence["says"]) for each in verdict.findings] == []
    assert verdict.healthy is True
    assert not any(each.startswith(OWN_FAULT) for each in verdict.not_checkable)


@pytest.mark.parametrize(
    ("make", "code"), [*FAULTY.values(), *MORE_FAULTY.values()], ids=[*FAULTY, *MORE_FAULTY]
)
def test_a_fault_is_named(make, code):
    verdict = diagnose(make())
    named = {each.code: each.severity for each in verdict.findings}
    assert code in named
    assert verdict.healthy is ("act" not in named.values())
    assert not any(each.startswith(OWN_FAULT) for each in verdict.not_checkable)


def test_weights_that_were_thrown_up_are_not_decayed():
    verdict = diagnose(thrown_up_with_its_weights())
    assert "TW106" not in [each.code for each in verdict.findings]


def test_a_loss_that_is_thrown_to_chance_is_no_overfitting():
    verdict = diagnose(thrown_to_chance(learnt_first=True))
    assert "TW201" not in [each.code for each in verdict.findings]


def test_the_first_rows_of_a_run_that_goes_on_are_no_divergence():
    rows = np.array([0.727, 0.895, 1.084, 1.249, 0.956])
    assert so_far(log_of(loss=rows)).findings == ()
    assert [each.code for each in diagnose(log_of(loss=rows)).findings] == ["TW002"]


RARE = """
0.822 0.829 0.792 0.797 0.76 0.704 0.677 0.629 0.588 0.529 0.477 0.442
0.401 0.341 0.335 0.227 0.214 0.168 0.231 0.116 0.219 0.084 0.119 0.06
0.057 0.047 0.038 0.089 0.089 0.026 0.084 0.021 0.019 0.082 0.016 0.014
0.151 0.149 0.011 0.074 0.01 0.085 0.009 0.009 0.008 0.083 0.085 0.082
0.083 0.084 0.007 0.07 0.007 0.156 0.007 0.224 0.007 0.079 0.079 0.069
0.008 0.072 0.079 0.135 0.079 0.009 0.069 0.066 0.012 0.012 0.013 0.013
0.117 0.013 0.063 0.11 0.15 0.014 0.017 0.102 0.066 0.048 0.056 0.018
0.069 0.02 0.016 0.015 0.078 0.032 0.11 0.01 0.066 0.055 0.011 0.009 0.045
0.014 0.06 0.107
"""
"""The first 100 losses of a sound run: one row in 80 is of the rarer class, and 64 are a batch."""


def test_a_class_that_few_batches_hold_is_no_change_of_data():
    rows = np.array(RARE.split(), dtype=float)
    assert so_far(log_of(loss=rows)).findings == ()


def test_advice_says_how_far_off_a_setting_is():
    def told(code, *, tool="thalweg", **settings):
        return advice(CODES[code], Run(tool, settings, "step 9"))

    assert told("TW102", lr=1e-6, update_ratio=4e-6).endswith("(it was 1e-06; try --lr 8e-05)")
    assert told("TW102", lr=1e-6).endswith("(it was 1e-06; try --lr 1e-05)")
    decay = told("TW106", lr=1e-3, weight_decay=10.0, optimizer="adamw")
    assert decay.endswith("(it was 10; try --optimizer adamw:weight_decay=0.1)")
    assert told("TW201", patience=10).startswith("the weights of step 9 are kept")
    assert told("TW201", tool="keras", patience=10).startswith("keep the weights of step 9")


def test_a_column_that_gives_the_target_away_is_to_be_left_out():
    log = log_of(loss=noisy(falling()))
    log.split = {"gives_away": [{"column": "code", "what": "the target", "score": 1.0}]}
    assert "--drop code" in diagnose(log).findings[0].advice
    copies = {"part": "test", "also_in": "train", "rows": 60, "copies": 30}
    log.split = {"rows_in_two_parts": [copies]}
    assert "split by group" in diagnose(log).findings[0].advice


def test_a_check_that_breaks_is_told_and_the_others_are_made(monkeypatch):
    def broken(view):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(diagnosis, "DETECTORS", (broken, *DETECTORS))
    make, code = FAULTY["slow"]
    verdict = diagnose(make())
    assert [each.code for each in verdict.findings] == [code]
    assert verdict.not_checkable[0] == f"{OWN_FAULT} broken: ZeroDivisionError: planted"


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_finding(seed):
    curve = falling(last=0.5)
    verdict = diagnose(log_of(loss=noisy(curve, 0.15, seed), gradient_norm=noisy(1 + curve, 0.3)))
    assert verdict.findings == ()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_few_rows_are_unknown(count):
    verdict = diagnose(log_of(loss=falling()[:count]))
    assert (verdict.state, verdict.healthy) == ("unknown", None)


def test_a_log_without_a_loss_is_unknown():
    assert diagnose(log_of(lr=np.ones(50))).state == "unknown"


@pytest.mark.parametrize("name", ["d_loss", "G/loss", "loss_D", "critic_loss", "errG"])
def test_of_networks_that_play_against_each_other_losses_do_not_tell(name):
    log = log_of(loss=noisy(np.full(STEPS, 0.69), 0.1))
    log.series["loss"] = replace(log.series["loss"], name=name)
    verdict = diagnose(log)
    assert (verdict.state, verdict.findings) == ("unknown", ())
    log.series["loss"] = replace(log.series["loss"], name="train_loss")
    assert diagnose(log).state != "unknown"


def test_of_a_policy_the_loss_does_not_tell():
    verdict = diagnose(of_a_policy())
    assert (verdict.state, verdict.findings) == ("unknown", ())
    assert verdict.not_checkable


def test_a_loss_that_is_0_in_every_row_was_not_measured():
    verdict = diagnose(log_of(loss=np.zeros(STEPS)))
    assert (verdict.state, verdict.findings) == ("unknown", ())


def test_a_jump_that_both_losses_tell_is_one():
    log = seldom_measured(jump=2.4)
    log.series["loss"].values[238:246] *= 2.4
    spikes = next(each for each in diagnose(log).findings if each.code == "TW003")
    assert len(spikes.evidence["steps"]) == 1


@pytest.mark.parametrize(
    ("name", "values"),
    [("map", (0.1, 0.6)), ("wer", (0.9, 0.3)), ("cer", (80.0, 20.0)), ("f1", (0.2, 0.7))],
)
def test_overfitting_whose_score_holds_is_a_warning(name, values):
    at = np.arange(15.0, STEPS, 15.0)
    rising = 0.3 + 0.6 * np.maximum(0.0, at / STEPS - 0.3)
    losses = np.where(at < 0.3 * STEPS, 1.5 - 4.0 * at / STEPS, rising)
    log = log_of(loss=noisy(falling(last=0.01)), validation_loss=(at, losses))
    assert [each.severity for each in diagnose(log).findings] == ["act"]
    score = values[1] + (values[0] - values[1]) * np.exp(-at / 60.0)
    log.series[f"validation_{name}"] = Series(name, at, score)
    assert [each.severity for each in diagnose(log).findings] == ["warn"]


def test_sentences_hold_the_runs_own_numbers():
    one, other = (diagnose(plain(loss=noisy(falling(first)))).sentence for first in (2.3, 9.1))
    assert one != other


def test_every_remedy_can_be_said_in_every_tools_words():
    for row in CODES.values():
        for tool in SPELLED:
            text = advice(row, Run(tool, {"lr": 0.3, "batch_size": 32, "clip": 1.0}))
            assert text
            assert not set("{}") & set(text)


def test_rows_and_keys_are_one_to_one():
    assert len(BY_KEY) == len(CODES)
    assert all(row.code.startswith("TW") for row in CODES.values())
    assert len(set(DETECTORS)) == len(DETECTORS)


def test_steps_at_which_a_loss_is_nan_are_told():
    loss = noisy(falling())
    loss[400:] = math.nan
    finding = diagnose(log_of(loss=loss)).findings[0]
    assert finding.since_step == 401
    assert finding.evidence["count"] == 200


@pytest.mark.parametrize(
    ("columns", "rates"),
    [
        (steps_of(1e-9), "raise the learning rate (it was 0.001; try 0.01)"),
        (steps_of(0.1), "lower the learning rate (it was 0.001; try 0.0001)"),
        ({}, "another learning rate (it was 0.001; try 0.01 and 0.0001)"),
    ],
)
def test_which_rate_to_try_at_chance_hangs_on_the_steps(columns, rates):
    loss = noisy(np.full(STEPS, 2.3), 0.02)
    log = log_of({"num_classes": 10, "lr": 1e-3}, loss=loss, **columns)
    found = {each.code: each for each in diagnose(log).findings}
    assert rates in found["TW104"].advice


def test_what_is_learnt_anew_at_a_low_rate_is_still_told():
    log = tuned(2.9, fall=0.0, noise=0.02)
    assert {each.code for each in diagnose(log).findings} & {"TW102", "TW104"}


RISING = falling(2.3, 0.3)[::-1]


@pytest.mark.parametrize(
    ("columns", "is_silent"),
    [
        ("rollout/ep_rew_mean,train/loss,train/value_loss,train/policy_gradient_loss", True),
        ("episode_return,loss", True),
        ("reward,loss,kl", True),
        ("rewards/chosen,rewards/rejected,loss", False),
        ("grad_norm,loss", False),
    ],
)
def test_of_what_learns_from_rewards_losses_do_not_tell(columns, is_silent):
    rows = [
        ",".join([str(i), *[f"{v:.4f}"] * (columns.count(",") + 1)]) for i, v in enumerate(RISING)
    ]
    (log,) = read_text("\n".join([f"step,{columns}", *rows]), "mine", Columns())
    verdict = diagnose(log)
    assert (verdict.findings == ()) == is_silent
    assert verdict.healthy is (None if is_silent else False)
    assert ("it learns from rewards" in str(verdict)) == is_silent


def test_a_loss_that_is_not_finite_is_told_where_rewards_are_learnt_from():
    log = log_of(loss=np.where(np.arange(STEPS) > 300, np.nan, RISING))
    log.kind = REWARDS
    assert [each.code for each in diagnose(log).findings] == ["TW001"]


def test_what_happened_alike_at_steps_after_each_other_is_told_once():
    rows = [{"step": n, "kind": "nonfinite", "text": f"nan at step {n}"} for n in range(6, 12)]
    rows.insert(3, {"step": 9, "kind": "guard", "text": "3 steps in a row"})
    told = [(row["step"], row["text"]) for row in together(rows)]
    assert told == [
        (6, "nan at step 6; 2 more like it, to step 8"),
        (9, "3 steps in a row"),
        (9, "nan at step 9; 2 more like it, to step 11"),
    ]
    assert together(rows[:2]) == rows[:2]


def test_slow_steps_stand_after_what_the_loss_does():
    log = MORE_FAULTY["jumps of whole batches"][0]()
    slow = np.where(np.arange(STEPS) < 400, 0.01, 0.1)
    log.series["seconds"] = Series("seconds", np.arange(1.0, STEPS + 1), slow)
    assert [each.code for each in diagnose(log).findings] == ["TW003", "TW404"]


def test_a_run_whose_loss_broke_is_not_finished():
    loss = noisy(falling())
    loss[29:] = math.nan
    verdict = with_findings(
        Verdict("finished", "nothing came any more"), diagnose(log_of(loss=loss))
    )
    assert (verdict.state, verdict.healthy) == ("diverging", False)
    sound = with_findings(
        Verdict("finished", "it was over"), diagnose(log_of(loss=noisy(falling())))
    )
    assert sound.state == "finished"


@pytest.mark.parametrize(("lr", "said"), [(1e-6, "raise"), (1e-2, "another")])
def test_a_rate_at_which_nobody_begins_anew_is_to_be_raised(lr, said):
    loss = noisy(np.full(STEPS, 2.3), 0.02)
    finding = diagnose(log_of({"num_classes": 10, "lr": lr}, loss=loss)).findings[0]
    assert finding.code == "TW104"
    assert f"{said} the learning rate".replace("another the", "another") in finding.advice
