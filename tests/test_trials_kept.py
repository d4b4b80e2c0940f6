"""Trials that `fit --trials` makes: kept in the run's record, and used wherever it is judged."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

import thalweg
from thalweg.cli.main import main
from thalweg.facts import Trial
from thalweg.health.diagnosis import diagnose
from thalweg.health.tried import Tried, confirmed, kept, tried_again, unweighed
from thalweg.jobs import live
from thalweg.record import read
from thalweg.record.foreign.log import LOSS, VALIDATION, Log, Series
from thalweg.types import Finding, Verdict
from trials_kit import SHUFFLED, X

ASKING = Finding("TW203", "labels", "act", 10, 0.7, {"says": "nothing carries over"}, "look")
NUMBERS = {"steps": 30.0, "right": 2.9, "other": 2.5, "error": 0.1, "number": 400.0}
PERMUTED = Trial("permuted", 30, NUMBERS)
WORTH = Trial("permuted", 30, {**NUMBERS, "right": 0.2})


def log_of(trial: Trial, *, step: int = 400, late: float = 3.2) -> Log:
    """A run whose validation loss does not fall; trials at a step. late: its last value"""
    steps = range(1, 1001)
    loss = [(i, 2.3 - 1.7 * i / 1000 + 0.01 * (i % 3)) for i in steps]
    looks = [(i, 2.35 + (late - 2.35) * i / 1000) for i in steps[19::20]]
    log = Log("mine", "thalweg", tool="thalweg", settings={"lr": 0.1})
    log.series = {LOSS: Series.of("loss", loss), VALIDATION: Series.of("loss", looks)}
    log.trials = {"from_step": step, **kept(Tried((trial,), 100), [ASKING])}
    return log


def codes_of(log: Log) -> dict[str, Finding]:
    return {each.code: each for each in diagnose(log).findings}


def test_what_an_event_keeps_is_read_again():
    tried = Tried((PERMUTED, Trial("rates", why_not="nothing to try with")), 100)
    text = json.dumps(kept(tried, [ASKING]))
    assert tried_again(json.loads(text)) == tried


def test_a_confirmed_cause_is_surer_in_the_verdict():
    found = codes_of(log_of(PERMUTED))["TW203"]
    assert found.severity == "act"
    assert found.confidence > found.evidence["confidence_before"]
    assert "labels say nothing" in found.evidence["confirmed_by"][0]


def test_a_refuted_cause_is_less_sure():
    found = codes_of(log_of(WORTH))["TW203"]
    assert found.confidence < found.evidence["confidence_before"]
    assert "labels belong to their inputs" in found.evidence["refuted_by"][0]


def test_what_lasts_is_kept_though_the_curve_shows_it_no_more(monkeypatch):
    monkeypatch.setattr("thalweg.health.diagnosis.DETECTORS", ())
    assert codes_of(log_of(PERMUTED)).keys() == {"TW203"}
    assert codes_of(log_of(WORTH)) == {}
    assert codes_of(log_of(PERMUTED, late=0.4)) == {}, "it has learned since"


@pytest.mark.parametrize("trial", [PERMUTED, WORTH])
def test_trials_that_are_made_anew_do_not_count_twice(trial):
    tried = Tried((trial,), 100)
    once = confirmed([ASKING], tried)
    assert once != [ASKING]
    assert [*map(unweighed, once)] == [ASKING]
    assert unweighed(ASKING) == ASKING


def test_what_began_after_the_trials_is_left_alone():
    before, after = codes_of(log_of(PERMUTED)), codes_of(log_of(PERMUTED, step=5))
    assert "confidence_before" in before["TW203"].evidence
    assert "confidence_before" not in after["TW203"].evidence


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """On labels of other samples, with a finding that asks for trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "WITH_TRIALS", 1e9)
        seen = Verdict("stalled", "it stands", (ASKING,))
        patch.setattr(live, "so_far", lambda log: seen)
        return thalweg.fit(
            (X.numpy(), SHUFFLED.numpy()),
            model="mlp",
            epochs=30,
            patience=99,
            trials=True,
            out=str(tmp_path_factory.mktemp("runs")),
            name="shuffled",
            quiet=True,
        )


def test_the_record_keeps_them_once(run):
    events = [row for row in read(run.folder).events if row.kind == "trials"]
    assert len(events) == 1
    assert events[0].data["findings"] == [asdict(ASKING)]
    assert "overfit: " in events[0].text


def test_the_result_the_report_and_diagnose_tell_of_them(run, capsys):
    assert main(["diagnose", str(run.folder), "--json"]) in (0, 3)
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == json.loads(json.dumps(run.result["trials"]))
    assert {row["name"] for row in found["trials"]["results"]} >= {"overfit", "permuted"}
    assert main(["diagnose", str(run.folder)]) in (0, 3)
    assert f"trials of causes, from step {found['trials']['from_step']:,}" in (
        capsys.readouterr().out
    )
    assert "overfit: the loss of 16 samples" in run.report.read_text()
    assert main(["report", str(run.folder), "--post-mortem"]) == 0
    assert " trials  " in capsys.readouterr().out
