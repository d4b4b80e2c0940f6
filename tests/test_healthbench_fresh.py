"""The bench's fresh tasks: losses of their own, below zero too, and what is planted in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from benchmarks import health_data
from benchmarks.health import main as health
from benchmarks.healthbench import judge, kitchen, store
from benchmarks.healthbench.loop import train
from benchmarks.healthbench.make import make
from benchmarks.healthbench.objectives import BLOCK, LATENTS, OBJECTIVES, QUANTILES, bound, pinball
from benchmarks.healthbench.outcome import outcome
from benchmarks.healthbench.parts import Data, Part
from benchmarks.healthbench.plan import Run, built, runs
from benchmarks.healthbench.planted import FAULTS, FRESH_FAULTS, FRESH_HARD, HARD, UNSEEN_FAULTS
from benchmarks.healthbench.recipes import TASKS

from parts_kit import begins, planned, shorten
from thalweg.health.codes import CODES

FRESH = [name for name, task in TASKS.items() if task.part == "fresh"]
NUM_TRAIN, NUM_VALIDATION = 400, 128
PLANTS = FRESH_FAULTS | FRESH_HARD


def _made_up(task: str) -> Data:
    """Small data of the kind and the shape that the task has."""
    random = torch.Generator().manual_seed(0)
    num = NUM_TRAIN + NUM_VALIDATION

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(num, *shape, generator=random)

    def whole(top: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, top, (num, *shape), generator=random)

    strokes = normal(16)
    x, y, num_outputs = {
        "forecast": lambda: (normal(12, 8), normal(4), 4 * len(QUANTILES)),
        "genres": lambda: (whole(2048, 24), (normal(7) > 0).float(), 7),
        "counts": lambda: (torch.cat([whole(3, 7).float(), normal(4)], 1), whole(5, 1).float(), 1),
        "strokes": lambda: (strokes, strokes, 16),
        "views": lambda: (normal(2, 12), whole(6, 1).float(), 2),
        "grades": lambda: (normal(13), torch.arange(num) % 9, 8),
        "picks": lambda: (whole(50, 11), torch.arange(num) % 10, 10),
        "noise": lambda: (normal(2, 8, 8), normal(1, 8, 8), 1),
    }[TASKS[task].kind]()
    parts = Part(x[:NUM_TRAIN], y[:NUM_TRAIN]), Part(x[NUM_TRAIN:], y[NUM_TRAIN:])
    return Data(TASKS[task].kind, *parts, num_outputs=num_outputs)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    shorten(monkeypatch, tmp_path, FRESH, _made_up)


@pytest.mark.parametrize("task", FRESH)
def test_every_recipe_trains(task):
    for recipe in kitchen.RECIPES[task]:
        made, meta = built(Run(task, recipe))
        made.end = 3
        assert outcome(train(made), {}, made.data.floor)["is_finite"]
        assert meta["part"] == "fresh"
        assert meta["chance_loss"] > 0


@pytest.mark.parametrize("name", PLANTS)
def test_each_can_be_planted(name):
    begins(PLANTS[name], FRESH)


def test_there_are_enough_and_names_are_unique():
    everything, kinds = planned(FRESH)
    assert kinds["usual"] >= 270
    assert kinds["hard"] >= 200
    assert kinds["fault"] >= 420
    assert {run.planted for run in everything if run.row} == set(PLANTS)


def test_other_tasks_have_nothing_of_theirs():
    others = [name for name in TASKS if name not in FRESH]
    assert not {run.planted for run in runs(others)} & set(PLANTS)
    assert not set(FAULTS | HARD | UNSEEN_FAULTS) & set(PLANTS)
    assert {code for row in FRESH_FAULTS.values() for code in row.codes} <= set(CODES)


def test_runs_lie_apart_and_a_quiet_log_holds_losses_alone():
    make(Run("incomes", "adam-step-quiet"))
    assert store.folder("incomes").parent.name == "faultbench-fresh"
    assert list(store.load(part="unseen")) == []
    [(_, log)] = store.load(part="fresh")
    assert {name.partition(":")[0] for name in log.series} == set(store.UNSCORED)


def test_commands_take_the_part(capsys):
    assert health_data.parse(["--fresh"]).tasks == FRESH
    assert not set(health_data.parse([]).tasks) & set(FRESH)
    with pytest.raises(SystemExit):
        health(["--unseen", "--fresh"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("task", FRESH)
def test_chance_is_above_the_floor(task):
    data = _made_up(task)
    assert data.chance_loss > data.floor


def test_a_constant_answer_costs_what_is_said():
    y = torch.tensor([[0.0], [1.0], [2.0], [5.0]])
    best = OBJECTIVES["counts"].loss(y.mean().log().expand(4, 1), y)
    assert OBJECTIVES["counts"].chance(y) == pytest.approx(float(best))
    assert OBJECTIVES["views"].chance(y) == pytest.approx(math.log(BLOCK))
    grades = torch.tensor([0, 1, 2, 2])
    above = torch.tensor([0.75, 0.5]).logit().expand(4, 2)
    entropy = float(OBJECTIVES["grades"].loss(above, grades))
    assert OBJECTIVES["grades"].chance(grades) == pytest.approx(entropy)
    outputs = torch.zeros(4, 32 + 2 * LATENTS)
    standard = 16 * 0.5 * math.log(2 * math.pi)
    assert float(bound(outputs, torch.zeros(4, 16))) == pytest.approx(standard)


def test_quantiles_are_found_by_their_loss():
    y = torch.linspace(0, 1, 101)[:, None]
    low, middle, high = QUANTILES
    best = pinball(torch.tensor([low, middle, high]).expand(101, 3), y)
    assert best < pinball(torch.tensor([low, middle, high + 0.1]).expand(101, 3), y)
    assert best < pinball(torch.tensor([high, middle, low]).expand(101, 3), y)


def test_losses_below_zero_are_judged_from_their_floor():
    made, meta = built(Run("strokes", "adam-constant-rare"))
    made.end = 12
    columns = train(made)
    how, raw = outcome(columns, {}, made.data.floor), outcome(columns, {})
    assert made.data.floor < 0
    assert how["end_loss"] == pytest.approx(raw["end_loss"] - made.data.floor)
    assert how["honest_loss"] == pytest.approx(raw["honest_loss"] - made.data.floor)
    assert meta["chance_loss"] == pytest.approx(made.data.chance_loss - made.data.floor)


def test_harm_by_error_where_the_target_has_another_unit():
    how = {"final_loss": 0.1, "least_loss": 0.1, "end_loss": 0.1, "honest_loss": 0.1}
    how |= {"final_error": 0.1, "least_error": 0.1, "honest_r2": 0.9, "is_finite": True}
    how |= {"dead": 0.0, "saturated": 0.0}
    run = {"task": "weather", "recipe": "a", "seed": 0, "planted": None}
    usual = {"fault": None, "hard": None, "chance_loss": 2.0, "run": run, "outcome": how}
    usual |= {"recipe": {"shape": {"body": "gru"}}, "part": "fresh"}
    for right, status in ((0.9, "neither"), (0.5, "fault")):
        other = {**how, "honest_loss": 900.0, "honest_r2": right}
        faulty = usual | {"fault": "unscaled-targets", "outcome": other}
        assert judge.judged([usual, faulty])[1]["status"] == status


def test_a_dead_sensor_says_the_same_of_every_sample():
    made, meta = built(Run("incomes", "adam-cycle-often", "sensor-dead", "strong", "mid"))
    rows = made.data.train.rows(np.arange(8))
    before = made.changes[-1](meta["onset"] - 1, rows.x, rows.y)[0]
    after = made.changes[-1](meta["onset"], rows.x, rows.y)[0]
    assert torch.equal(before, rows.x)
    assert torch.equal(after, after[:1].expand(8, -1))
