"""FaultBench's runs in other tools' formats: what is written is what our readers find."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from benchmarks.health_formats import CASES
from benchmarks.healthbench.written import FORMATS, HELD_BACK, as_written, is_visible

from thalweg.health.diagnosis import diagnose
from thalweg.record.foreign.log import Log, Series

STEPS, EVERY = 60, 12


def stored(*, bad: range = range(0), **meta: Any) -> tuple[dict[str, Any], Log]:
    """A run of the bench, of which the losses of some steps are NaN."""
    at = np.arange(1.0, STEPS + 1)
    held = at[EVERY - 1 :: EVERY]
    loss = np.array([math.nan if step in bad else 1.0 + step / 100 for step in range(1, STEPS + 1)])
    columns = {
        "loss": (at, loss),
        "lr": (at, 0.1 / at),
        "gradient_norm": (at, np.where(np.isnan(loss), math.nan, 2.0 + at)),
        "seconds": (at, np.full(STEPS, 0.25)),
        "validation_loss": (held, 3.0 + held / 100),
        "validation_accuracy": (held, held / 100),
        "train_eval_loss": (held, 2.0 + held / 100),
    }
    log = Log("run", "bench", series={name: Series(name, *pair) for name, pair in columns.items()})
    recipe = {"steps": STEPS, "accumulate": 1, "batch_size": 8, "lr": 0.1, "weight_decay": 0.0}
    known = {"recipe": recipe, "steps_per_epoch": 20, "notes": {}, "chance_loss": 2.3}
    outcome = {"is_finite": not bad, "dead": 0.0, "saturated": 0.0, "final_loss": 1.0}
    outcome |= {"least_loss": 1.0, "end_loss": 1.0}
    return known | {"outcome": outcome, "fault": None} | meta, log


@pytest.mark.parametrize("name", FORMATS)
def test_a_log_comes_back(name):
    meta, log = stored()
    read = as_written(meta, log, name, 10)
    offset = {"keras": 0, "lightning": -1}.get(name, 0)
    if name == "keras":
        assert read.unit == "epoch"
        assert read.series["loss"].steps.tolist() == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(read.series["loss"].values[0], 1.065)
    else:
        shift = 0.045 if FORMATS[name].is_mean else 0.0
        at = read.series["loss"].steps - offset
        is_due = np.isin(at, np.arange(10, STEPS + 1, 10))
        assert is_due.sum() == 6
        np.testing.assert_allclose(
            read.series["loss"].values[is_due], 1 + at[is_due] / 100 - shift, atol=1e-4
        )
        held = read.series["validation_loss"].steps - offset
        assert held.tolist() == list(range(EVERY, STEPS + 1, EVERY))
    np.testing.assert_allclose(
        read.series["validation_loss"].values, log.series["validation_loss"].values, atol=1e-4
    )
    assert ("gradient_norm" in read.series) is (name == "hf")
    assert ("lr" in read.series) is (name in ("hf", "tensorboard"))


def test_a_trainer_hides_what_is_not_finite():
    meta, log = stored(bad=range(14, 17))
    values = as_written(meta, log, "hf").series["loss"].values
    assert np.isfinite(values).all()
    meta, log = stored(bad=range(21, STEPS + 1))
    assert np.isnan(as_written(meta, log, "hf").series["loss"].values).tolist() == [
        *(False, False),
        *(True, True, True, True),
    ]


@pytest.mark.parametrize(
    ("name", "bad", "expected"),
    [
        ("csv", range(14, 15), True),
        ("tensorboard", range(14, 15), False),
        ("tensorboard", range(20, 21), True),
        ("keras", range(14, 15), True),
        ("hf", range(14, 15), False),
        ("hf", range(11, 21), True),
    ],
)
def test_nan_of_single_steps_shows_where_a_row_holds_it(name, bad, expected):
    meta, log = stored(bad=bad, fault="masked")
    assert is_visible(meta, log, as_written(meta, log, name), name) is expected


@pytest.mark.parametrize(("step", "expected"), [(20, True), (21, False)])
def test_a_spike_shows_where_a_row_holds_it(step, expected):
    meta, log = stored(fault="spikes", notes={"spike_steps": [step]})
    read = as_written(meta, log, "tensorboard")
    assert is_visible(meta, log, read, "tensorboard") is expected
    assert is_visible(meta, log, as_written(meta, log, "csv"), "csv")


@pytest.mark.parametrize(
    ("fault", "expected"), [("dead-biases", False), ("few-samples", True), ("tiny-batch", True)]
)
def test_a_fault_shows_where_its_check_has_what_it_needs(fault, expected):
    meta, log = stored(fault=fault)
    assert is_visible(meta, log, as_written(meta, log, "hf"), "hf") is expected


def test_a_file_that_is_refused_is_a_log_that_says_nothing():
    meta, log = stored(fault="few-samples")
    read = as_written(meta, log, "hf", 50)
    assert read.notes == ["trainer_state.json has one row with a loss: a curve needs two or more"]
    assert diagnose(read).state == "unknown"
    assert not is_visible(meta, log, read, "hf", 50)


def test_one_format_is_held_back():
    assert HELD_BACK in FORMATS
    assert HELD_BACK not in dict(CASES)
