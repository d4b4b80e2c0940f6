"""The pieces for a loop of one's own: the update is the plain loop's, and the state goes on."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import thalweg
from thalweg.errors import RunError, UsageError
from thalweg.optim import OPTIMIZERS, make
from thalweg.record import read

BATCHES = 12


def data(seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of 8 points of three numbers, and a smooth function of them."""
    source = torch.Generator().manual_seed(seed)
    xs = torch.randn(BATCHES, 8, 3, generator=source)
    return [(x, (x[:, :1] * x[:, 1:2]).sin()) for x in xs]


def net(*, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))


BUILDS: dict[str, Any] = {
    **{f"thalweg's {name}": (lambda m, name=name: make(name, m, {})) for name in OPTIMIZERS},
    "torch's sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9),
    "torch's adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01),
}


def guarded(model: nn.Module, optimizer: Any, batches: list[Any], **settings: Any) -> thalweg.Guard:
    """Take all batches through a guard."""
    with thalweg.Guard(model, optimizer, **settings) as guard:
        for x, y in batches:
            with guard.forward():
                loss = functional.mse_loss(model(x), y)
            loss.backward()
            guard.step(loss, weight=len(x))
        guard.flush()
    return guard


def plain(model: nn.Module, optimizer: Any, batches: list[Any]) -> None:
    """The same by hand."""
    for x, y in batches:
        optimizer.zero_grad()
        functional.mse_loss(model(x), y).backward()
        optimizer.step()


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.parametrize("mode", ["off", "advise", "act"])
@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_on_a_healthy_run_it_changes_nothing(build, mode):
    ours, theirs = net(), net()
    guard = guarded(ours, build(ours), data(), mode=mode)
    plain(theirs, build(theirs), data())
    assert equal(ours, theirs)
    assert guard.number == BATCHES
    assert guard.events == []


@pytest.mark.parametrize("accumulate", [2, 3, 5, 12, 20])
def test_a_window_is_one_large_batch(accumulate):
    """The last one as well, which may be short: and micro-batches of unlike sizes count as such."""
    uneven = [(x[: 3 + i % 5], y[: 3 + i % 5]) for i, (x, y) in enumerate(data())]
    ours, theirs = net().double(), net().double()
    uneven = [(x.double(), y.double()) for x, y in uneven]
    windows = [uneven[i : i + accumulate] for i in range(0, BATCHES, accumulate)]
    joined = [tuple(map(torch.cat, zip(*window, strict=True))) for window in windows]
    guarded(ours, torch.optim.SGD(ours.parameters(), lr=0.1), uneven, accumulate=accumulate)
    plain(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1), joined)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=1e-12, atol=1e-15)


