"""Compiled steps: chosen by a measurement, kept by a resume, and refused in one line.

Here the graphs run as they are (`aot_eager`); with a C++ compiler: the slow tests, and
test_killed.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import thalweg
from thalweg.errors import RunError, UsageError
from thalweg.loop import compiling
from thalweg.loop.compiling import Trial
from thalweg.loop.descent import Descent
from thalweg.scale import compiled
from thalweg.state.checkpoint import newest

SIZE, STEPS = 37, 12

torch.use_deterministic_algorithms(False)  # it imports the compiler, whose modules warn


@pytest.fixture(autouse=True)
def graphs_as_they_are(monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")


def arrays() -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    return source.normal(size=(SIZE, 3)).astype(np.float32), np.arange(SIZE) % 3


def net(*more: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), *more, nn.Linear(8, 3)
    )


def begin(model: nn.Module | None = None, data: Any = None, **settings: Any) -> Descent:
    model = net() if model is None else model
    sizes = {"batch_size": 8} if data is None else {}
    return thalweg.descend(
        thalweg.Task(model, arrays() if data is None else data, validation=arrays()),
        thalweg.AdamW(model.parameters(), lr=0.01),
        **{"until": thalweg.budget(steps=STEPS), **sizes, **settings},
    )


def rest(descent: Descent) -> tuple[list[Any], dict[str, torch.Tensor]]:
    with descent:
        steps = [(step.number, dict(step.measured())) for step in descent]
    return steps, descent.task.model.state_dict()


def same(one: Any, other: Any) -> bool:
    return one[0] == other[0] and all(torch.equal(t, other[1][n]) for n, t in one[1].items())


def notices(descent: Descent) -> list[str]:
    return [event.text for event in descent.events if event.kind == "notice"]


@pytest.fixture
def gains(monkeypatch):
    """As if compiled steps were twice as fast, in a run that is long enough."""
    monkeypatch.setattr(compiling, "SHORTEST", 0.0)
    monkeypatch.setattr(Trial, "speedup", lambda self: (2.0, 20))


def test_compiled_steps_are_those_of_the_model():
    descent, plain = begin(compile="on"), rest(begin())
    found = rest(descent)
    assert notices(descent) == ["compiled: asked for"]
    assert list(found[1]) == list(plain[1])
    assert all(torch.allclose(t, plain[1][name], atol=1e-5) for name, t in found[1].items())
    assert same(found, rest(begin(compile="on")))


def test_names_in_a_checkpoint_are_the_models(tmp_path):
    rest(begin(compile="on", folder=tmp_path, checkpoint_every=5))
    saved = newest(tmp_path / "checkpoints", lambda text: None)
    assert saved is not None
    tree = saved.tree["phases"]["main"]
    assert tree["model"]["weights"].keys() == net().state_dict().keys()
    assert not any("_orig_mod" in name for name in tree["optimizer"]["state"])


def test_only_batches_of_the_first_ones_form_are_compiled(monkeypatch):
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    descent = begin(compile="on")
    loss = descent.compiling.loss
    assert loss is not None
    for is_compiled, name in ((True, "_compiled"), (False, "_loss")):
        inner = getattr(loss, name)

        def counted(model: Any, batch: Any, inner: Any = inner, kind: bool = is_compiled) -> Any:
            seen[kind].add(len(batch[0]))
            return inner(model, batch)

        monkeypatch.setattr(loss, name, counted)
    rest(descent)
    assert seen == {True: {8}, False: {5}}


def test_a_short_run_is_not_compiled():
    descent = begin(compile=True)
    (text,) = notices(descent)
    assert text.startswith(f"not compiled: all {STEPS} steps take about")
    assert same(rest(descent), rest(begin()))


def test_what_is_not_faster_is_not_compiled(monkeypatch, gains):
    monkeypatch.setattr(Trial, "speedup", lambda self: (1.01, 20))
    descent = begin(compile="auto")
    (text,) = notices(descent)
    assert text.startswith("not compiled: 1.01 x as fast over 20 steps, compiling took")
    assert descent.compiling.value == "off"
    assert same(rest(descent), rest(begin()))


def test_the_clock_decides(monkeypatch):
    """Measured for real: in either case the line says by how much."""
    monkeypatch.setattr(compiling, "SHORTEST", 0.0)
    (text,) = notices(begin(compile=True))
    assert " x as fast over 20 steps, compiling took " in text


def test_a_resume_chooses_the_same_and_measures_nothing(monkeypatch, tmp_path, gains):
    whole = rest(begin(compile="on"))
    descent = begin(compile=True, folder=tmp_path, checkpoint_every=5)
    (text,) = notices(descent)
    assert text.startswith("compiled: 2.00 x as fast over 20 steps, compiling took")
    with descent:
        for step in descent:
            if step.number == 7:
                break
    monkeypatch.setattr(compiling, "_measured", None)
    again = begin(compile=True, folder=tmp_path, resume=True)
    assert again.compiling.loss is not None
    found = rest(again)
    assert same((found[0], found[1]), (whole[0][7:], whole[1]))
    assert notices(again) == []


def test_a_run_that_was_not_compiled_stays_so(monkeypatch, tmp_path):
    with begin(compile=True, folder=tmp_path) as descent:
        next(descent)
    monkeypatch.setattr(compiling, "_measured", None)
    again = begin(compile=True, folder=tmp_path, resume=True)
    assert again.compiling.value == "off"
    whole = rest(begin())
    assert same(rest(again), (whole[0][1:], whole[1]))


def test_a_resume_otherwise_is_refused(tmp_path):
    with begin(compile="on", folder=tmp_path) as descent:
        next(descent)
    with pytest.raises(RunError, match="compile was 'on', is None"):
        begin(folder=tmp_path, resume=True)


def test_a_resume_without_a_compiler_says_so(monkeypatch, tmp_path):
    with begin(compile="on", folder=tmp_path) as descent:
        next(descent)
    monkeypatch.setattr(compiled, "BACKEND", no_compiler)
    with pytest.raises(RunError, match=r"exact: compiled was '.*', is 'no'"):
        begin(compile="on", folder=tmp_path, resume=True, exact=True)
    again = begin(compile="on", folder=tmp_path, resume=True)
    texts = [event.text for event in again.events]
    assert texts[0].startswith("resumed after step 1: exact up to there, to rounding after (comp")
    assert texts[1].startswith("not compiled: no C++ compiler was found")
    assert len(rest(again)[0]) == STEPS - 1


def no_compiler(graph: Any, inputs: Any) -> Any:
    """A backend on a machine without one."""
    raise RuntimeError("No working C++ compiler found in torch._inductor.config.cpp.cxx: (None,)")


class Broken(nn.Module):
    """Its forward pass is decided by a number that no graph knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum().detach()) > 0 else 2 * x


