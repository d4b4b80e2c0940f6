"""How many samples are looked at together, and that it changes nothing that a look shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.scale.threads import threads
from thalweg.tasks import at_once as rooms
from thalweg.tasks import measure
from thalweg.tasks.measure import look_at
from thalweg.tasks.metrics import METRICS
from thalweg.tasks.sources import Arrays, Part
from thalweg.tasks.task import Task
from thalweg.tasks.text.windows import Windows

INPUTS = {
    "rows": (torch.zeros(5000, 7), 1024),
    "few numbers": (torch.zeros(5000), 1024),
    "tokens": (torch.zeros(5000, 64, dtype=torch.int64), 64),
    "long texts": (torch.zeros(9, 9000, dtype=torch.int64), 1),
    "pictures": (torch.zeros(200, 3, 32, 32), 64),
    "large pictures": (torch.zeros(2, 1, 600, 600), 1),
    "no tensor": ({"ids": torch.zeros(3)}, 1024),
}


@pytest.mark.parametrize("name", INPUTS)
def test_as_many_as_the_caches_of_one_thread_hold(name):
    inputs, count = INPUTS[name]
    with threads(1):
        assert rooms.at_once_of(inputs) == count


def test_more_threads_take_more_and_other_devices_most():
    cpu, other = torch.device("cpu"), torch.device("meta")
    with threads(1):
        alone = rooms.TOKENS.samples(16, cpu)
    with threads(2):
        assert rooms.TOKENS.samples(16, cpu) == 2 * alone
    assert rooms.TOKENS.samples(16, other) == rooms.TOKENS.elsewhere // 16
    assert rooms.PIXELS.samples(1, other) == rooms.MOST


def test_a_part_is_looked_at_as_the_whole():
    windows = Windows(torch.zeros(70_000, dtype=torch.uint8), 32)
    with threads(1):
        assert rooms.at_once(windows) == rooms.at_once(Part(windows, np.arange(9))) == 128


@pytest.mark.parametrize("size", [1, 7, 300, 1000])
def test_a_look_shows_the_same_however_many_at_once(size, monkeypatch):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 5, generator=draw)
    source = Arrays(inputs, (inputs[:, 0] > 0).long())
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2))
    task = Task(model, source, loss="cross_entropy", metrics=(METRICS["accuracy"],))
    whole = look_at(task, source)
    monkeypatch.setattr(measure, "at_once", lambda source: size)
    seen = look_at(task, source)
    assert torch.allclose(seen.outputs, whole.outputs, atol=1e-6)
    assert torch.equal(seen.targets, whole.targets)
    assert seen.values == pytest.approx(whole.values, rel=1e-6)
