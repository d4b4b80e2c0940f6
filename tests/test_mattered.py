"""What mattered: columns, rows and groups; each law is checked against numbers made by hand."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import thalweg
import thalweg.jobs.write
from mattered_kit import ROWS, TASKS, fit, rows
from thalweg.tasks import measure
from thalweg.tasks.mattered.budget import REPEATS
from thalweg.tasks.mattered.headline import headline_of
from thalweg.tasks.mattered.importance import Rows
from thalweg.tasks.task import Task

DRAW = np.random.default_rng(7)


def by_name(run):
    return {row["column"]: row for row in run.result["importance"]}


@pytest.fixture(scope="module")
def held():
    """Rows that were given to validate and test, and the run."""
    parts = {"validation": rows(300, 8), "test": rows(400, 9)}
    return parts, fit(drop="town", by="town", label_smoothing=0, **parts)


def test_one_pass_over_each_set_tells_all(monkeypatch):
    """Scores, threshold, temperature, worst rows, groups, the report's pictures."""
    passes = Counter()
    plain = measure.chunks_of

    def counted(source):
        passes[len(source)] += 1
        return plain(source)

    monkeypatch.setattr(measure, "chunks_of", counted)
    parts = {"validation": rows(311, 8), "test": rows(417, 9)}
    run = fit(drop="town", by="town", steps=5, evaluate_every=5, metric="f1", **parts)
    assert passes == {311: 2, 417: 1, run.result["task"]["train_rows"]: 1}, "one was while training"
    assert run.result["groups"]
    assert run.record.results["confusion"]


# --- columns -------------------------------------------------------------------------------------


def test_what_decides_is_first_and_noise_cannot_be_told_from_nothing():
    run = fit(drop="town,flat")
    found = by_name(run)
    assert run.result["importance"][0]["column"] == "copy"
    assert found["copy"]["low"] > 0.2
    assert {name for name, row in found.items() if row["is_clear"]} <= {"copy", "size"}
    for name in ("noise", "more noise"):
        assert found[name]["low"] <= 0 <= found[name]["high"]
    how = run.result["importance_how"]
    assert (how["metric"], how["rows"], how["of_rows"], how["columns"]) == ("accuracy", 60, 60, 4)
    assert how["repeats"] == REPEATS
    assert how["seconds"] > 0
    assert "mattered most: copy (accuracy" in str(run)


def test_effects_are_those_that_are_counted_by_hand(held):
    parts, run = held
    frame, draws = parts["validation"], np.random.default_rng(0)
    right = (run.predict(frame)["prediction"] == frame["class"]).mean()
    shuffled = [frame.with_columns(frame["copy"].gather(draws.permutation(300))) for _ in range(40)]
    hits = [(run.predict(each)["prediction"] == frame["class"]).mean() for each in shuffled]
    row = by_name(run)["copy"]
    assert run.result["importance_how"]["value"] == pytest.approx(right, abs=1e-12)
    assert row["worse_by"] == pytest.approx(right - np.mean(hits), abs=3 * np.std(hits))
    assert row["low"] < right - np.mean(hits) < row["high"]


@pytest.mark.parametrize("name", TASKS)
def test_every_kind_of_task_is_measured_in_its_own_metric(name):
    settings, metric = TASKS[name]
    frame = rows().with_columns(heavy=pl.Series(np.arange(ROWS) % 3))
    run = fit(frame, **{"epochs": 4, "by": "town", **settings})
    how, effects = run.result["importance_how"], run.result["importance"]
    assert how["metric"] == metric
    assert len(effects) == run.result["task"]["features"] == how["columns"]
    assert all(math.isfinite(row["worse_by"]) for row in effects)
    assert all(row["low"] <= row["worse_by"] <= row["high"] for row in effects)
    assert how["value"] == pytest.approx(run.result["validation"][metric], rel=1e-6)
    groups = run.result["groups"]
    assert (groups["metric"], groups["rows"]) == (metric, run.result["task"]["test_rows"])
    assert groups["value"] == pytest.approx(run.result["test"][metric], rel=1e-6)
    assert len(run.result["worst"]) == 10


