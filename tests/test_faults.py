"""The fault bench: its faults are what they say, its verdicts can fail, and thalweg's are as asked.

Runs here are those of `python -m benchmarks.faults --quick`: digits, 240 steps, processes of their
own. EXPECTED says how each must end.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.faultbench.attempts import Outcome, run
from benchmarks.faultbench.contenders import CONTENDERS
from benchmarks.faultbench.faults import FAULTS, Fault, Plan
from benchmarks.faultbench.job import Job
from benchmarks.faultbench.report import Report
from benchmarks.faultbench.tasks import TASKS, task
from benchmarks.faultbench.verdicts import Where, cell, judged, news, shortened, spread_of
from benchmarks.faults import OURS, QUICK_STEPS, Bench, main
from benchmarks.fit import names_of

PLAN = Plan(QUICK_STEPS)

EXPECTED = {
    "killed": "bit-equal",
    "torn checkpoint": "bit-equal",
    "clock jump": "bit-equal",
}
"""Fault -> how thalweg with its guard must end."""

NEEDS_NO_GUARD = ("killed", "clock jump")


@pytest.fixture(scope="module")
def bench():
    """Fault-free runs are made once for all tests."""
    torch.set_num_threads(1)
    return Bench(PLAN, Report(QUICK_STEPS, {}))


@pytest.mark.parametrize("name", EXPECTED)
def test_ends_as_expected(bench, name):
    (verdict,) = bench.verdicts("digits", [FAULTS[name]], [OURS], 1)
    assert verdict.kind == EXPECTED[name], verdict


@pytest.mark.parametrize("name", NEEDS_NO_GUARD)
@pytest.mark.parametrize("who", ["thalweg unguarded", "thalweg.Guard"])
def test_ends_as_expected_in_another_loop(bench, name, who):
    (verdict,) = bench.verdicts("digits", [FAULTS[name]], [who], 1)
    assert verdict.kind == EXPECTED[name], verdict


def test_nothing_is_said_of_a_healthy_run(bench):
    assert bench.clean("digits", FAULTS["NaN sample"], OURS, 0).said == ()


def test_contenders_see_the_same_batches(bench):
    """One AdamW, one schedule, the same batches: the losses agree but for rounding."""
    healthy = FAULTS["NaN sample"].healthy
    ours = bench.clean("digits", healthy, "thalweg unguarded", 0)
    plain = bench.clean("digits", healthy, "plain torch", 0)
    assert ours.loss == pytest.approx(plain.loss, rel=1e-3)


def test_a_plain_loop_is_ruined(bench):
    """The comparator can fail: without protection a NaN sample leaves no weights."""
    (verdict,) = bench.verdicts("digits", [FAULTS["NaN sample"]], ["plain torch"], 1)
    assert verdict.kind == "NaN"
    assert not verdict.is_silent  # it stands in the loop's own log


# ------------------------------------------------------------ the faults


def planted(name: str):
    """A stream without and with a fault of the data."""
    one, other = (task("digits").stream(0, PLAN.num_steps) for _ in range(2))
    plant = FAULTS[name].data
    assert plant is not None
    plant(other, PLAN, np.random.default_rng(0))
    return one, other


def steps_changed(one, other) -> list[int]:
    """Steps whose batches differ."""
    is_same = [
        np.array_equal(a.x[a.at(step)], b.x[b.at(step)], equal_nan=True)
        and np.array_equal(a.y[a.at(step)], b.y[b.at(step)])
        for a, b in [(one, other)]
        for step in range(1, PLAN.num_steps + 1)
    ]
    return [step for step, same in enumerate(is_same, 1) if not same]


BURST = list(range(PLAN.fault_at, PLAN.fault_at + 10))


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("mislabelled burst", BURST),
        ("mild burst", BURST),
        ("fp16 overflow", [PLAN.fault_at]),
        ("corrupted batch", PLAN.recurring),
    ],
)
def test_only_these_batches_are_hit(name, steps):
    assert steps_changed(*planted(name)) == steps


@pytest.mark.parametrize(("name", "is_bad"), [("NaN sample", np.isnan), ("Inf feature", np.isinf)])
def test_a_bad_row_is_bad_wherever_it_comes(name, is_bad):
    one, other = planted(name)
    hit = is_bad(other.x).any(axis=1)
    assert len(set(other.rows[hit])) == 1
    assert hit.sum() == (other.rows == other.rows[hit][0]).sum() > 1
    assert np.array_equal(one.x[~hit], other.x[~hit])


@pytest.mark.parametrize(("name", "share"), [("mislabelled burst", 1.0), ("mild burst", 0.1)])
def test_labels_change_places(name, share):
    one, other = planted(name)
    for step in BURST:
        before, after = one.y[one.at(step)], other.y[other.at(step)]
        assert sorted(before) == sorted(after)
        assert 0 < (before != after).sum() <= max(2, round(share * len(before)))


def test_every_data_fault_is_the_same_for_all_contenders(tmp_path):
    """A job's stream depends on task, seed and fault only."""
    job = Job(task("digits"), 0, PLAN, FAULTS["corrupted batch"], tmp_path)
    order = np.random.default_rng(3).permutation(len(job.samples()))
    x, y = job.samples(order).arrays()
    assert torch.equal(x[order], job.samples().x)
    assert torch.equal(y[order], job.samples().y)


