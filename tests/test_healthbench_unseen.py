"""The bench's unseen tasks: other data, networks and plants, kept apart from the ten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks import health_data
from benchmarks.health import main as health
from benchmarks.healthbench import judge, kitchen, store
from benchmarks.healthbench.loop import train
from benchmarks.healthbench.make import make
from benchmarks.healthbench.outcome import outcome
from benchmarks.healthbench.parts import WINDOW, Data, Part
from benchmarks.healthbench.plan import Run, built, runs
from benchmarks.healthbench.planted import FAULTS, HARD, UNSEEN_FAULTS, UNSEEN_HARD
from benchmarks.healthbench.recipes import TASKS

from parts_kit import begins, planned, shorten
from thalweg.health.codes import CODES

UNSEEN = [name for name, task in TASKS.items() if task.part == "unseen"]
NUM_TRAIN, NUM_VALIDATION = 400, 120


def _made_up(task: str) -> Data:
    """Small data of the kind and the shape that the task has."""
    row, random = TASKS[task], torch.Generator().manual_seed(0)
    num = NUM_TRAIN + NUM_VALIDATION
    shapes = {"passed": (1, 8, 8), "convnet": (1, 14, 14), "narrow": (196,)}
    x = torch.randn(num, *shapes.get(row.family, (9,)), generator=random)
    if row.family in ("vectors", "reader"):
        x = torch.randint(0, 40, (num, 2 if row.family == "vectors" else 12), generator=random)
    if row.kind == "classes":
        y = torch.arange(num) % row.num_classes
    elif row.kind == "symbols":
        x = torch.randint(0, 20, (num, WINDOW), generator=random)
        y = x.roll(-1, 1)
    else:
        num_outputs = {"narrow": 196, "convnet": 10}.get(row.family, 1)
        y = x if row.family == "narrow" else torch.randn(num, num_outputs, generator=random)
        y = (y > 0).float() if row.kind == "labels" else y
    parts = Part(x[:NUM_TRAIN], y[:NUM_TRAIN]), Part(x[NUM_TRAIN:], y[NUM_TRAIN:])
    outputs = {"classes": row.num_classes, "symbols": 20}.get(row.kind, y.shape[-1])
    return Data(row.kind, *parts, num_outputs=outputs, huber=task == "flights")


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    shorten(monkeypatch, tmp_path, UNSEEN, _made_up)


@pytest.mark.parametrize("task", UNSEEN)
def test_every_recipe_trains(task):
    for recipe in kitchen.RECIPES[task]:
        made, meta = built(Run(task, recipe))
        made.end = 3
        columns = train(made)
        assert outcome(columns, {})["is_finite"]
        assert meta["part"] == "unseen"
        assert meta["kind"] == TASKS[task].kind


PLANTS = UNSEEN_FAULTS | UNSEEN_HARD


@pytest.mark.parametrize("name", PLANTS)
def test_each_can_be_planted(name):
    begins(PLANTS[name], UNSEEN)


def test_there_are_enough_and_names_are_unique():
    everything, kinds = planned(UNSEEN)
    assert kinds["usual"] >= 400
    assert kinds["hard"] >= 150
    assert kinds["fault"] >= 450
    assert {run.planted for run in everything} >= set(PLANTS)
    place = {run: i for i, run in enumerate(everything)}
    assert all(place[run.twin] <= place[run] for run in everything)


def test_the_ten_tasks_have_nothing_of_theirs():
    ten = [name for name, task in TASKS.items() if task.part in ("tuning", "held-out")]
    assert not {run.planted for run in runs(ten)} & set(PLANTS)
    assert not set(FAULTS | HARD) & set(PLANTS)
    tuned = {row.optimizer for name in ten for row in kitchen.RECIPES[name].values()}
    unseen = {row.optimizer for row in kitchen.RECIPES[UNSEEN[0]].values()}
    assert len(unseen - tuned) >= 5


def test_codes_are_findings():
    assert {code for row in UNSEEN_FAULTS.values() for code in row.codes} <= set(CODES)


def test_runs_lie_apart_and_are_read_by_part():
    make(Run("photo", "adafactor-root-warm"))
    assert store.folder("photo").parent != store.folder("digits").parent
    assert [meta["part"] for meta, _ in store.load(part="unseen")] == ["unseen"]
    assert list(store.load(part="tuning")) == []
    assert list(store.load(part="held-out")) == []


def test_commands_take_the_part(capsys):
    assert health_data.parse(["--unseen"]).tasks == UNSEEN
    assert not set(health_data.parse([]).tasks) & set(UNSEEN)
    with pytest.raises(SystemExit):
        health(["--unseen", "--held-out"])
    assert "not allowed with" in capsys.readouterr().err


def test_evaluations_are_as_many_as_the_recipe_says():
    for recipe, count in (("adamax-linear-small", 10), ("adamw-cosine-long", 60)):
        assert len(train(built(Run("photo", recipe))[0]).evaluations) == count


def test_averaged_weights_are_scored():
    made, _ = built(Run("photo", "nadam-constant-average"))
    columns = train(made)
    with torch.no_grad():
        x, y = made.data.validation.x, made.data.validation.y
        means, last = (float(made.logged(model(x), y)) for model in (made.scored, made.model))
    assert columns.ends["honest_loss"] == pytest.approx(means)
    assert means != pytest.approx(last, rel=1e-6)


def test_the_loss_of_a_constant_answer():
    y = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    part = Part(y, y)
    assert Data("labels", part, part, 1).chance_loss == pytest.approx(0.5623, rel=1e-3)
    assert Data("numbers", part, part, 1).chance_loss == pytest.approx(0.1875)
    tail = torch.tensor([[0.0]] * 9 + [[10.0]])
    huber = Data("numbers", Part(tail, tail), Part(tail, tail), 1, huber=True)
    assert huber.chance_loss == pytest.approx(0.95, abs=0.01)


def _row(**how) -> dict:
    loss = {"honest_loss": 0.1, "final_loss": 0.1, "least_loss": 0.1, "end_loss": 0.1}
    how = loss | {"final_error": 0.1, "least_error": 0.1, "honest_accuracy": 0.9} | how
    how |= {"is_finite": True, "dead": 0.0, "saturated": 0.0}
    run = {"task": "shuttle", "recipe": "a", "seed": 0, "planted": None}
    known = {"fault": None, "hard": None, "chance_loss": 2.0, "run": run, "outcome": how}
    return known | {"recipe": {"shape": {"body": "gru"}}, "part": "unseen"}


def test_a_run_that_misses_a_class_is_not_healthy():
    for part, missed, status in (
        ("unseen", 0, "healthy"),
        ("unseen", 1, "neither"),
        ("tuning", 1, "healthy"),
    ):
        row = _row(num_missed=missed) | {"part": part}
        assert judge.judged([row])[0]["status"] == status


def test_what_is_logged_must_be_worse_than_what_is_true():
    for logged, status in ((0.2, "fault"), (0.11, "neither")):
        faulty = _row(final_loss=logged) | {"fault": "validation-augmented"}
        assert judge.judged([_row(), faulty])[1]["status"] == status


def test_rows_are_shifted_against_their_targets():
    usual, _ = built(Run("photo", "adafactor-root-warm"))
    made, _ = built(Run("photo", "adafactor-root-warm", "rows-shifted", "mild"))
    first = NUM_TRAIN - round(0.4 * NUM_TRAIN)
    before, after = usual.data.train.y.numpy(), made.data.train.y.numpy()
    np.testing.assert_array_equal(after[:first], before[:first])
    np.testing.assert_array_equal(after[first + 1 :], before[first:-1])


def test_a_rate_rises_at_each_milestone():
    run = Run("photo", "adadelta-constant", "rate-rises", "strong", "mid")
    made, meta = built(run)
    rates = [made.rate(step) for step in range(1, 61)]
    ratios = np.array(rates) / rates[0]
    onset = meta["onset"]
    np.testing.assert_allclose(ratios[: onset - 1], 1)
    assert ratios[onset - 1] == pytest.approx(6)
    assert ratios[-1] == pytest.approx(36)
