"""The bench for health: runs are the same each time, faults are in them, logs tell no secrets."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.health import cut
from benchmarks.healthbench import judge, kitchen, plan, program, store
from benchmarks.healthbench.loop import train
from benchmarks.healthbench.make import make, make_all
from benchmarks.healthbench.outcome import outcome
from benchmarks.healthbench.plan import Run, built, runs
from benchmarks.healthbench.planted import FAULTS, HARD
from benchmarks.healthbench.recipes import SCHEDULES, TASKS, factor
from benchmarks.healthbench.repair import MOST, repaired
from benchmarks.healthbench.replayed import sample_findings
from benchmarks.healthbench.structural import Structure, structures

from thalweg.health.codes import CODES

STEPS = 90


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path):
    """Runs of a few steps, kept in a folder of the test's own."""
    monkeypatch.setenv("THALWEG_DATA", str(tmp_path))
    for name in ("digits", "cancer"):
        rows = {
            key: replace(row, steps=STEPS, evaluations=9)
            for key, row in kitchen.RECIPES[name].items()
        }
        monkeypatch.setitem(kitchen.RECIPES, name, rows)


USUAL = Run("digits", "adam-constant")


def test_a_run_is_the_same_each_time():
    first, second = (train(built(USUAL)[0]) for _ in range(2))
    for row, other in zip(first.steps, second.steps, strict=True):
        assert row | {"seconds": 0} == other | {"seconds": 0}
    assert first.evaluations == second.evaluations
    assert first.inside == second.inside