def test_gradients_are_multiplied_once(tmp_path):
    """Seen by the gradient of the step that is hit, and of the next."""
    job = Job(task("digits"), 0, Plan(5), FAULTS["gradient x 1000"], tmp_path)
    healthy = replace(job, fault=job.fault.healthy)
    for step, factor in ((1, 1.0), (2, 1.0), (3, 1000.0), (4, 1.0)):
        one, other = (norm_at(each, step) for each in (healthy, job))
        assert other == pytest.approx(factor * one, rel=1e-6)


def norm_at(job: Job, step: int) -> float:
    """Norm of the gradient after some steps in which nothing moves."""
    network, loss = job.wired()
    samples = job.samples()
    for _ in range(step):
        network.zero_grad()
        loss(network(samples.x[:32]), samples.y[:32]).backward()
    gradients = (p.grad for p in network.parameters())
    return math.hypot(*(float(g.norm()) for g in gradients if g is not None))


def test_the_loss_is_nan_once(tmp_path):
    job = Job(task("digits"), 0, Plan(5), FAULTS["NaN loss"], tmp_path)
    network, loss = job.wired()
    samples = job.samples()
    losses = [loss(network(samples.x[:8]), samples.y[:8]).item() for _ in range(5)]
    assert [math.isnan(each) for each in losses] == [False, False, True, False, False]


# ------------------------------------------------------------ the verdicts

WHERE = Where("digits", "us", 0)
CLEAN = Outcome(loss=1.0, digest="a")
MILD = Fault("f", "", 0.01)
EXACT = Fault("f", "", 0.0)


@pytest.mark.parametrize(
    ("outcome", "fault", "spread", "kind"),
    [
        (Outcome(loss=1.0, digest="a"), EXACT, 0.5, "bit-equal"),
        (Outcome(loss=1.0, digest="b"), EXACT, 0.5, "not equal"),
        (Outcome(loss=1.009, digest="b"), MILD, 0.0, "recovered"),
        (Outcome(loss=1.011, digest="b"), MILD, 0.0, "worse"),
        (Outcome(loss=1.011, digest="b"), MILD, 0.02, "recovered"),
        (Outcome(loss=math.nan, digest="b"), MILD, 0.5, "NaN"),
        (Outcome(loss=1.0, digest="b", stopped="unhealthy"), MILD, 0.5, "stopped"),
        (Outcome(error="OSError: full"), MILD, 0.5, "crashed"),
    ],
)
def test_verdicts(outcome, fault, spread, kind):
    assert judged(WHERE, fault, [outcome], clean=CLEAN, spread=spread).kind == kind


@pytest.mark.parametrize(("precision", "kind"), [("float32", "crashed"), ("fp16", "not offered")])
def test_a_run_that_fails_without_the_fault(precision, kind):
    broken = Outcome(error="ValueError: no fp16 here")
    fault = replace(MILD, precision=precision)
    assert judged(WHERE, fault, [broken], clean=broken, spread=0.0).kind == kind


def test_only_what_is_new_was_said():
    assert news(["lr is 0.1 at 7", "a NaN", "a NaN"], ["lr is 0.2 at 12"]) == ("a NaN",)