def test_labels_are_measured_by_their_accuracy():
    draw = np.random.default_rng(3)
    frame = pl.DataFrame({"a": draw.normal(size=400), "b": draw.normal(size=400)})
    tags = [";".join(n for n in "ab" if row[n] > 0) for row in frame.iter_rows(named=True)]
    run = fit(frame.with_columns(tags=pl.Series(tags)), target="tags", separator=";", by="tags")
    assert run.result["importance_how"]["metric"] == "accuracy"
    assert all(row["is_clear"] for row in run.result["importance"])
    assert {row["true"] for row in run.result["worst"]} <= {"", "a", "b", "a;b"}
    assert sum(row["rows"] for row in run.result["groups"]["groups"]) == 40


def task_of(net, count=200, width=3):
    inputs = torch.from_numpy(DRAW.normal(size=(count, width))).float()
    return Task(net, (inputs, (inputs[:, 0] > 0).long()), validation=(inputs, inputs[:, 0].long()))


def test_where_nothing_is_shuffled_nothing_changes():
    """No inputs, or inputs that are all alike, to the bit; and the inputs are as they were."""
    task = task_of(nn.Linear(3, 2))
    inputs = torch.cat([task.data.inputs[:, :2], torch.ones(200, 1)], dim=1)
    batch = (inputs, task.data.targets)
    with torch.no_grad():
        found = Rows(task, headline_of(task), batch, 5, 0)
        before = inputs.clone()
        for block in (slice(0, 0), slice(2, 3)):
            effect = found.effect("nothing", block, 0)
            assert (effect.worse_by, effect.low, effect.high) == (0.0, 0.0, 0.0)
            assert not effect.is_clear
        assert found.effect("first", slice(0, 1), 0).worse_by != 0
    assert torch.equal(inputs, before)


def test_the_inputs_of_a_column_are_shuffled_together():
    """Each row keeps one level: a model that counts levels answers as before."""
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight[:], net.bias[:] = torch.tensor([[1.0] * 3, [0.0] * 3]), torch.tensor([0.0, 0.5])
    levels = torch.eye(3)[torch.from_numpy(DRAW.integers(0, 3, 200))]
    targets = torch.zeros(200).long()
    task = Task(net, (levels, targets))
    with torch.no_grad():
        found = Rows(task, headline_of(task), (levels.clone(), targets), 3, 0)
        assert found.effect("levels", slice(0, 3), 0).worse_by == 0
        assert found.effect("a part of them", slice(0, 1), 0).worse_by > 0


# --- what it must leave alone ---------------------------------------------------------------------


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    runs = [fit(by="town", epochs=3, seed=seed) for seed in (0, 0, 1)]
    for name in ("importance", "worst", "groups"):
        first, again, other = (run.result[name] for run in runs)
        assert json.dumps(first) == json.dumps(again) != json.dumps(other)


def test_a_fit_with_it_and_without_gives_the_same_weights_and_draws(monkeypatch, tmp_path):
    class Drops(nn.Module):
        """Draws even when it is only looked at."""

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, inputs):
            return self.linear(inputs) + 0.1 * torch.randn(len(inputs), 2)

    inputs = rows().select("noise", "copy", "size", "more noise").to_numpy().astype(np.float32)
    targets = (rows()["class"] == "yes").to_numpy().astype(np.int64)

    def trained():
        torch.manual_seed(5)
        np.random.seed(5)
        net = Drops()
        net.linear.eval()
        run = thalweg.fit((inputs, targets), model=net, epochs=3, out=str(tmp_path), quiet=True)
        modes = [module.training for module in net.modules()]
        return run, modes, torch.get_rng_state(), np.random.get_state()[1].tolist()

    one = trained()
    monkeypatch.setattr(thalweg.jobs.write, "mattered", lambda *_, **__: {})
    other = trained()
    assert one[0].result["importance"]
    assert "importance" not in other[0].result
    first, second = ((run.folder / "model.safetensors").read_bytes() for run in (one[0], other[0]))
    assert first == second
    assert one[1] == other[1] == [True, False]
    assert torch.equal(one[2], other[2])
    assert one[3] == other[3]


# --- models and data of one's own -----------------------------------------------------------------

X = DRAW.normal(size=(300, 3)).astype(np.float32)
Y = (X[:, 1] > 0).astype(np.int64)


