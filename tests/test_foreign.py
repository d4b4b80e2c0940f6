"""Logs that real packages wrote: every part is found, and the tool is named."""

from __future__ import annotations

import numpy as np
import pytest

from foreign_kit import GENUINE, curve, read
from thalweg.record.foreign import find_logs

TRAINER = ("loss", "validation_loss", "lr", "gradient_norm", "seconds")
LIGHTNING = (*TRAINER[:4], "train_accuracy", "validation_accuracy")
KERAS = ("loss", "validation_loss", "train_accuracy", "validation_accuracy")

LOGS = {
    "huggingface/healthy": ("trainer_state", "huggingface", "step", TRAINER),
    "huggingface/nan_by_itself.txt": ("text", "huggingface", "epoch", TRAINER),
    "lightning/version_0": ("csv", "lightning", "step", LIGHTNING),
    "lightning/version_1": ("tensorboard", "lightning", "step", (*LIGHTNING, "seconds")),
    "lightning/bar.txt": ("text", "lightning", "step", ("loss", "validation_loss", "seconds")),
    "keras/logs": ("tensorboard", "keras", "epoch", (*KERAS, "lr", "seconds")),
    "keras/log.csv": ("csv", "keras", "epoch", KERAS),
    "keras/history.json": ("jsonl", "keras", "epoch", KERAS),
    "keras/bar.txt": ("text", "keras", "epoch", (*KERAS, "seconds")),
    "keras/lines.txt": ("text", "keras", "epoch", (*KERAS, "seconds")),
    "fastai.csv": ("csv", "fastai", "epoch", ("loss", "validation_loss", "validation_accuracy")),
    "events/torch": ("tensorboard", "", "step", ("loss", "validation_loss", "lr", "seconds")),
    "events/sets": ("tensorboard", "", "step", ("loss", "validation_loss", "seconds")),
    "events/tensorboardX": ("tensorboard", "", "step", ("loss", "seconds")),
}
"""Format, tool, unit of the steps, and series, of each."""


@pytest.mark.parametrize(("name", "expected"), LOGS.items(), ids=LOGS)
def test_a_genuine_log_is_read_whole(name, expected):
    log = read(GENUINE / name)
    assert (log.format, log.tool, log.unit, set(log.series)) == (*expected[:3], set(expected[3]))
    for series in log.series.values():
        assert (np.diff(series.steps) > 0).all()


def test_the_same_run_reads_the_same_from_a_table_and_from_events():
    table, events = (read(GENUINE / f"lightning/version_{i}") for i in (0, 1))
    for role in LIGHTNING:
        np.testing.assert_array_equal(table.series[role].steps, events.series[role].steps)
        np.testing.assert_allclose(table.series[role].values, events.series[role].values, 1e-6)
    assert table.settings == {"batch_size": 16, "lr": 0.05, "weight_decay": 0.01}


def test_a_bar_tells_the_same_as_the_table_that_was_written_beside_it():
    table, bar = read(GENUINE / "lightning/version_0"), read(GENUINE / "lightning/bar.txt")
    for role in ("loss", "validation_loss"):
        np.testing.assert_array_equal(table.series[role].steps + 1, bar.series[role].steps)
        np.testing.assert_allclose(table.series[role].values, bar.series[role].values, 5e-3)


def test_all_of_kerass_logs_tell_the_same():
    names = ("keras/log.csv", "keras/logs", "keras/history.json", "keras/bar.txt")
    first, *others = [read(GENUINE / name) for name in names]
    for other in others:
        for role in KERAS:
            np.testing.assert_allclose(
                first.series[role].values, other.series[role].values, atol=6e-5
            )


def test_a_folder_lists_each_run_once():
    found = [str(path.relative_to(GENUINE)) for path in find_logs(str(GENUINE))]
    assert len(found) == len(set(found))
    assert {"keras/logs", "events/sets", "lightning/version_1", "fastai.csv"} <= set(found)
    assert "huggingface/healthy/trainer_state.json" in found
    assert not [name for name in found if "/train" in name.replace("/trainer", "")]
    assert not [name for name in found if name.endswith((".yaml", ".md"))]


def test_the_clock_of_events_tells_seconds_a_step():
    seconds = read(GENUINE / "events/torch").series["seconds"]
    np.testing.assert_allclose(seconds.values, 0.5)
    assert seconds.steps[0] == 1


def test_seconds_of_a_bar_are_those_of_a_step():
    assert curve(read(GENUINE / "keras/lines.txt"), "seconds")[0] == (1.0, 0.017)


def test_events_of_keras_validation_alone_are_a_validation_loss():
    (file,) = (GENUINE / "keras/logs/validation").iterdir()
    log = read(file)
    assert "loss" not in log.series
    assert log.series["validation_loss"].name == "epoch_loss"
