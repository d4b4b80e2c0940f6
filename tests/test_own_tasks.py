"""Tasks of the user's own: a loss of a whole batch, several losses, and networks in turns."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thalweg
from thalweg.draw.summary import summary_text
from thalweg.errors import RunError, UsageError
from thalweg.jobs.trust import check_functions
from thalweg.keys import Purpose, key
from thalweg.tasks.sources import Arrays

SAMPLES, WIDTH = 96, 3


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, WIDTH, generator=generator)
    return inputs, inputs.sum(dim=1, keepdim=True)


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))


def error_and_size(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    inputs, targets = batch
    outputs = model(inputs)
    return {"error": (outputs - targets).square().mean(), "size": 0.1 * outputs.square().mean()}


def total(model: nn.Module, batch: Any) -> Tensor:
    return sum(error_and_size(model, batch).values())  # pyright: ignore[reportReturnType]


def walked(task: thalweg.Task, *, steps: int = 12, batch_size: Any = 32, **more: Any) -> Any:
    """The descent, walked to its end."""
    optimizer = more.pop("optimizer", None) or thalweg.SGD(task.model.parameters(), lr=0.05)
    until = thalweg.budget(steps=steps)
    if task.validation is not None:
        more["evaluate_every"] = 6
    descent = thalweg.descend(task, optimizer, batch_size=batch_size, seed=0, until=until, **more)
    with descent:
        for _ in descent:
            pass
    return descent


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


# ---------------------------------------------------------------- one loss, several losses


def test_a_batch_loss_is_the_loss_of_outputs_and_targets_to_the_bit():
    plain = walked(thalweg.Task(net(), data(), loss="mse"))
    own = walked(
        thalweg.Task(net(), data(), batch_loss=lambda m, b: nn.functional.mse_loss(m(b[0]), b[1]))
    )
    assert torch.equal(weights(plain.task.model), weights(own.task.model))


def test_several_losses_are_minimised_as_their_sum_and_each_is_recorded():
    one = walked(thalweg.Task(net(), data(), batch_loss=total, validation=data()))
    several = walked(thalweg.Task(net(), data(), batch_loss=error_and_size, validation=data()))
    assert torch.equal(weights(one.task.model), weights(several.task.model))
    history = several.record.history()
    assert [number for number, _ in history.scalars["error"]] == list(range(1, 13))
    sums = [a + b for (_, a), (_, b) in zip(*history.scalars.values(), strict=True)]
    assert sums == pytest.approx(history.steps["loss"].tolist())
    for evaluation in several.evaluations:
        values = evaluation.values
        assert values["loss"] == pytest.approx(values["error"] + values["size"])
        assert values.keys() == {"loss", "error", "size"}


@pytest.mark.parametrize("accumulate", [2, 3])
def test_parts_of_a_batch_are_the_whole_batch(accumulate):
    whole = walked(thalweg.Task(net().double(), _double(), batch_loss=error_and_size))
    parts = walked(
        thalweg.Task(net().double(), _double(), batch_loss=error_and_size), accumulate=accumulate
    )
    assert torch.allclose(weights(whole.task.model), weights(parts.task.model), rtol=1e-12)
    for name in ("error", "size"):
        rows = [run.record.history().scalars[name] for run in (whole, parts)]
        assert [value for _, value in rows[0]] == pytest.approx([value for _, value in rows[1]])


def _double() -> Arrays:
    return Arrays(*(x.double() for x in data()))


def test_what_a_loss_draws_while_it_is_looked_at_is_counted():
    """Draws of a look are the same each time, and disturb nothing."""

    def noisy(model: nn.Module, batch: Any) -> Tensor:
        inputs, targets = batch
        return (model(inputs + torch.randn_like(inputs)) - targets).square().mean()

    task = thalweg.Task(net(), data(), batch_loss=noisy, validation=data())
    looked = walked(task)
    unlooked = walked(thalweg.Task(net(), data(), batch_loss=noisy))
    assert torch.equal(weights(looked.task.model), weights(unlooked.task.model))
    before = torch.get_rng_state()
    again = [looked.evaluate().values for _ in range(2)]
    assert again[0] == again[1]
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- networks in turns


class Rivals(nn.Module):
    """A generator of numbers, and a critic that is to tell them from real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(2, WIDTH)
        self.critic = nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh(), nn.Linear(6, 1))


def rivals() -> Rivals:
    torch.manual_seed(2)
    return Rivals()