def test_arrays_are_measured_input_by_input():
    run = thalweg.fit((X, Y), model=nn.Linear(3, 2), epochs=30, lr=0.05, out=None, quiet=True)
    assert run.result["importance"][0]["column"] == "x1"
    assert set(by_name(run)) == {"x0", "x1", "x2"}


def test_a_loss_of_ones_own_is_the_measure_where_there_is_no_other():
    def far(outputs, targets):
        return (outputs.squeeze(1) - targets).abs().mean()  # of a batch, not of each row

    run = thalweg.fit(
        (X, X[:, 0]), model=nn.Linear(3, 1), loss=far, epochs=30, out=None, quiet=True
    )
    assert run.result["importance_how"]["metric"] == "loss"
    assert run.result["importance"][0]["column"] == "x0"
    assert run.result["worst"] == []


NOTHING = {
    "pictures": (DRAW.normal(size=(120, 1, 8, 8)).astype(np.float32), "conv:4"),
    "tokens": (DRAW.integers(1, 9, size=(120, 6)), "transformer:8x1"),
    "wide arrays": (DRAW.normal(size=(120, 300)).astype(np.float32), nn.Linear(300, 2)),
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_has_no_columns_is_left_out(name):
    inputs, model = NOTHING[name]
    targets = np.arange(120) % 2
    run = thalweg.fit((inputs, targets), model=model, epochs=1, out=None, quiet=True)
    assert run.result["importance"] is None
    assert run.result["importance_how"] is None
    assert len(run.result["worst"]) == 10


def test_a_metric_that_fails_on_some_rows_costs_only_what_needs_it():
    """One class in a part or a group: the function of the user's own refuses, the fit does not."""

    def auc(targets, probabilities):
        if len(set(targets.tolist())) < 2:
            raise ValueError("only one class")
        return roc_auc_score(targets, probabilities[:, 1])

    run = fit(metric=auc, by="class", epochs=2)
    assert run.result["importance_how"]["metric"] == "auc"
    assert all(group["value"] is None for group in run.result["groups"]["groups"])
    assert "none of 2 groups" in str(run)


# --- rows ----------------------------------------------------------------------------------------


def test_the_worst_row_is_that_of_the_largest_loss(held):
    """`row` counts in the file that was given; the data's own rows are counted there."""
    parts, run = held
    frame = parts["validation"]
    found = run.predict(frame)
    stated = np.where(frame["class"] == "yes", found["probability_yes"], found["probability_no"])
    order = np.argsort(stated, kind="stable")[:10]
    worst = run.result["worst"]
    assert [row["row"] for row in worst] == (order + 1).tolist()
    assert [row["true"] for row in worst] == frame["class"].gather(order).to_list()
    assert [row["answer"] for row in worst] == found["prediction"].gather(order).to_list()
    assert np.allclose([row["probability_true"] for row in worst], stated[order])
    assert np.allclose([row["loss"] for row in worst], -np.log(stated[order]), rtol=1e-4)


def test_rows_count_from_1_in_the_data_and_numbers_have_their_unit():
    frame = pl.DataFrame({"x": np.arange(200.0), "y": 1000.0 + np.arange(200)})
    frame = frame.with_columns(y=pl.when(pl.col("x") == 77).then(9000.0).otherwise("y"))
    for seed in range(40):  # until row 78 validates
        run = fit(frame, target="y", seed=seed, epochs=5)
        row = run.result["worst"][0]
        if row["true"] == pytest.approx(9000):
            break
    assert row["row"] == 78
    predicted = run.predict(frame[77:78])["prediction"][0]
    assert row["answer"] == pytest.approx(predicted, rel=1e-5)
    assert row["error"] == pytest.approx(predicted - 9000, rel=1e-5)


def test_rows_that_weigh_nothing_are_not_among_the_worst():
    frame = rows().with_columns(heavy=pl.Series(np.arange(ROWS) % 3))
    worst = fit(frame, weights="heavy", epochs=2).result["worst"]
    assert {row["weight"] for row in worst} <= {1.0, 2.0}
    assert all(row["weight"] == (row["row"] - 1) % 3 for row in worst)
    losses = [row["loss"] for row in worst]
    assert losses == sorted(losses, reverse=True)