def test_a_report_does_not_name_the_place_of_a_run():
    line = "no checkpoint at /somewhere/thalweg-faults-a1b2/run/checkpoint-248: 3/4"
    assert shortened([line]) == ["no checkpoint at RUN/run/checkpoint-248: 3/4"]


def test_spread():
    assert spread_of([1.0, 1.1, 0.9]) == pytest.approx(0.2)
    assert spread_of([1.0]) == 0.0
    assert spread_of([None, math.nan]) == 0.0


def test_a_cell_counts_what_went_wrong_in_silence():
    worse = judged(WHERE, MILD, [Outcome(loss=1.5, digest="b")], clean=CLEAN, spread=0.0)
    spoke = replace(worse, said=("a warning",))
    assert cell([worse, spoke]) == "worse 2 (+50%, silent 1)"


def test_a_crash_is_an_outcome(tmp_path):
    def train(job):
        raise OSError("no room")

    job = Job(task("digits"), 0, PLAN, FAULTS["NaN loss"], tmp_path / "run")
    (outcome,) = run(train, job)
    assert outcome.error == "OSError: no room"


# ------------------------------------------------------------ the report


def reported(path, *verdicts, losses=(), num_steps=QUICK_STEPS):
    """A report with these rows in a file, and fault-free runs of seeds 0, 1, ..."""
    report = Report(num_steps, {}, path)
    for seed, loss in enumerate(losses):
        report.add_clean(WHERE._replace(seed=seed), "healthy", Outcome(loss=loss))
    for verdict in verdicts:
        report.add(verdict)
    return report


def verdict_of(seed, excess, fault="NaN loss"):
    outcome = Outcome(loss=1.0 + excess, digest=str(seed), said=("a NaN",))
    where = WHERE._replace(seed=seed)
    return judged(where, FAULTS[fault], [outcome], clean=CLEAN, spread=0.0)


def test_rows_that_are_not_run_now_are_kept(tmp_path):
    path = tmp_path / "faults.json"
    kept, old, new = verdict_of(0, 0.0), verdict_of(1, 0.5), verdict_of(1, 0.25)
    reported(path, kept, old)
    report = Report(QUICK_STEPS, {}, path)
    report.take(path)
    report.add(new)
    again = Report(QUICK_STEPS, {})
    again.take(path)
    assert again.verdicts == report.verdicts == [kept, new]


def test_the_spread_of_all_seeds_decides_whenever_they_came(tmp_path):
    report = reported(tmp_path / "faults.json", verdict_of(0, 0.05), losses=[1.0])
    assert [verdict.kind for verdict in report.verdicts] == ["worse"]
    report.add_clean(WHERE._replace(seed=1), "healthy", Outcome(loss=1.1))
    (verdict,) = report.verdicts
    assert (verdict.kind, verdict.tolerance) == ("recovered", pytest.approx(0.0952))
    for seed, loss in ((2, None), (3, 9.0)):  # crashed; and one more than the spread is made of
        report.add_clean(WHERE._replace(seed=seed), "healthy", Outcome(loss=loss))
    assert report.verdicts == [verdict]


def test_pieces_make_the_whole(tmp_path, capsys):
    """Two faults one after the other; the table has both, and the fault-free run once."""
    path = tmp_path / "faults.json"
    common = ["--tasks", "digits", "--contenders", OURS, "--seeds", "1", "--healthy", "1"]
    common += ["--steps", str(QUICK_STEPS), "--to", str(path), "--add"]
    for fault in ("NaN loss", "clock jump"):
        assert main([*common, "--faults", fault]) == 0
    shown = capsys.readouterr().out
    assert "NaN loss    recovered 1\nclock jump  bit-equal 1\n" in shown
    assert "spoke: 0 of 1" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "no report"), ('{"schema": 1}', "no report"), ("", "--steps")],
)
def test_a_report_that_cannot_be_added_to(tmp_path, capsys, text, words):
    path = tmp_path / "faults.json"
    reported(path, verdict_of(0, 0.0), num_steps=17)
    if text:
        path.write_text(text)
    before = path.read_bytes()
    assert main(["--to", str(path), "--add", "--tasks", "digits", "--contenders", OURS]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("names", [TASKS, FAULTS, CONTENDERS])
def test_every_name_can_be_asked_for(names):
    """The options take lists with commas."""
    assert names_of(names)(",".join(names)) == list(names)
