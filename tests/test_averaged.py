"""Averaged weights and batch norm: its statistics are recomputed for what is looked at and kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, Dataset

import thalweg
from conformance.compare import copies, same_bits
from thalweg import budget, descend
from thalweg.loop.averaged import NUM_BATCHES, Averaged
from thalweg.loop.descent import Descent
from thalweg.rules.options import EMA

SIZE, BATCH = 300, 12
"""25 batches in an epoch, more than are looked at."""


def images() -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright corner that tells the class."""
    source = np.random.default_rng(0)
    x = source.normal(size=(SIZE, 1, 6, 6)).astype(np.float32)
    y = np.arange(SIZE) % 3
    x[:, 0, :2, :2] += y[:, None, None]
    return x, y


class Counter(nn.Module):
    """A module with a buffer that the forward pass moves."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return x


def conv(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64, 8),
        nn.BatchNorm1d(8, momentum=0.3),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def ema(model: nn.Module) -> Any:
    return thalweg.AdamW(model.parameters(), lr=0.02, options=[EMA(0.9)])


def schedule_free(model: nn.Module) -> Any:
    return thalweg.ScheduleFreeSGD(model.parameters(), lr=0.1)


def plain(model: nn.Module) -> Any:
    return thalweg.AdamW(model.parameters(), lr=0.02)


def begin(
    build: Callable[[nn.Module], Any] = ema,
    *,
    model: nn.Module | None = None,
    data: Any = None,
    steps: int = 30,
    **settings: Any,
) -> Descent:
    model = model or conv()
    task = thalweg.Task(model, images() if data is None else data, validation=images())
    if not isinstance(data, DataLoader):
        settings.setdefault("batch_size", BATCH)
    return descend(task, build(model), until=budget(steps=steps), **settings)


def by_hand(descent: Descent, build: Callable[[nn.Module], Any]) -> nn.Module:
    """Another model with the averaged weights and torch's update_bn over the same batches."""
    twin = conv()
    twin.load_state_dict(descent.task.model.state_dict())
    optimizer = build(twin)
    optimizer.load_state_dict(descent.optimizer.state_dict())
    if build is schedule_free:
        optimizer.eval()
    else:
        optimizer.take_average()
    batches = descent.feed.aside(NUM_BATCHES)
    assert batches is not None
    update_bn([data[0] for data in batches], twin)
    return twin


def loss_of(model: nn.Module) -> float:
    x, y = map(torch.from_numpy, images())
    model.eval()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(x), y))


@pytest.mark.parametrize("build", [ema, schedule_free])
def test_an_evaluation_equals_torchs_update_bn(build):
    with begin(build, evaluate_every=1000) as descent:
        for step in descent:
            if step.number == 29:
                break
        found = descent.evaluate().values["loss"]
        twin = by_hand(descent, build)
        assert found == pytest.approx(loss_of(twin), rel=1e-6)
        with descent.averaged.shown():
            assert same_bits(copies(descent.task.model.buffers()), copies(twin.buffers()))
        stale = conv()
        stale.load_state_dict({**twin.state_dict(), **dict(descent.task.model.named_buffers())})
        assert abs(found - loss_of(stale)) > 1e-3, "the raw statistics would tell another loss"


@pytest.mark.parametrize("build", [ema, schedule_free])
@pytest.mark.parametrize("restore_best", [False, True])
def test_what_is_left_at_the_end_is_what_was_looked_at(build, restore_best):
    with begin(build, evaluate_every=30, restore_best=restore_best) as descent:
        for _ in descent:
            pass
    last = descent.evaluations[-1]
    assert last.number == 30
    assert loss_of(descent.task.model) == pytest.approx(last.values["loss"], rel=1e-6)


def tensors(model: nn.Module) -> list[torch.Tensor]:
    return copies(model.state_dict().values())


@pytest.mark.parametrize("build", [ema, schedule_free])
def test_afterwards_all_is_as_before_to_the_bit(build):
    """Weights, statistics, modes, momenta and the generator of whoever draws beside it."""
    with begin(build, model=conv(dropout=0.5), evaluate_every=1000) as descent:
        for step in descent:
            if step.number == 7:
                break
        model = descent.task.model
        before, random = tensors(model), torch.get_rng_state()
        descent.evaluate()
        assert same_bits(tensors(model), before)
        assert torch.equal(torch.get_rng_state(), random)
        assert all(module.training for module in model.modules())
        assert [model[1].momentum, model[6].momentum] == [0.1, 0.3]
        with pytest.raises(ZeroDivisionError), descent.averaged.shown():
            raise ZeroDivisionError
        assert same_bits(tensors(model), before)


class Noisy(Dataset):
    """Images with augmentation."""

    def __init__(self) -> None:
        self.x, self.y = images()

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.x[i]) + 0.1 * torch.randn(1, 6, 6), int(self.y[i])


