"""A state is a value: a run that goes on from it is, to the bit, the run that never stopped."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

import thalweg
from thalweg import budget, cosine, descend, warmup
from thalweg.errors import DataError, RunError
from thalweg.loop.descent import Descent
from thalweg.optim import OPTIMIZERS, make
from thalweg.rules.options import EMA, Kahan, StochasticRounding
from thalweg.state.tree import clone

SIZE = 37
STEPS = 14
"""Three epochs of batches of 8, and a bit."""


class Noisy(Dataset):
    """Samples with random augmentation from all three generators."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        x = torch.arange(3.0) + i % 5
        x = x + 0.1 * torch.randn(3) + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.randn())
        return x, i % 3


def arrays() -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    return source.normal(size=(SIZE, 3)).astype(np.float32), np.arange(SIZE) % 3


def loader(num_workers: int = 0, **settings: Any) -> DataLoader:
    return DataLoader(Noisy(), batch_size=8, shuffle=True, num_workers=num_workers, **settings)


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)
    )


SOURCES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "arrays": (arrays, {"batch_size": 8}),
    "arrays, in parts": (arrays, {"batch_size": 8, "accumulate": 3}),
    "arrays, full": (arrays, {"batch_size": "full", "accumulate": 4}),
    "a dataset": (Noisy, {"batch_size": 8}),
    "a dataset, 2 workers": (Noisy, {"batch_size": 8, "workers": 2}),
    "a dataset, in parts, 2 workers": (Noisy, {"batch_size": 8, "workers": 2, "accumulate": 2}),
    "a loader": (loader, {}),
    "a loader, accumulated": (loader, {"accumulate": 3}),
    "a loader, own generator": (lambda: loader(generator=torch.Generator().manual_seed(3)), {}),
    "a loader, 2 workers": (lambda: loader(2), {}),
}


