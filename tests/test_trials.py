"""Trials: they tell planted faults from sound runs, within a budget."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import thalweg
from thalweg.errors import UsageError
from thalweg.facts import Trial
from thalweg.health.tried import DOUBTED, NEEDS, Tried, confirmed, in_need, tried_object
from thalweg.trials.parts import permuted, samples, zeroed
from thalweg.trials.trial import LONGEST, budget_of
from thalweg.types import Finding
from trials_kit import SHUFFLED, Cut, Loop, X, Y, dead, normed, slow, softmax

# ------------------------------------------------------------ what they say

SOUND = {
    "after 200 steps": lambda: Loop().steps(200),
    "after 600 steps": lambda: Loop().steps(600),
    "batch norm, dropout": lambda: Loop(normed).steps(400),
    "adamw": lambda: Loop(optimizer=lambda m: torch.optim.AdamW(m.parameters(), lr=3e-3)).steps(
        400
    ),
    "thalweg's": lambda: Loop(optimizer=lambda m: thalweg.AdamW(m.parameters(), lr=3e-3)).steps(
        400
    ),
    "right at the start": Loop,
}


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_a_sound_run_is_accused_of_nothing(make):
    loop = make()
    loop.backward()
    tried = loop.tried(last=loop.last)
    assert [each.name for each in tried.results if each.numbers] == [
        *("overfit", "permuted", "zeroed", "rates", "replay"),
    ]
    assert {name: said.confirms for name, said in tried.said.items() if said.confirms} == {}
    assert {"TW305", "TW307", "TW309"} <= set(tried.said["overfit"].refutes)
    assert tried.said["replay"].refutes == ("TW308",)


FAULTS = {
    "shuffled labels": (lambda: Loop(y=SHUFFLED).steps(600), "permuted", "TW203"),
    "rate far too low": (
        lambda: Loop(optimizer=slow(1e-5)).steps(300),
        "overfit",
        "TW102",
    ),
    "rate too low": (lambda: Loop(optimizer=slow(1e-3)).steps(250), "rates", "TW102"),
    "rate too high": (lambda: Loop(optimizer=slow(3.0)), "rates", "TW101"),
    "rate far too high": (lambda: Loop(optimizer=slow(100.0)), "overfit", "TW101"),
    "softmax before the loss": (lambda: Loop(softmax).steps(600), "overfit", "TW305"),
    "dead units": (lambda: Loop(dead).steps(300), "overfit", "TW301"),
    "a cut graph": (lambda: Loop(Cut).steps(300), "overfit", "TW309"),
    "stuck at chance": (lambda: Loop(Cut).steps(300), "zeroed", "TW104"),
    "never zeroed": (lambda: Loop(zeroes=False).steps(5), "replay", "TW308"),
}


@pytest.mark.parametrize(("make", "name", "code"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_confirmed(make, name, code):
    loop = make()
    loop.backward()
    said = loop.tried(last=loop.last).said
    assert code in said[name].confirms, "\n".join(f"{k}: {v.says}" for k, v in said.items())


def test_bad_labels_are_not_laid_at_the_models_door():
    said = Loop(y=SHUFFLED).steps(600).tried().said
    assert "TW305" in said["overfit"].refutes
    assert "TW203" in Loop(Cut).steps(300).tried().said["overfit"].refutes


def test_replay_knows_dropout_from_a_gradient_that_was_not_zeroed():
    loop = Loop(normed)
    loop.backward()
    said = loop.tried(last=loop.last).said["replay"]
    numbers = next(
        each.numbers for each in loop.tried(last=loop.last).results if each.name == "replay"
    )
    assert numbers["chance"] > 0.05
    assert said.refutes == ("TW308",)


# ------------------------------------------------------------ the budget


@pytest.mark.parametrize("budget", [10, 30, 100, 230, 1000])
def test_the_budget_is_obeyed(budget):
    loop = Loop(Cut)
    loop.backward()
    tried = loop.tried(budget=budget, last=loop.last)
    assert tried.steps <= budget
    assert all(each.numbers or "too small" in each.why_not for each in tried.results)
    assert budget < 100 or tried.steps > 0


def test_what_findings_ask_for_comes_first():
    names = ["overfit", "permuted", "zeroed", "rates"]
    assert in_need(names, ["TW101", "TW203"]) == ["rates", "overfit", "permuted", "zeroed"]
    found = Loop().tried(budget=80, findings=[finding("TW101")])
    assert [each.name for each in found.results if each.numbers] == ["rates"]


def test_a_budget_is_a_share_of_the_run():
    assert budget_of(200_000) == 4000
    assert budget_of(10) > 2 * LONGEST


# ------------------------------------------------------------ findings after them


def finding(code, confidence=0.7):
    return Finding(code, "x", "act", 10, confidence, {"says": "y"}, "z")


NUMBERS: dict[str, dict[str, float]] = {
    "good": {"begin": 2.3, "blank": 2.2, "best": 0.1, "factor": 1.0, "rates": 1, "length": 50},
    "bad": {"begin": 2.3, "blank": 2.2, "best": 2.2, "factor": 1.0, "rates": 6, "length": 50},
}


def test_a_finding_becomes_surer_or_less_sure_with_the_numbers_in_its_evidence():
    before = [finding("TW309"), finding("TW203"), finding("TW201", 0.6)]
    bad = confirmed(before, Tried((Trial("overfit", 300, NUMBERS["bad"]),), 500))
    assert [each.code for each in bad] == ["TW309", "TW201", "TW203"]
    assert bad[0].confidence > 0.7 > DOUBTED > bad[2].confidence
    assert "2.3 to 2.2" in bad[0].evidence["confirmed_by"][0]
    assert bad[2].severity == "warn"
    assert bad[1] == before[2]

    good = confirmed(before, Tried((Trial("overfit", 30, NUMBERS["good"]),), 500))
    assert next(each for each in good if each.code == "TW309").confidence < DOUBTED
    assert next(each for each in good if each.code == "TW203").confidence == 0.7


def test_what_was_not_tried_says_nothing():
    tried = Tried((Trial("overfit", why_not="not tried: no labels"),), 500)
    assert confirmed([finding("TW309")], tried) == [finding("TW309")]
    assert tried_object(tried)["results"][0]["says"] == "not tried: no labels"


def test_sixteen_that_are_fitted_without_inputs_say_nothing():
    row = {**NUMBERS["good"], "begin": 0.7, "blank": 0.01, "best": 0.001}
    said = Tried((Trial("overfit", 9, row),), 500).said["overfit"]
    assert (said.confirms, said.refutes) == ((), ())


def test_a_weak_signal_within_wide_chance_is_no_fault():
    row = {"right": 0.2162, "other": 0.2285, "error": 0.01, "number": 750, "steps": 29}
    results = (Trial("overfit", 9, NUMBERS["good"]), Trial("permuted", 9, row))
    said = Tried((*results, Trial("zeroed", 9, row)), 500).said
    assert (said["permuted"].confirms, said["zeroed"].confirms) == ((), ())


def test_shuffled_labels_need_a_model_that_can_learn_and_time():
    row = {"right": 2.4, "other": 2.3, "error": 0.1, "number": 500, "steps": 30}
    cases = {
        "fitted": ("good", row, ("TW203",)),
        "not fitted": ("bad", row, ()),
        "too early": ("good", {**row, "number": 20}, ()),
        "broken": ("good", {**row, "right": float("inf")}, ()),
    }
    for overfit, numbers, wanted in cases.values():
        results = (Trial("overfit", 9, NUMBERS[overfit]), Trial("permuted", 9, numbers))
        assert Tried(results, 500).said["permuted"].confirms == wanted


def test_every_trial_that_is_needed_can_be_made():
    loop = Loop()
    loop.backward()
    made = {each.name for each in loop.tried(last=loop.last).results}
    assert {name for names in NEEDS.values() for name in names} == made


# ------------------------------------------------------------ batches of every form


def test_batches_are_taken_apart():
    batch = {
        "input_ids": torch.arange(1, 9).reshape(4, 2),
        "attention_mask": torch.ones(4, 2),
        "labels": torch.arange(4),
    }
    blank, other = zeroed(batch), permuted(batch, 3)
    assert not blank["input_ids"].any()
    assert blank["attention_mask"].all()
    assert torch.equal(blank["labels"], batch["labels"])
    assert sorted(other["labels"].tolist()) == [0, 1, 2, 3]
    assert not torch.equal(other["labels"], batch["labels"])
    assert samples([(X[:10], Y[:10]), (X[10:20], Y[10:20])], 16)[0].shape == (16, 64)
    ragged = [(torch.ones(20, 3), torch.ones(20)), (torch.ones(4, 5), torch.ones(4))]
    assert samples(ragged, 16)[0].shape == (16, 3)


def test_mappings_and_batches_that_cannot_be_taken_apart():
    loop = Loop().steps(300)
    named = [{"pixels": x, "labels": y} for x, y in loop.learnt]
    plain = loop.loss_of
    loop.loss_of = lambda batch: plain((batch["pixels"], batch["labels"]))
    assert "TW203" in loop.tried(batches=named, held=None).said["permuted"].refutes
    joined = [torch.cat([x, y[:, None]], dim=1) for x, y in loop.learnt]
    loop.loss_of = lambda batch: plain((batch[:, :64], batch[:, 64].long()))
    said = loop.tried(batches=joined, held=None).said
    assert "cannot be told" in said["zeroed"].says
    assert said["overfit"].refutes


# ------------------------------------------------------------ what cannot be tried

BAD: dict[str, Any] = {
    "no batches": (lambda loop: loop.tried(batches=[]), "no batch"),
    "none to look at": (
        lambda loop: loop.tried(batches=loop.learnt[:1], held=None),
        "no batch to look",
    ),
    "an iterator": (lambda loop: loop.tried(batches=iter(loop.learnt)), "give a list"),
    "few samples": (lambda loop: loop.tried(batches=[(X[:9], Y[:9])]), "hold 9 samples"),
    "no budget": (lambda loop: loop.tried(budget=3), "budget is 3"),
    "no tensor": (lambda loop: loop.tried(batches=["text"] * 9), "without a tensor"),
}


@pytest.mark.parametrize(("act", "text"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(act, text):
    with pytest.raises(UsageError, match=text) as caught:
        act(Loop())
    assert "\n" not in str(caught.value)