def critic_loss(model: Any, batch: Any) -> Tensor:
    fake = model.generator(torch.randn(len(batch[0]), 2))
    return (model.critic(batch[0]) - 1).square().mean() + model.critic(fake).square().mean()


def generator_loss(model: Any, batch: Any) -> Tensor:
    fake = model.generator(torch.randn(len(batch[0]), 2))
    return (model.critic(fake) - 1).square().mean()


PHASES = {"critic": critic_loss, "generator": generator_loss}


def turns(**more: Any) -> thalweg.Task:
    return thalweg.Task(rivals(), data(), phases=PHASES, **more)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_turns_are_those_of_a_hand_written_loop(kind):
    """Two optimizers of torch's, one for each network, over the same batches and draws."""
    task = turns()
    ours = walked(
        task,
        steps=9,
        batch_size="full",
        optimizer=getattr(thalweg, kind)(task.model.parameters(), lr=0.02),
    )
    model, batch = rivals(), data()
    optimizers = {
        name: getattr(torch.optim, kind)(model.get_submodule(name).parameters(), lr=0.02)
        for name in PHASES
    }
    for number in range(1, 10):
        for turn, (name, loss) in enumerate(PHASES.items()):
            place = (number, 0, turn) if turn else (number, 0)
            torch.manual_seed(key(Purpose.STEP, 0, *place))
            model.zero_grad()
            loss(model, batch).backward()
            optimizers[name].step()
    assert torch.allclose(weights(ours.task.model), weights(model), rtol=1e-5, atol=1e-7)
    assert all(p.requires_grad for p in task.model.parameters())


def test_a_turn_moves_its_own_network_alone():
    def still(model: Any, batch: Any) -> Tensor:
        return 0 * generator_loss(model, batch)

    task = thalweg.Task(rivals(), data(), phases={"critic": critic_loss, "generator": still})
    before = weights(task.model.generator)  # pyright: ignore[reportArgumentType]
    walked(task)
    assert torch.equal(weights(task.model.generator), before)  # pyright: ignore[reportArgumentType]
    assert not torch.equal(weights(task.model.critic), weights(rivals().critic))  # pyright: ignore[reportArgumentType]


def test_a_turn_that_is_not_finite_is_no_turn():
    def broken(model: Any, batch: Any) -> Tensor:
        return generator_loss(model, batch) * float("nan")

    task = thalweg.Task(rivals(), data(), phases={"critic": critic_loss, "generator": broken})
    before = weights(task.model.generator)  # pyright: ignore[reportArgumentType]
    walked(task)
    assert torch.equal(weights(task.model.generator), before)  # pyright: ignore[reportArgumentType]
    assert weights(task.model.critic).isfinite().all()  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_turns_that_were_stopped_go_on_to_the_bit(accumulate, tmp_path):
    def descent(name: str, until: int, **more: Any) -> Any:
        task = turns(validation=data())
        optimizer = thalweg.Adam(task.model.parameters(), lr=0.02)
        return walked(
            task,
            steps=until,
            optimizer=optimizer,
            accumulate=accumulate,
            folder=tmp_path / name,
            horizon=20,
            **more,
        )

    whole = descent("whole", 20)
    descent("parts", 7)
    parts = descent("parts", 20, resume=True)
    assert torch.equal(weights(whole.task.model), weights(parts.task.model))
    assert whole.evaluations == parts.evaluations or [row.values for row in whole.evaluations] == [
        row.values for row in parts.evaluations
    ]


# ---------------------------------------------------------------- through fit, by name