def begin(
    source: str = "arrays",
    build: Callable[[nn.Module], Any] | None = None,
    *,
    model: nn.Module | None = None,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> Descent:
    make_data, own = SOURCES[source]
    model = (model or net()).to(dtype)
    optimizer = thalweg.AdamW(model.parameters(), lr=0.01) if build is None else build(model)
    x, y = arrays()
    validation = (torch.from_numpy(x).to(dtype), y)
    data = validation if dtype == torch.bfloat16 else make_data()
    task = thalweg.Task(model, data, validation=validation)
    return descend(
        task,
        optimizer,
        **{
            "schedule": warmup(3) >> cosine(),
            "until": budget(steps=STEPS),
            "evaluate_every": 4,
            "restore_best": True,
            **own,
            **settings,
        },
    )


def rest(descent: Any) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Take all steps; what was measured of each, the evaluations, and the final weights."""
    with descent:
        steps = [(s.number, s.samples, s.epoch, s.lr, dict(s.measured())) for s in descent]
    looks = [(e.number, dict(e.values), e.noise) for e in descent.evaluations]
    weights = {name: t.clone() for name, t in descent.task.model.state_dict().items()}
    return [*steps, *looks], weights


def same(one: Any, other: Any) -> bool:
    """Are they equal to the bit?"""
    return one[0] == other[0] and all(torch.equal(t, other[1][n]) for n, t in one[1].items())


def stopped_at(number: int, *args: Any, **settings: Any) -> Any:
    """The state of a run after so many steps, as a value of its own."""
    with begin(*args, **settings) as descent:
        for step in descent:
            if step.number == number:
                return type(descent.state())(**clone(descent.state().to_tree()))
    raise AssertionError


def resumed(state: Any, *args: Any, **settings: Any) -> Any:
    descent = begin(*args, **settings)
    descent.restore(state)
    return descent


def tail(whole: Any, number: int) -> Any:
    """Of a whole run what a resumed one sees: its steps after `number`, every evaluation."""
    items, weights = whole
    return [row for row in items if len(row) == 3 or row[0] > number], weights


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_goes_on_to_the_bit(source):
    whole = rest(begin(source))
    for number in (1, 5, 7, 11):
        state = stopped_at(number, source)
        assert same(rest(resumed(state, source)), tail(whole, number)), number


def test_a_planted_difference_is_seen():
    whole = rest(begin("a dataset"))
    state = stopped_at(5, "a dataset")
    assert not same(rest(resumed(state, "a dataset", seed=1)), tail(whole, 5))


def test_workers_change_nothing():
    assert same(rest(begin("a dataset")), rest(begin("a dataset, 2 workers")))


class Deadly(Noisy):
    """Reading sample 20 kills the process, if it is a worker, as often as there are files."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        bullets = list(self.folder.iterdir())
        if i == 20 and bullets and get_worker_info() is not None:
            bullets[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(i)


@pytest.fixture
def deadly(tmp_path, monkeypatch):
    monkeypatch.setitem(
        SOURCES, "deadly", (lambda: Deadly(tmp_path), {"batch_size": 8, "workers": 2})
    )
    return tmp_path


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_that_dies_is_replaced_to_the_bit(deaths, deadly):
    for i in range(deaths):
        (deadly / str(i)).touch()
    descent = begin("deadly")
    assert same(rest(descent), rest(begin("a dataset")))
    texts = [event.text for event in descent.events if event.kind == "worker"]
    assert len(texts) == deaths
    assert all(text.startswith("a data worker died and was replaced") for text in texts)


def test_workers_that_keep_dying_are_given_up(deadly):
    for i in range(9):
        (deadly / str(i)).touch()
    with (
        pytest.raises(DataError, match=r"died 3 times over samples .*8 in all"),
        begin("deadly") as d,
    ):
        list(d)


BUILDS: dict[str, Callable[[nn.Module], Any]] = {
    **{name: (lambda model, name=name: make(name, model, {})) for name in OPTIMIZERS},
    "adamw, averaged": lambda model: thalweg.AdamW(model.parameters(), lr=0.01, options=[EMA(0.9)]),
    "adamw, clipped": lambda model: thalweg.AdamW(model.parameters(), lr=0.01, clip=0.1),
    "torch adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
    "torch sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
}


@pytest.mark.parametrize("name", BUILDS)
def test_every_optimizer_goes_on_to_the_bit(name):
    whole = rest(begin(build=BUILDS[name]))
    for number in (1, 6):
        state = stopped_at(number, build=BUILDS[name])
        assert same(rest(resumed(state, build=BUILDS[name])), tail(whole, number)), number


OPTIONS = {"stochastic": StochasticRounding(), "kahan": Kahan()}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_bfloat16_weights_go_on_to_the_bit(option):
    def build(model: nn.Module) -> Any:
        return thalweg.AdamW(model.parameters(), lr=0.01, options=[option])

    whole = rest(begin(build=build, dtype=torch.bfloat16))
    state = stopped_at(6, build=build, dtype=torch.bfloat16)
    assert same(rest(resumed(state, build=build, dtype=torch.bfloat16)), tail(whole, 6))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_precision_goes_on_to_the_bit(precision):
    whole = rest(begin(precision=precision))
    state = stopped_at(6, precision=precision)
    assert same(rest(resumed(state, precision=precision)), tail(whole, 6))


def test_two_resumes_in_one_epoch():
    whole = rest(begin("a dataset, 2 workers"))
    state = stopped_at(2, "a dataset, 2 workers")
    with resumed(state, "a dataset, 2 workers") as descent:
        next(descent)
        again = type(state)(**clone(descent.state().to_tree()))
    assert again.number == 3
    assert same(rest(resumed(again, "a dataset, 2 workers")), tail(whole, 3))


REFUSED = {
    "another width": (
        lambda: begin(model=nn.Sequential(nn.Linear(3, 9), *net()[1:])),
        r"of another model: 0.weight is float32 \(8, 3\) there and float32 \(9, 3\) here",
    ),
    "fewer layers": (
        lambda: begin(model=nn.Linear(3, 3)),
        r"optimizer trains other parameters",
    ),
    "another type": (
        lambda: begin(dtype=torch.bfloat16),
        r"0.weight is float32 .* there and bfloat16",
    ),
}


@pytest.mark.parametrize(("build", "words"), REFUSED.values(), ids=REFUSED)
def test_a_state_of_another_model_is_refused(build, words):
    state = stopped_at(3)
    other = build()
    before = clone(other.state().to_tree())
    with pytest.raises(RunError, match=words):
        other.restore(state)
    after = other.state().to_tree()
    for tree in (before, after):
        tree["weights"] = tree["phases"]["main"]["model"]["weights"]
    assert all(torch.equal(t, after["weights"][name]) for name, t in before["weights"].items())
    assert after["number"] == 0
