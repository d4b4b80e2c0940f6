"""NaN that Hugging Face's filter hides: uncovered where it is, and nowhere else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foreign_kit import GENUINE, read, written
from thalweg.record.foreign import Columns, read_text

HEALTHY = ("healthy", "bf16", "accumulated", "by_heart")


@pytest.mark.parametrize(
    ("name", "since", "count", "before"),
    [("nan_by_itself", 10, 11, "1.961"), ("nan_at_once", 2, 19, "")],
)
def test_a_run_that_died_by_itself_is_seen_to_be_dead(name, since, count, before):
    log = read(GENUINE / "huggingface" / name)
    loss = log.series["loss"]
    lost = loss.steps[np.isnan(loss.values)]
    assert (lost[0], len(lost)) == (since, count)
    assert np.isfinite(loss.values[loss.steps < since]).all()
    (note,) = [note for note in log.notes if "logging_nan_inf_filter" in note]
    assert f"from step {since} on ({count} times)" in note
    assert before in note
    raw = json.loads((GENUINE / "huggingface" / name / "trainer_state.json").read_text())
    logged = [row["loss"] for row in raw["log_history"] if "loss" in row]
    assert min(logged) == 0.0
    assert np.isfinite(logged).all(), "the filter hid all of it"


def test_what_the_trainer_printed_is_uncovered_too():
    assert (
        np.isnan(read(GENUINE / "huggingface/nan_by_itself.txt").series["loss"].values).sum() == 11
    )


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs_are_left_as_they_are(name):
    log = read(GENUINE / "huggingface" / name)
    assert np.isfinite(log.series["loss"].values).all()
    assert not [note for note in log.notes if "filter" in note]


def state(tmp_path, losses, norms=None, evals=()):
    rows = [{"step": 10 * i, "loss": loss} for i, loss in enumerate(losses, start=1)]
    for row, norm in zip(rows, norms or [], strict=False):
        row["grad_norm"] = norm
    rows += [{"step": step, "eval_loss": loss} for step, loss in evals]
    return read(written(tmp_path, "trainer_state.json", json.dumps({"log_history": rows})))


NAN = float("nan")
HIDDEN = {
    "no norms, a sudden fall": ([2.0, 1.5, 0.7, 0.0, 0.0], None, ()),
    "an evaluation is NaN": ([0.03, 0.02, 0.0, 0.0, 0.0], None, [(50, NAN)]),
    "one line in between": ([2.0, 0.0, 1.8, 1.7], [1.0, NAN, 1.0, 1.0], ()),
    "infinite norms": ([2.0, 1.0, 0.0], [1.0, 1.0, float("inf")], ()),
    "from the first line on": ([0.0, 0.0, 0.0], [NAN, NAN, NAN], ()),
}
SHOWN = {
    "learnt by heart, rounded": ([0.5, 0.01, 0.0002, 0.0, 0.0], None, ()),
    "a policy's loss": ([0.0, 0.0, 0.0, 0.01], [0.3, 0.2, 0.3, 0.2], ()),
    "zero with a finite norm": ([1.0, 0.4, 0.0, 0.0], [1.0, 0.5, 0.1, 0.1], ()),
    "zero in between": ([1.0, 0.0, 0.9], None, ()),
    "NaN norms of skipped fp16 steps": ([2.0, 1.9, 1.8], [NAN, 1.0, NAN], ()),
    "zero at the last line alone": ([1.0, 0.4, 0.0], None, ()),
}


@pytest.mark.parametrize(("losses", "norms", "evals"), HIDDEN.values(), ids=HIDDEN)
def test_hidden(tmp_path, losses, norms, evals):
    values = state(tmp_path, losses, norms, evals).series["loss"].values
    np.testing.assert_array_equal(np.isnan(values), np.array(losses) == 0)


@pytest.mark.parametrize(("losses", "norms", "evals"), SHOWN.values(), ids=SHOWN)
def test_shown(tmp_path, losses, norms, evals):
    np.testing.assert_array_equal(
        state(tmp_path, losses, norms, evals).series["loss"].values, losses
    )


def test_the_arguments_of_the_run_are_read_without_running_them():
    log = read(GENUINE / "huggingface/nan_by_itself")
    told = {"batch_size": 4, "clip": 0.0, "schedule": "linear", "optimizer": "sgd", "lr": 1e30}
    assert told.items() <= dict(log.settings).items()
    assert log.settings["precision"] == "float32"
    assert log.settings["nan_filter"] is True


def test_a_state_that_comes_from_standard_input_is_uncovered_too():
    text = (GENUINE / "huggingface/nan_at_once/trainer_state.json").read_text()
    (log,) = read_text(text, "standard input", Columns())
    assert np.isnan(log.series["loss"].values).sum() == 19


def test_where_the_filter_was_off_zeros_are_zeros(tmp_path):
    written(tmp_path, "args.json", json.dumps({"logging_nan_inf_filter": False, "lr": 0.1}))
    log = state(tmp_path, [2.0, 1.5, 0.7, 0.0, 0.0])
    assert log.series["loss"].values[-1] == 0.0