MODULE = """
import torch
from torch import nn
import thalweg

def loss(model, batch):
    inputs, targets = batch
    outputs = model(inputs)
    return {"error": (outputs - targets).square().mean(), "size": 0.1 * outputs.square().mean()}

def make(seed):
    inputs = torch.randn(200, 3)
    return thalweg.Task(nn.Linear(3, 1), (inputs, inputs.sum(1, keepdim=True)), batch_loss=loss)

def wrong():
    return 3

def loader():
    pairs = [(torch.randn(3), torch.randn(1)) for _ in range(20)]
    return thalweg.Task(nn.Linear(3, 1), torch.utils.data.DataLoader(pairs), loss="mse")

def shaped():
    inputs = torch.randn(200, 3)
    return thalweg.Task(nn.Linear(3, 1), (inputs, inputs), batch_loss=lambda m, b: m(b[0]))
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """The name of a module in the current folder."""
    monkeypatch.chdir(tmp_path)
    name = f"own_{abs(hash(str(tmp_path))):x}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    return name


def test_a_named_task_is_fitted_resumed_and_loaded(module, tmp_path):
    run = thalweg.fit(f"{module}:make", steps=30, quiet=True, name="r")
    assert run.result["task"]["train_rows"] == 160
    assert run.result["test"].keys() == {"loss", "error", "size"}
    shown = [line.split() for line in summary_text(run.result).splitlines()]
    for name in ("error", "size"):
        assert [name, format(run.result["test"][name], ".4g")] in shown
    longer = thalweg.resume("r", steps="+10", quiet=True)
    assert longer.result["steps"] == 40
    loaded = thalweg.load("r")
    assert torch.equal(weights(loaded.model), weights(longer.model))


def test_a_task_object_is_fitted_and_brought_again(tmp_path):
    def task() -> thalweg.Task:
        return thalweg.Task(net(), data(), batch_loss=error_and_size)

    whole = thalweg.fit(task(), steps=30, quiet=True, out=str(tmp_path), name="whole")
    thalweg.fit(task(), steps=30, quiet=True, out=str(tmp_path), name="r")
    longer = thalweg.resume(tmp_path / "r", task(), steps="+10", quiet=True)
    again = thalweg.resume(tmp_path / "whole", task(), steps="+10", quiet=True)
    assert torch.equal(weights(longer.model), weights(again.model))
    assert whole.result["status"] == "budget"
    with pytest.raises(RunError, match="given as an object"):
        thalweg.resume(tmp_path / "r", steps="+10", quiet=True)


def test_a_named_function_of_elsewhere_is_not_called(module, tmp_path, monkeypatch):
    thalweg.fit(f"{module}:make", steps=5, quiet=True, name="r")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for use in (thalweg.load, lambda run: thalweg.resume(run, steps="+5", quiet=True)):
        with pytest.raises(RunError, match="no file of the current folder holds it"):
            use(tmp_path / "runs" / "r")


def turns_compiled() -> Any:
    return walked(turns(), compile=True)


def lossy(loss: Any) -> Any:
    return walked(thalweg.Task(net(), data(), batch_loss=loss))


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: thalweg.Task(net(), data(), loss="mse", batch_loss=total), "one of loss, batch_loss"),
    (lambda: thalweg.Task(net(), data(), phases={"head": total}), "no part of that name"),
    (turns_compiled, "not compiled"),
    (lambda: walked(turns(validation=data()), restore_best=True), "which weights are best"),
    (lambda: lossy(lambda m, b: m(b[0])), r"a tensor of shape \(32, 1\)"),
    (lambda: lossy(lambda m, b: {"a": m(b[0])}), r"'a': a tensor of shape \(32, 1\)"),
    (lambda: lossy(lambda m, b: 1.0), "returned a float"),
    (lambda: lossy(lambda m, b: {}), "no loss: an empty mapping"),
    (lambda: lossy(lambda m, b: {"loss": total(m, b)}), "cannot be the name of a loss"),
]


@pytest.mark.parametrize(("attempt", "text"), REFUSED)
def test_what_a_task_refuses(attempt, text):
    with pytest.raises(UsageError, match=text):
        attempt()


@pytest.mark.parametrize(
    ("name", "more", "text"),
    [
        ("wrong", {}, "returned a int: it must return a thalweg.Task"),
        ("absent", {}, "holds nothing of that name"),
        ("loader", {}, "a loader of batches"),
        ("shaped", {}, r"a tensor of shape \(20, 1\)"),
        ("make", {"target": "y"}, "target has no effect"),
        ("make", {"model": "linear"}, "model has no effect"),
        ("make", {"class_weights": "balanced"}, "class-weights has no effect"),
    ],
)
def test_what_fit_refuses_of_a_named_task(name, more, text, module, tmp_path):
    with pytest.raises(UsageError, match=text):
        thalweg.fit(f"{module}:{name}", steps=5, quiet=True, **more)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", ["model", "loss", "metric"])
@pytest.mark.parametrize("name", ["os:abort", "antigravity:main", "torch.hub:load"])
def test_a_function_that_a_strange_folder_names_is_not_even_imported(kind, name, tmp_path):
    with pytest.raises(RunError, match="no file of the current folder holds it"):
        check_functions(tmp_path / "run.toml", {kind: name})
    assert "antigravity" not in sys.modules