class Wrong(nn.Module):
    """It draws from a generator that no graph keeps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 5 * torch.compiler.is_compiling()


REFUSED = {
    "no compiler": (no_compiler, net, r"no C\+\+ compiler was found that works: install g\+\+"),
    "no graph": ("aot_eager", lambda: net(Broken()), ".*data-dependent expression"),
    "another loss": ("aot_eager", lambda: net(Wrong()), "a compiled step's loss is .*, and should"),
}


@pytest.mark.parametrize("wish", ["on", "auto"])
@pytest.mark.parametrize(("backend", "build", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compiled_is_told_and_goes_on(
    monkeypatch, gains, backend, build, words, wish
):
    monkeypatch.setattr(compiled, "BACKEND", backend)
    descent = begin(build(), compile=wish)
    (text,) = notices(descent)
    assert "\n" not in text
    assert len(text) < 220
    assert re.match(f"not compiled: {words}", text), text
    assert same(rest(descent), rest(begin(build())))


class Restless(nn.Module):
    """A graph for every step."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.factor += 1
        return x * self.factor / self.factor


def test_a_compiler_that_gives_up_is_told(tmp_path):
    descent = begin(net(Restless()), compile="on", folder=tmp_path, until=thalweg.budget(steps=30))
    assert len(rest(descent)[0]) == 30
    assert notices(descent)[0] == "compiled: asked for"
    assert notices(descent)[1].startswith("not exact: compiled no more from here on")
    saved = newest(tmp_path / "checkpoints", lambda text: None)
    assert saved is not None
    assert saved.facts["machine"]["compiled"] == "no"


def test_an_error_of_the_models_own_is_raised():
    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("mine")

    descent = begin(net(Failing()), compile="on")
    with pytest.raises(ValueError, match="mine"):
        next(descent)


class Once:
    """A stream that is read once."""

    def __init__(self) -> None:
        self.left = 3

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.left:
            raise StopIteration
        self.left -= 1
        x, y = map(torch.from_numpy, arrays())
        return x[:8], y[:8]


def test_a_stream_that_is_read_once_is_not_read_to_measure(gains):
    stream = Once()
    descent = begin(data=stream, compile=True, until=thalweg.budget(steps=3))
    assert "not compiled: the data can be read only once" in notices(descent)
    assert stream.left == 3
    assert len(rest(descent)[0]) == 3


class Stateful:
    """A loader that goes on where it stands, as torchdata's does."""

    def __init__(self) -> None:
        self.at = 0

    def __len__(self) -> int:
        return SIZE // 8

    def __iter__(self) -> Iterator[Any]:
        x, y = map(torch.from_numpy, arrays())
        while self.at < len(self):
            rows = slice(8 * self.at, 8 * self.at + 8)
            self.at += 1
            yield x[rows], y[rows]
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


