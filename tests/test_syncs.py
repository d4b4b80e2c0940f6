"""Between two drains no step waits for the device.

A program waits for a GPU where it reads a number of a tensor. Tensors of torch's device "meta" have
no numbers: who reads one fails. A run on it shows that no step reads; where a GPU is at hand, its
waits are counted.
"""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import thalweg
from thalweg.loop.rescue import Rescue
from thalweg.optim.bounds import Bounds
from thalweg.optim.updater import is_fused, update_fused, updater, waits
from thalweg.scale.precision import Precision

BLOCK = 32
NAN, INF = math.nan, math.inf

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "guard": {"guard": "act"},
    "guard off": {"guard": "off"},
    "in parts": {"guard": "act", "accumulate": 4},
    "fp16": {"guard": "act", "precision": "fp16"},
    "bf16": {"guard": "act", "precision": "bf16"},
    "a schedule": {"guard": "act", "schedule": thalweg.warmup(10) >> thalweg.cosine()},
}
OPTIMIZERS: dict[str, Any] = {
    "adamw": lambda params: thalweg.AdamW(params, lr=1e-3),
    "sgd, clipped": lambda params: thalweg.SGD(params, lr=1e-2, clip=1.0),
    "schedule-free": lambda params: thalweg.ScheduleFreeAdamW(params, lr=1e-2),
    "torch's": lambda params: torch.optim.AdamW(params, lr=1e-3),
    "torch's, fused": lambda params: torch.optim.AdamW(params, lr=1e-3, fused=True),
}


def begun(device: str, optimizer: str, **settings: Any) -> Any:
    """A descent of 128 steps over a small net with batch norm and dropout."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)
    ).to(device)
    task = thalweg.Task(model, (torch.randn(256, 8), torch.randint(0, 3, (256,))))
    made = OPTIMIZERS[optimizer](model.parameters())
    return thalweg.descend(task, made, until=thalweg.budget(steps=4 * BLOCK), **settings)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd, clipped", "schedule-free"])
def test_no_step_reads_a_number(optimizer, name, monkeypatch):
    monkeypatch.setattr(Rescue, "before_step", lambda *_: None)  # a snapshot: at drains, of values
    monkeypatch.setattr(Precision, "forward", lambda *_: nullcontext())
    descent = begun("meta", optimizer, **SETTINGS[name])
    for number in range(1, BLOCK):
        assert next(descent).number == number


def test_a_drain_reads():
    """The control."""
    descent = begun("meta", "adamw")
    for _ in range(1, BLOCK):
        next(descent)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        next(descent)


# ------------------------------------------------------------ torch's fused optimizers

FUSED: dict[str, Any] = {
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.1, fused=True),
    "adam": lambda params: torch.optim.Adam(params, lr=0.1, amsgrad=True, fused=True),
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, fused=True),
    "adagrad": lambda params: torch.optim.Adagrad(params, lr=0.1, fused=True),
}
ORDINARY = Bounds(loss=2.0, norm=10.0, clip_to=3.0)


@pytest.mark.parametrize("build", FUSED.values(), ids=FUSED.keys())
@pytest.mark.parametrize("scale", [None, 1024.0])
@pytest.mark.parametrize(
    ("loss", "gradient", "bounds"),
    [
        (1.0, 1.0, ORDINARY),
        (1.0, 100.0, ORDINARY),
        (3.0, 1.0, ORDINARY),
        (NAN, 1.0, ORDINARY),
        (1.0, INF, ORDINARY),
        (3.0, 100.0, None),
    ],
)
def test_decided_on_the_device_as_on_the_host(build, scale, loss, gradient, bounds):
    """The device's way, taken on the CPU, beside the host's: weights and state, step by step."""
    ours, theirs = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    fused, plain = build([ours]), build([theirs])
    ways = [(ours, fused, partial(update_fused, fused)), (theirs, plain, updater(plain))]
    for loss_now, gradient_now in [(1.0, 1.0), (loss, gradient), (1.0, 2.0)]:
        found = []
        for p, _, update in ways:
            p.grad = torch.full((4,), gradient_now * (scale or 1.0))
            loss_scale = None if scale is None else torch.tensor(scale)
            found.append(update(torch.tensor(loss_now), bounds, loss_scale))
        assert float(found[0]["gradient_norm"]) == pytest.approx(float(found[1]["gradient_norm"]))
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
        for name, value in plain.state[theirs].items():
            torch.testing.assert_close(fused.state[ours][name], value, rtol=1e-6, atol=0)
    assert not hasattr(fused, "found_inf")
    assert not hasattr(fused, "grad_scale")


def test_who_waits_for_the_device():
    on_meta = [torch.nn.Parameter(torch.ones(4, device="meta"))]
    assert waits(torch.optim.SGD(on_meta, lr=0.1))
    assert not waits(torch.optim.SGD([torch.nn.Parameter(torch.ones(4))], lr=0.1))
    assert not waits(thalweg.SGD(on_meta, lr=0.1))
    fused = torch.optim.SGD([torch.nn.Parameter(torch.ones(4))], lr=0.1, fused=True)
    assert is_fused(fused)
    assert not is_fused(torch.optim.SGD(on_meta, lr=0.1))


def test_a_run_that_waits_says_so_once():
    def notices(**settings: Any) -> list[str]:
        descent = begun("meta", "torch's", **settings)
        return [event.text for event in descent.events if "waits for the device" in event.text]

    assert len(notices()) == 1
    assert notices(guard="off") == []


# ------------------------------------------------------------ on a GPU

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Waits:
    """Inside, CUDA reports each time that the host waits; afterwards their number, and where."""

    def __enter__(self) -> Waits:
        torch.cuda.synchronize()
        self._caught = warnings.catch_warnings(record=True)
        self._list = self._caught.__enter__()
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # which warns that it does not see everything
        return self

    def __exit__(self, *error: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")
        self.number = sum("called a sync" in str(each.message) for each in self._list or ())
        self.places = {f"{each.filename}:{each.lineno}" for each in self._list or ()}
        self._caught.__exit__(*error)


@on_a_gpu
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "torch's"])
@pytest.mark.parametrize("name", SETTINGS)
def test_no_step_between_two_drains_waits(name, optimizer):
    with begun("cuda", optimizer, **SETTINGS[name]) as descent:
        for _ in range(BLOCK + 1):
            next(descent)  # what is set up once is set up
        with Waits() as waits:
            for _ in range(BLOCK - 2):
                next(descent)
    assert waits.number == 0, waits.places


@on_a_gpu
def test_a_drain_waits():
    with begun("cuda", "adamw", guard="act") as descent:
        for _ in range(BLOCK - 1):
            next(descent)
        with Waits() as waits:
            next(descent)
    assert waits.number > 0