def test_seeds_differ():
    losses = [train(built(replace(USUAL, seed=seed))[0]).steps[-1]["loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


def test_a_log_comes_back_as_it_was():
    make(USUAL)
    columns = train(built(USUAL)[0])
    ((meta, log),) = store.load(["digits"])
    assert meta["name"] == USUAL.name == "digits.adam-constant.usual.none.start.0"
    assert meta["fault"] is None
    loss = log.series["loss"]
    assert loss.steps.tolist() == list(range(1, STEPS + 1))
    np.testing.assert_allclose(loss.values, [row["loss"] for row in columns.steps], rtol=1e-6)

    for name in ("lr", "gradient_norm", "seconds", "train_eval_loss"):
        assert np.isfinite(log.series[name].values).all()
    scores = ("validation_loss", "validation_accuracy", "validation_balanced_accuracy")
    assert all(len(log.series[name]) == 9 for name in scores)
    inside = ("gradient_norm:head.weight", "update_norm:head.weight", "parameter_norm:head.weight")
    assert all(log.series[name].steps.tolist() == [1, 20, 40, 60, 80] for name in inside)
    assert any(name.startswith("dead:") for name in log.series)


def test_a_run_that_is_there_is_not_made_again():
    assert make_all([USUAL], show=False) == 1
    assert make_all([USUAL], show=False) == 0


@pytest.mark.parametrize("rows", [FAULTS, HARD], ids=["faults", "hard"])
@pytest.mark.parametrize("task", ["digits", "cancer"])
def test_everything_can_be_planted(task, rows, monkeypatch):
    monkeypatch.setattr(program.Program, "steps_per_epoch", 5)
    chosen = [run for run in runs([task]) if run.planted in rows]
    assert len({run.planted for run in chosen}) >= len(rows) * 0.75
    for run in {run.planted: run for run in chosen}.values():
        made, meta = built(run)
        made.end = min(made.end, 3)
        columns = train(made)
        told = store.settings_of(meta | {"columns": {}})
        assert rows is HARD or run.planted not in str(told)
        assert not set(told) & {"fault", "hard", "codes", "amount", "onset", "notes"}
        made.notes.pop("spike_steps", None)
        assert outcome(columns, made.notes)["final_loss"] is not None


def test_a_rate_is_planted():
    usual = train(built(USUAL)[0])
    run = replace(USUAL, planted="rate-high", strength="strong", when="mid")
    made, meta = built(run)
    faulty = train(made)
    ratios = [b["lr"] / a["lr"] for a, b in zip(usual.steps, faulty.steps, strict=True)]
    onset = meta["onset"]
    assert 0.3 * STEPS <= onset <= 0.6 * STEPS
    assert ratios[onset - 2] == 1
    assert ratios[onset - 1] == pytest.approx(meta["amount"])
    assert store.settings_of(meta)["lr"] == kitchen.RECIPES["digits"]["adam-constant"].lr


def test_labels_are_planted():
    made, _ = built(replace(USUAL, planted="label-noise", strength="strong"))
    usual, _ = built(USUAL)
    share = float((made.data.train.y != usual.data.train.y).float().mean())
    assert 0.45 <= share <= 0.6  # of six in ten, one in ten draws its own label
    assert bool((made.data.train.x == usual.data.train.x).all())


def test_names_are_unique_and_there_are_enough():
    everything = runs(TASKS)
    names = {run.name for run in everything}
    assert len(names) == len(everything)
    kinds = [
        "usual" if run.row is None else "fault" if run.row.is_fault else "hard"
        for run in everything
    ]
    assert kinds.count("usual") >= 850
    assert kinds.count("hard") >= 300
    assert kinds.count("fault") >= 1000
    place = {run: i for i, run in enumerate(everything)}
    assert all(place[run.twin] <= place[run] for run in everything)


def test_optimizer_families_are_held_back():
    for task in TASKS.values():
        names = {recipe.optimizer for recipe in kitchen.RECIPES[task.name].values()}
        assert bool(names & {"lion", "muon"}) == (task.part not in ("tuning", "third"))


def test_codes_are_findings():
    known = {code for row in FAULTS.values() for code in row.codes}
    assert known <= set(CODES)
    main = {row.codes[0] for row in FAULTS.values()}
    assert set(CODES) - main == {"TW002", "TW301"} - main  # by the outcome of a high rate


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_between_nothing_and_the_peak(name):
    values = [factor(name, at, 0.1) for at in np.linspace(0, 1, 101)]
    assert all(0 <= value <= 1.0001 for value in values)
    assert max(values) > 0.9


def _row(seed: int, loss: float, **more) -> dict:
    how = {"honest_loss": loss, "final_loss": loss, "least_loss": loss, "end_loss": loss}
    how |= {"final_error": 0.1, "least_error": 0.1, "honest_accuracy": 0.9, "is_finite": True}
    how |= {"dead": 0.0, "saturated": 0.0, "num_missed": 0, "spikes_seen": 0, "earlier_drop": 0}
    run = {"task": "digits", "recipe": "a", "seed": seed, "planted": more.get("fault")}
    known = {"fault": None, "hard": None, "chance_loss": 2.0, "run": run, "outcome": how}
    return known | {"recipe": {"shape": {"body": "gru"}}} | more


def test_a_fault_counts_where_it_harms():
    usual = [_row(seed, loss) for seed, loss in enumerate((0.10, 0.11, 0.12))]
    harmed, unharmed = _row(0, 0.3, fault="rate-low"), _row(1, 0.11, fault="rate-low")
    far, alone = _row(2, 1.5), _row(7, 0.3, fault="rate-low")
    rows = judge.judged([*usual, harmed, unharmed, far, alone])
    statuses = [row["status"] for row in rows]
    assert statuses == ["healthy"] * 3 + ["fault", "neither", "neither", "no twin"]
    assert rows[3]["codes"][0] == "TW102"


def test_a_run_that_got_worse_is_not_healthy():
    usual = [_row(seed, 0.1) for seed in range(3)]
    for ratio, error, expected in ((1.05, 0.2, "healthy"), (1.2, 0.1, "healthy")):
        usual[0]["outcome"] |= {"final_loss": 0.1 * ratio, "final_error": error}
        assert judge.judged(usual)[0]["status"] == expected
    usual[0]["outcome"] |= {"final_loss": 0.12, "final_error": 0.2}
    assert judge.judged(usual)[0]["status"] == "neither"


@pytest.mark.parametrize(
    ("how", "first"),
    [({"is_finite": False}, "TW001"), ({"end_loss": 4.0}, "TW002"), ({"end_loss": 1.0}, "TW101")],
)
def test_the_outcome_names_a_high_rate(how, first):
    row = _row(0, 1.0, fault="rate-high")
    row["outcome"] |= how
    assert judge.codes(row)[0] == first


def test_structural_programs():
    rows = list(structures())
    assert len({row.name for row in rows}) == len(rows)
    assert sum(not row.codes for row in rows) >= 60
    assert sum(bool(row.codes) for row in rows) >= 40
    for row in rows:
        first, second = _two_steps(row), _two_steps(row)
        np.testing.assert_array_equal(first, second, row.name)
        assert np.isfinite(first).all() or row.codes, row.name


def _two_steps(row: Structure) -> list[float]:
    built_once = row.build()
    steps = [built_once.train_step(batch) for batch in built_once.batches[:2]]
    return [float(loss.detach()) for loss in steps]


def test_a_run_leaves_torch_as_it_was():
    threads = torch.get_num_threads()
    plan.built(USUAL)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("name", "strength", "code"),
    [
        ("duplicates", "strong", "TW205"),
        ("target-leak", "mild", "TW205"),
        ("repeated-batches", "mild", "TW207"),
        ("sorted", "mild", "TW206"),
        ("masked-to-zero", "mild", "TW310"),
        ("imbalance", "strong", "TW204"),
    ],
)
def test_samples_tell_what_is_planted_in_them(name, strength, code):
    faulty, _ = built(Run("digits", "adam-constant", name, strength))
    before = faulty.random.bit_generator.state
    assert [found.code for found in sample_findings(faulty)] == [code]
    assert faulty.random.bit_generator.state == before


@pytest.mark.parametrize("hard", ["usual", "weighed-classes", "augmented", "tiny-validation"])
def test_samples_of_healthy_runs_tell_nothing(hard):
    strength = "none" if hard == "usual" else "strong"
    assert sample_findings(built(Run("digits", "adam-constant", hard, strength))[0]) == []


def test_the_guard_repairs_a_run_that_would_end_in_nan():
    run = Run("digits", "adam-constant", "zero-by-zero", "strong", plan.MID)
    make(run)
    ((meta, _),) = store.load(["digits"])
    assert not meta["outcome"]["is_finite"]
    found = repaired(run)
    assert math.isfinite(found.honest)
    assert found.guarded >= 1
    assert found.steps <= MOST * STEPS


def test_a_sound_run_is_left_as_it_is():
    make(USUAL)
    ((meta, _),) = store.load(["digits"])
    found = repaired(USUAL)
    assert (found.did, found.guarded, found.steps) == ([], 0, STEPS)
    assert found.honest == pytest.approx(meta["outcome"]["honest_loss"], rel=1e-3)


def test_a_log_is_cut_at_a_share_of_its_steps():
    make(USUAL)
    ((_, log),) = store.load(["digits"])
    half = cut(log, 0.5)
    assert half.series["loss"].steps.tolist() == list(range(1, STEPS // 2 + 1))
    assert all(row.steps.max(initial=0) <= STEPS / 2 for row in half.series.values())
