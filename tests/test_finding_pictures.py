"""The pictures of the findings' pages: every finding has its fault, the clearest run is taken."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.finding_pictures import TASKS, WANTED, Case, caption, column, drawn_lines, rank
from benchmarks.healthbench.planted import FAULTS
from benchmarks.healthbench.recipes import TASKS as RECIPES

from thalweg.health.codes import CODES
from thalweg.record.foreign.log import Log, Series
from thalweg.types import Finding


@pytest.mark.parametrize("code", CODES)
def test_what_is_planted_for_a_picture_has_the_finding(code):
    row = FAULTS[WANTED[code].fault]
    assert code in row.codes or row.high_rate
    assert WANTED[code].words.format(amount=row.strong[0], decay=0.1)


def test_no_picture_is_of_a_held_out_task():
    assert {RECIPES[task].part for task in TASKS} == {"tuning"}


def case(
    name: str = "x", *, by: str = "first", sure: float = 0.9, since: int = 1, task: str = "digits"
) -> Case:
    recipe = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0}
    run = {"task": task}
    meta = {"codes": ["TW104"], "name": name, "onset": 1, "run": run, "recipe": recipe}
    log = Log("x", "bench", series={"loss": Series.of("loss", [(n, 1.0) for n in range(1, 101)])})
    found = Finding("TW104", "stuck at chance", "act", since, sure, {}, "") if by else None
    return Case(meta | {"amount": 1.0}, log, found, by)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (case(sure=0.5), case(by="monitor", sure=0.9)),
        (case(by="monitor"), case(by="among others")),
        (case(by="among others"), case(by="")),
        (case(sure=0.9), case(sure=0.7)),
        (case(task="digits"), case(task="diamonds")),
        (case(since=3), case(since=60)),
        (case("a"), case("b")),
    ],
)
def test_the_clearest_case_comes_first(better, worse):
    assert rank("TW104", better) < rank("TW104", worse)


def test_a_caption_says_task_optimizer_fault_and_what_was_said():
    assert caption("TW104", case(since=0)) == (
        "Digits, 64 pixels as columns; SGD with momentum, rate 0.1. Planted from the start: inputs "
        "that are all zero. Grey: the same run without it. thalweg diagnose names TW104 first, "
        "since step 1, 90% sure."
    )
    assert "thalweg.monitor says TW104 at step 2" in caption("TW104", case(by="monitor", since=2))


def test_columns_of_layers_are_joined_and_one_that_is_not_there_is_left_out():
    log = Log("x", "bench")
    for name, values in (("a.weight", [3.0, 0.0]), ("a.bias", [4.0, 1.0])):
        log.series[f"parameter_norm:{name}"] = Series.of(name, enumerate(values))
    assert np.array_equal(column(log, "parameter_norm").values, [5.0, 1.0])
    assert len(column(log, "dead")) == 0
    lines = list(drawn_lines(log, Log("y", "bench"), ("parameter_norm",), "without"))
    assert [line.look for line in lines] == ["train"]