DATA: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "arrays": (images, {}),
    "in parts": (images, {"accumulate": 3}),
    "full": (images, {"batch_size": "full", "accumulate": 2}),
    "a dataset": (Noisy, {}),
    "a dataset, 2 workers": (Noisy, {"workers": 2}),
    "a loader": (lambda: DataLoader(Noisy(), batch_size=BATCH, shuffle=True), {}),
    "bf16": (images, {"precision": "bf16"}),
}
every_kind = pytest.mark.parametrize(("make_data", "more"), DATA.values(), ids=DATA)


@every_kind
def test_looks_change_nothing_of_the_run(make_data, more):
    """With and without evaluations the trained weights are the same, to the bit."""
    paths = []
    for every in (3, 1000):
        model = conv(dropout=0.2)
        descent = begin(model=model, data=make_data(), steps=12, evaluate_every=every, **more)
        with descent:
            for step in descent:
                if step.number == 11:  # the last step leaves the average
                    break
            paths.append(tensors(model))
    assert same_bits(*paths)


def losses(descent: Descent) -> list[tuple[int, float]]:
    return [(row.number, row.values["loss"]) for row in descent.evaluations]


@every_kind
def test_a_resumed_run_sees_the_same_to_the_bit(make_data, more, tmp_path):
    def run(**where: Any) -> tuple[Any, list[torch.Tensor]]:
        model = conv(dropout=0.2)
        settings = {"steps": 9, "evaluate_every": 3, "restore_best": True, **more}
        with begin(model=model, data=make_data(), **settings, **where) as descent:
            for step in descent:
                if step.number == 4 and where and not where["resume"]:
                    descent.stop()
        return losses(descent), tensors(model)

    whole = run()
    run(folder=tmp_path, resume=False)
    resumed = run(folder=tmp_path, resume=True)
    assert resumed[0] == [row for row in whole[0] if row in resumed[0]]
    assert resumed[0][-1] == whole[0][-1]
    assert same_bits(resumed[1], whole[1])


def notices(descent: Descent) -> list[str]:
    with descent:
        for _ in descent:
            pass
    return [event.text for event in descent.events if "batch norm's statistics" in event.text]


def test_it_is_said_once():
    (text,) = notices(begin(steps=6, evaluate_every=2))
    assert text == (
        "batch norm's statistics are recomputed for the averaged weights, on 20 batches of the "
        "training data at each look"
    )
    (text,) = notices(begin(steps=1, batch_size=100))
    assert "on 3 batches" in text


def test_a_loader_is_left_alone_and_that_is_said():
    loader = DataLoader(Noisy(), batch_size=BATCH)
    (text,) = notices(begin(data=loader, steps=2))
    assert "not recomputed" in text
    assert "loader" in text


def test_where_nothing_is_averaged_nothing_is_said_or_recomputed():
    assert notices(begin(plain, steps=2)) == []
    without = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    assert notices(begin(model=without, steps=2)) == []
    with begin(plain, evaluate_every=1000) as descent:
        next(descent)
        before = tensors(descent.task.model)
        with descent.averaged.shown():
            assert same_bits(tensors(descent.task.model), before)


def test_layers_in_eval_and_other_buffers_stay():
    model = nn.Sequential(Counter(), *conv())
    model[2].eval()
    with begin(model=model, evaluate_every=1000) as descent:
        for step in descent:
            if step.number == 3:
                break
        frozen, seen, moving = copies([model[2].running_mean, model[0].seen, model[7].running_mean])
        with descent.averaged.shown():
            assert same_bits([model[2].running_mean, model[0].seen], [frozen, seen])
            assert not same_bits([model[7].running_mean], [moving])


def test_a_batch_that_is_not_finite_is_left_out():
    x, y = images()
    x[::40] = np.nan
    with begin(data=(x, y), evaluate_every=1000) as descent:
        for step in descent:
            if step.number == 3:
                break
        batches = [data[0] for data in descent.feed.aside(NUM_BATCHES)]
        num_sound = sum(bool(torch.isfinite(batch).all()) for batch in batches)
        assert 0 < num_sound < len(batches) == NUM_BATCHES
        with descent.averaged.shown():
            layer = descent.task.model[1]
            assert torch.isfinite(layer.running_mean).all()
            assert layer.num_batches_tracked == num_sound


def test_its_time_is_the_evaluations(monkeypatch):
    recompute = Averaged._recompute
    with begin(evaluate_every=1000) as descent:
        next(descent)
        monkeypatch.setattr(
            Averaged, "_recompute", lambda self: (time.sleep(0.05), recompute(self))
        )
        assert descent.evaluate().seconds >= 0.05


def test_where_no_batch_is_finite_the_statistics_stay():
    x, y = images()
    inputs, model = torch.from_numpy(x.copy()), conv()
    task = thalweg.Task(model, (inputs, y), validation=(x, y))
    optimizer = thalweg.SGD(model.parameters(), lr=0.1, options=[EMA(0.9)])
    with descend(task, optimizer, batch_size=BATCH, until=budget(steps=3)) as descent:
        next(descent)
        before = copies(model.buffers())
        inputs.fill_(math.nan)
        with descent.averaged.shown():
            assert same_bits(copies(model.buffers()), before)