def test_dropout_is_counted():
    models = [net(dropout=0.5) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        torch.rand(int(torch.randint(1, 9, ())))
        guarded(model, torch.optim.SGD(model.parameters(), lr=0.1), data(), seed=seed)
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def poisoned(number: int, value: float) -> list[Any]:
    """The batches, one of them with targets that are not finite."""
    batches = data()
    batches[number - 1] = (batches[number - 1][0], batches[number - 1][1] * value)
    return batches


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("mode", ["advise", "act"])
@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_step_that_is_not_finite_is_none(build, mode, value):
    ours, theirs = net(), net()
    guard = guarded(ours, build(ours), poisoned(5, value), mode=mode)
    plain(theirs, build(theirs), [*data()[:4], *data()[5:]])
    assert [(event.number, event.kind) for event in guard.events] == [(5, "nonfinite")]
    if not any(group.get("betas") for group in build(net()).param_groups):
        assert equal(ours, theirs)
    assert all(bool(torch.isfinite(p).all()) for p in ours.parameters())


def test_without_a_guard_it_is_applied():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    guarded(model, optimizer, poisoned(5, math.nan), mode="off")
    assert not all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_fp16_overflows_halve_the_scale():
    model = net()
    optimizer = thalweg.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    guard = thalweg.Guard(model, optimizer, scaler=scaler, mode="act")
    for x, y in data():
        with guard.forward(), torch.autocast("cpu", torch.float16):
            loss = functional.mse_loss(model(x).float(), y)
        scaler.scale(loss).backward()
        guard.step(loss)
    assert scaler.get_scale() < 2.0**40
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


# Saving.


def parts(seed: int = 0) -> dict[str, Any]:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return {
        "model": model,
        "optimizer": optimizer,
        "sampler": thalweg.Sampler(30, seed=seed),
        "guard": thalweg.Guard(model, optimizer, mode="act"),
        "schedule": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    }


def work(made: dict[str, Any], batches: list[Any]) -> None:
    for x, y in batches:
        with made["guard"].forward():
            loss = functional.mse_loss(made["model"](x), y)
        loss.backward()
        if made["guard"].step(loss):
            made["schedule"].step()


def test_what_was_saved_goes_on(tmp_path):
    whole, first, second = parts(), parts(), parts()
    work(whole, data())
    work(first, data()[:7])
    assert thalweg.load_state(tmp_path, **second) is None
    thalweg.save(tmp_path, **first)
    assert thalweg.load_state(tmp_path, **second) == 7
    work(second, data()[7:])
    assert equal(second["model"], whole["model"])
    assert second["schedule"].get_last_lr() == whole["schedule"].get_last_lr()


def test_a_damaged_checkpoint_is_left_out(tmp_path):
    made = parts()
    for _ in range(3):
        work(made, data()[:2])
        thalweg.save(tmp_path, **made, keep=2)
    folders = sorted((tmp_path / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["step-00000004", "step-00000006"]
    weights = folders[1] / "tensors.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.warns(UserWarning, match="left out.*step 4 is used"):
        assert thalweg.load_state(tmp_path, **parts()) == 4


def test_the_record_of_a_resumed_loop_is_one(tmp_path):
    for batches in (data()[:7], data()[7:]):
        made = parts()
        guard = thalweg.Guard(made["model"], made["optimizer"], record=tmp_path)
        made["guard"] = guard
        thalweg.load_state(tmp_path, **made)
        with guard:
            work(made, batches)
            thalweg.save(tmp_path, **made)
    assert read(tmp_path).steps["number"].tolist() == list(range(1, BATCHES + 1))


def saved(tmp_path: Path, **changed: Any) -> dict[str, Any]:
    thalweg.save(tmp_path, **{**parts(), **changed})
    return parts()


def another_model(tmp_path: Path) -> None:
    made = saved(tmp_path)
    made["model"] = nn.Linear(3, 1)
    made["optimizer"] = torch.optim.Adam(made["model"].parameters())
    thalweg.load_state(tmp_path, **made)


def without(name: str) -> Any:
    def act(tmp_path: Path) -> None:
        made = saved(tmp_path)
        del made[name]
        thalweg.load_state(tmp_path, **made)

    return act


def in_a_window(tmp_path: Path) -> None:
    made = parts()
    made["guard"] = thalweg.Guard(made["model"], made["optimizer"], accumulate=3)
    work(made, data()[:2])
    thalweg.save(tmp_path, **made)


REFUSED = {
    "another model": (another_model, RunError, "trains other parameters"),
    "another seed": (
        lambda at: (saved(at), thalweg.load_state(at, **parts(seed=1))),
        RunError,
        "seed 0, this one 1",
    ),
    "no sampler": (without("sampler"), RunError, "load_state has no sampler"),
    "no schedule": (without("schedule"), RunError, "load_state has no schedule"),
    "a part too many": (
        lambda at: (
            thalweg.save(at, **{k: v for k, v in parts().items() if k != "schedule"}),
            thalweg.load_state(at, **parts()),
        ),
        RunError,
        "the checkpoint has no schedule",
    ),
    "inside a window": (in_a_window, UsageError, "a window of 3 micro-batches is open"),
    "no number": (
        lambda at: thalweg.save(at, model=net(), optimizer=torch.optim.SGD(net().parameters())),
        UsageError,
        "needs a guard",
    ),
    "no window": (
        lambda at: thalweg.Guard(net(), torch.optim.SGD(net().parameters()), accumulate=0),
        UsageError,
        "accumulate is 0",
    ),
    "no mode": (
        lambda at: thalweg.Guard(net(), torch.optim.SGD(net().parameters()), mode="on"),
        UsageError,
        "mode is 'on'",
    ),
    "no weight": (
        lambda at: parts()["guard"].step(torch.tensor(1.0), weight=0),
        UsageError,
        "weight is 0",
    ),
}


@pytest.mark.parametrize(("act", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(act, kind, words, tmp_path):
    with pytest.raises(kind, match=words), warnings.catch_warnings():
        act(tmp_path)


def test_a_folder_of_ones_own_loop_is_no_run_to_resume(tmp_path):
    saved(tmp_path)
    with pytest.raises(RunError, match="load_state goes on with it"):
        thalweg.resume(tmp_path)


SCHEDULERS = {
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 115),
    "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.99),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 220),
    "ours": lambda o: thalweg.Scheduler(o, thalweg.cosine(), horizon=220),
}


@pytest.mark.parametrize("build", SCHEDULERS.values(), ids=SCHEDULERS.keys())
def test_a_roll_back_leaves_the_rate_to_its_scheduler(build):
    torch.manual_seed(0)
    x = torch.randn(96, 4)
    y = (x[:, 0] > 0).long()

    def rates(breaks_at: int) -> tuple[list[float], list[str]]:
        model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler, found = build(optimizer), []
        with thalweg.Guard(model, optimizer, mode="act") as guard:
            for number in range(1, 221):
                if number == breaks_at:
                    with torch.no_grad():
                        for p in model.parameters():
                            p.mul_(300)
                with guard.forward():
                    loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                guard.step(loss)
                scheduler.step()
                found.append(optimizer.param_groups[0]["lr"])
        return found, [event.kind for event in guard.events]

    undisturbed, _ = rates(0)
    found, kinds = rates(130)
    assert "rollback" in kinds
    assert found == undisturbed


def test_without_forward_batch_norm_is_undone_all_the_same():
    torch.manual_seed(0)
    x, y = torch.randn(32, 4), torch.randint(0, 2, (32,))
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    with thalweg.Guard(model, torch.optim.SGD(model.parameters(), lr=0.1)) as guard:
        for number in range(1, 6):
            before = [b.clone() for b in model.buffers()]
            loss = nn.functional.cross_entropy(model(x), y) * (math.nan if number == 5 else 1)
            loss.backward()
            guard.step(loss)
            is_same = all(map(torch.equal, model.buffers(), before))
            assert is_same == (number == 5)


@pytest.mark.parametrize("loss", [1.0, torch.ones(3)])
def test_a_loss_that_is_no_number_is_refused(loss):
    model = nn.Linear(1, 1)
    guard = thalweg.Guard(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(UsageError, match="the mean loss"):
        guard.step(loss)


def test_what_is_refused_has_changed_nothing(tmp_path):
    model = nn.Linear(4, 2)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    thalweg.save(
        tmp_path, model=model, optimizer=sgd, sampler=thalweg.Sampler(96, seed=0), number=3
    )
    other = nn.Linear(4, 2)
    before = other.weight.clone()
    sgd = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(RunError, match="seed 0, this one 5"):
        thalweg.load_state(
            tmp_path, model=other, optimizer=sgd, sampler=thalweg.Sampler(96, seed=5)
        )
    adamw = torch.optim.AdamW(other.parameters())
    with pytest.raises(RunError, match="optimizer is SGD, this one AdamW"):
        thalweg.load_state(
            tmp_path, model=other, optimizer=adamw, sampler=thalweg.Sampler(96, seed=0)
        )
    assert torch.equal(other.weight, before)
