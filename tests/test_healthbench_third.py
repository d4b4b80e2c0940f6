"""The bench's third part: five ordinary tasks, and what is planted in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks import health_data
from benchmarks.healthbench import kitchen, third_models
from benchmarks.healthbench.loop import train
from benchmarks.healthbench.outcome import outcome
from benchmarks.healthbench.parts import Data, Part
from benchmarks.healthbench.plan import Run, built, runs
from benchmarks.healthbench.planted import (
    FAULTS,
    FRESH_FAULTS,
    HARD,
    THIRD_FAULTS,
    THIRD_HARD,
    UNSEEN_FAULTS,
)
from benchmarks.healthbench.recipes import TASKS, Recipe, factor, optimizer_of

from parts_kit import begins, planned, shorten
from thalweg.health.codes import CODES

THIRD = [name for name, task in TASKS.items() if task.part == "third"]
NUM_TRAIN, NUM_VALIDATION = 400, 120
PLANTS = THIRD_FAULTS | THIRD_HARD


def _made_up(task: str) -> Data:
    """Small data of the kind and the shape that the task has."""
    row, random = TASKS[task], torch.Generator().manual_seed(0)
    num = NUM_TRAIN + NUM_VALIDATION
    if row.family in ("phrases", "language"):
        x = torch.randint(0, 40, (num, 16), generator=random)
    else:
        shape = (1, 14, 14) if row.family == "pretrained" else (10,)
        x = torch.randn(num, *shape, generator=random)
    y = torch.arange(num) % row.num_classes
    if row.kind == "numbers":
        y = torch.randn(num, 1, generator=random)
    elif row.kind == "symbols":
        y = x.roll(-1, 1)
    parts = Part(x[:NUM_TRAIN], y[:NUM_TRAIN]), Part(x[NUM_TRAIN:], y[NUM_TRAIN:])
    outputs = {"numbers": 1, "symbols": 40}.get(row.kind, row.num_classes)
    return Data(row.kind, *parts, num_outputs=outputs)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    shorten(monkeypatch, tmp_path, THIRD, _made_up)
    digits = Part(torch.randn(64, 1, 14, 14), torch.arange(64) % 10)
    monkeypatch.setattr(third_models, "digits_before", lambda: digits)
    monkeypatch.setattr(third_models, "STEPS_BEFORE", 2)
    third_models._of_digits.cache_clear()
    yield
    third_models._of_digits.cache_clear()


@pytest.mark.parametrize("task", THIRD)
def test_every_recipe_trains(task):
    for recipe in kitchen.RECIPES[task]:
        made, meta = built(Run(task, recipe))
        made.end = 3
        assert outcome(train(made), {})["is_finite"]
        assert meta["part"] == "third"


@pytest.mark.parametrize("name", PLANTS)
def test_each_can_be_planted(name):
    begins(PLANTS[name], THIRD)


def test_there_are_enough_and_names_are_unique():
    everything, kinds = planned(THIRD)
    assert kinds["usual"] >= 200
    assert kinds["hard"] >= 120
    assert kinds["fault"] >= 350
    assert {run.planted for run in everything} >= set(PLANTS)


def test_other_tasks_have_nothing_of_theirs():
    others = [name for name in TASKS if name not in THIRD]
    assert not {run.planted for run in runs(others)} & set(PLANTS)
    assert not set(FAULTS | HARD | UNSEEN_FAULTS | FRESH_FAULTS) & set(PLANTS)
    assert {code for row in THIRD_FAULTS.values() for code in row.codes} <= set(CODES)


def test_commands_take_the_part():
    assert health_data.parse(["--third"]).tasks == THIRD
    assert not set(health_data.parse([]).tasks) & set(THIRD)


def test_letters_begin_with_what_digits_have_taught():
    first, second = (
        built(Run("letters", "sgd-milestones", seed=seed))[0].model.state_dict() for seed in (0, 1)
    )
    same = {name for name in first if torch.equal(first[name], second[name])}
    assert same == {name for name in first if name.startswith("hidden")}


def test_options_reach_the_optimizer():
    recipe = kitchen.RECIPES["loans"]["sgd-light-inverse"]
    assert isinstance(recipe, Recipe)
    optimizer = optimizer_of(recipe, [torch.nn.Parameter(torch.zeros(2))])
    assert optimizer.param_groups[0]["momentum"] == recipe.options["momentum"]


def test_the_rate_returns_to_its_peak_after_a_late_resume():
    made, meta = built(Run("loans", "sgd-milestones", "peak-again", "mild", "mid"))
    rates = [made.rate(step) for step in (meta["onset"] - 1, meta["onset"], made.end)]
    assert rates[0] == pytest.approx(made.recipe.lr * factor("milestones", 0.7))
    assert rates[1:] == [made.recipe.lr] * 2


def test_batches_come_once_from_each_worker():
    made, _ = built(Run("loans", "sgd-milestones", "same-seed", "mild", "start"))
    batches = [made.order(step) for step in range(1, 18)]
    for first, later in ((0, 7), (8, 15)):
        np.testing.assert_array_equal(batches[first], batches[later])
    assert not np.array_equal(batches[7], batches[8])


def test_a_column_tells_the_class():
    made, _ = built(Run("telescope", "sgd-milestones", "target-encoded", "strong"))
    told = made.data.train.x[:, 0] > 1
    assert float((told == made.data.train.y.bool()).float().mean()) > 0.99
    assert made.honest is not None