@pytest.mark.parametrize(
    "build", [Stateful, lambda: DataLoader(list(zip(*arrays(), strict=True)), 8, True)]
)
def test_looking_at_the_first_batches_moves_no_data(build):
    compiled_, plain = rest(begin(data=build(), compile="on")), rest(begin(data=build()))
    for one, other in zip(compiled_[0], plain[0], strict=True):
        assert one[1]["loss"] == pytest.approx(other[1]["loss"], rel=1e-5)


def test_measuring_the_pace_moves_no_data_either():
    timed = thalweg.budget(time=60) | thalweg.budget(steps=8)
    shape = {"schedule": thalweg.cosine(floor=0.999999)}
    found = rest(begin(data=Stateful(), until=timed, **shape))
    plain = rest(begin(data=Stateful(), until=thalweg.budget(steps=8)))
    for one, other in zip(found[0], plain[0], strict=True):
        assert one[1]["loss"] == pytest.approx(other[1]["loss"], rel=1e-4)


class Uncopied(nn.Module):
    """A module that refuses to be copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("I am unique")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_model_that_cannot_be_copied_is_told(gains):
    (text,) = notices(begin(net(Uncopied()), compile=True))
    assert text.startswith("not compiled: steps are tried on a copy")
    assert text.endswith("I am unique")


class Ragged:
    """Batches of changing sizes."""

    def __iter__(self) -> Iterator[Any]:
        x, y = map(torch.from_numpy, arrays())
        for size in (8, 5, 6):
            yield x[:size], y[:size]


def test_batches_of_changing_shapes_are_not_compiled(gains):
    descent = begin(data=Ragged(), compile=True)
    assert any(text.startswith("not compiled: the first two batches") for text in notices(descent))


@pytest.mark.parametrize("value", ["yes", 1, None, 0.5])
def test_what_is_no_wish_is_told(value):
    with pytest.raises(UsageError, match=r"compile is .*: it must be on, off, or auto"):
        begin(compile=value)


def test_many_models_in_one_process_are_all_compiled():
    """torch gives up a function after 8 graphs; ours are counted apart."""
    for width in range(3, 12):
        model = nn.Linear(3, width)
        descent = begin(model, compile="on", until=thalweg.budget(steps=2))
        rest(descent)
        assert notices(descent) == ["compiled: asked for"]


FIT: dict[str, Any] = {"model": "mlp:8", "steps": 20, "evaluate_every": 10, "quiet": True}


def chosen(run: Any) -> dict[str, Any]:
    return tomllib.loads((run.folder / "run.toml").read_text())["settings"]


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that are compiled, one after the other."""
    made: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "BACKEND", backend)
    return made


def test_a_fit_compiles_once_and_a_repeat_chooses_the_same(tmp_path, graphs, gains):
    """Its graph is made for the deterministic operations that the steps are going to run with."""
    run = thalweg.fit(arrays(), compile=True, out=str(tmp_path), **FIT)
    assert len(graphs) == 1
    assert chosen(run)["compile"] == "on"
    again = thalweg.fit(arrays(), **{**chosen(run), "out": None, "quiet": True})
    assert all(
        torch.equal(t, again.model.state_dict()[n]) for n, t in run.model.state_dict().items()
    )


def test_a_child_may_choose_otherwise(tmp_path, graphs):
    run = thalweg.fit(arrays(), compile="on", recompute=True, out=str(tmp_path), **FIT)
    more: dict[str, Any] = {"out": str(tmp_path), "quiet": True, "steps": "+5"}
    for given in ({"compile": "off"}, {"recompute": False}, {"compile": "on", "recompute": False}):
        child = thalweg.resume(run.folder, arrays(), set=given, **more)
        assert chosen(child).get("compile", "off") == given.get("compile", "on")
        assert chosen(child).get("recompute", False) == given.get("recompute", True)


def test_a_longer_run_stays_compiled(tmp_path, graphs):
    run = thalweg.fit(arrays(), compile="on", out=str(tmp_path), **FIT)
    longer = thalweg.resume(run.folder, arrays(), steps="+5", quiet=True)
    assert chosen(longer)["compile"] == "on"
    assert len(graphs) == 2


@pytest.mark.slow
def test_draws_are_the_plain_models(monkeypatch):
    """With a C++ compiler: dropout from the same keys, so that losses agree to rounding."""
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    descent, plain = begin(compile="on"), rest(begin())
    found = rest(descent)
    assert notices(descent) == ["compiled: asked for"]
    for one, other in zip(found[0], plain[0], strict=True):
        assert one[1]["loss"] == pytest.approx(other[1]["loss"], rel=1e-4)
