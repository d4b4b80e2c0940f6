"""A state is a value: a run that goes on from it is, to the bit, the run that never stopped."""

from __future__ import annotations

import math
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

import thalweg
from thalweg import budget, cosine, descend, warmup
from thalweg.errors import DataError, RunError, UsageError
from thalweg.loop import drain
from thalweg.loop.descent import Descent
from thalweg.optim import OPTIMIZERS, make
from thalweg.record import Record
from thalweg.rules.options import EMA, Kahan, StochasticRounding
from thalweg.state import saver
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


class Stateful:
    """A loader with a private order and a state of its own, as torchdata's has: no place is found
    by reading forward here, for it begins every time where it stands.
    """

    def __init__(self) -> None:
        self.draws, self.at = np.random.default_rng(5), 0
        self.order = self.draws.permutation(SIZE)

    def __len__(self) -> int:
        return math.ceil(SIZE / 8)

    def __iter__(self) -> Iterator[Any]:
        x, y = map(torch.from_numpy, arrays())
        while self.at < SIZE:
            rows = self.order[self.at : self.at + 8]
            self.at += 8
            yield x[rows], y[rows]
        self.order, self.at = self.draws.permutation(SIZE), 0

    def state_dict(self) -> dict[str, Any]:
        state = self.draws.bit_generator.state["state"]
        numbers = {name: str(value) for name, value in state.items()}
        return {"at": self.at, "order": torch.from_numpy(self.order.copy()), **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at, self.order = state["at"], state["order"].numpy()
        own = self.draws.bit_generator.state
        own["state"] = {name: int(state[name]) for name in ("state", "inc")}
        self.draws.bit_generator.state = own


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
    "a loader with a state": (Stateful, {}),
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


@pytest.mark.parametrize("number", [3, 5, 8, 11])
def test_blocks_are_judged_where_they_would_have_been(number, monkeypatch, tmp_path):
    """A stop between two drains, as on a GPU, drains a copy: what is saved goes on undrained."""
    monkeypatch.setitem(drain.EVERY, "cpu", 4)
    whole = rest(begin(guard="act"))
    with begin(guard="act", folder=tmp_path) as descent:
        for step in descent:
            if step.number == number:
                descent.stop()
    again = begin(guard="act", folder=tmp_path, resume=True)
    assert again.state().number == number
    assert len(again.state().undrained) == number % 4
    assert same(rest(again), tail(whole, number))


def ill(model: nn.Module) -> Any:
    """Plain descent, whose rate is far too high from step 60 on."""
    return thalweg.SGD(model.parameters(), lr=0.05)


def wild(number: int, state: Any = None) -> Any:
    """A run that goes wrong and is repaired, from the start or from a state, to step `number`."""
    descent = begin(build=ill, guard="act", schedule=None, until=budget(steps=200))
    if state is not None:
        descent.restore(state)
    found = []
    with descent:
        for step in descent:
            if step.number == 80:
                descent.optimizer.param_groups[0]["lr"] = 1e4
            found.append((step.number, step.lr, repr(dict(step.measured()))))
            if step.number == number:
                return found, type(descent.state())(**clone(descent.state().to_tree())), descent
    return found, None, descent


def test_a_repaired_run_goes_on_to_the_bit():
    """Stopped after the roll-back: the counters of the guard, the lowered rates, its windows."""
    whole, _, descent = wild(200)
    kinds = [event.kind for event in descent.events]
    assert "rollback" in kinds
    back = next(event.number for event in descent.events if event.kind == "rollback")
    _, state, _ = wild(back + 3)
    assert state.guard["ladder"]["used"] is not None
    again, _, _ = wild(200, state)
    assert again == [row for row in whole if row[0] > back + 3]


def test_a_disk_that_is_full_at_the_end_does_not_end_the_run(tmp_path, monkeypatch):
    def full(self: Any) -> None:
        raise UsageError("record.sqlite could not be written: disk full (3 rows lost)")

    def torn(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    descent = begin(folder=tmp_path)
    monkeypatch.setattr(Record, "close", full)
    monkeypatch.setattr(saver, "write_content", torn)
    with pytest.warns(UserWarning, match="disk full"):
        rest(descent)
    texts = [event.text for event in descent.events if event.kind == "notice"]
    assert [text.partition(";")[0] for text in texts] == [
        f"step {STEPS} was not saved: No space left on device"
    ]


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
