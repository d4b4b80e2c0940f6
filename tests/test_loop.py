"""The descent: exact, repeatable, and ended for a reason. Everything random is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import thalweg
from thalweg import (
    budget,
    constant,
    converged,
    cosine,
    descend,
    linear,
    plateau,
    reached,
    warmup,
)
from thalweg.errors import UsageError
from thalweg.loop import batches
from thalweg.record import Memory
from thalweg.tasks.sources import Arrays

NAN, INF = math.nan, math.inf


def net(*, dropout: float = 0.0, width: int = 8) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(3, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 1)
    ).double()


def samples(size: int = 40, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three numbers and a smooth function of them, with a little noise."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, generator=source, dtype=torch.float64)
    noise = torch.randn(size, generator=source, dtype=torch.float64)
    return x, x[:, 0] * x[:, 1] + x[:, 2] + 0.1 * noise


def task_of(model: nn.Module, *, size: int = 40, has_validation: bool = False, loss: Any = "mse"):
    """A task in float64: the sources are given ready, so that nothing is cast."""
    validation = Arrays(*samples(30, seed=1)) if has_validation else None
    return thalweg.Task(model, Arrays(*samples(size)), loss=loss, validation=validation)


def train(model: nn.Module, *, optimizer: Any = None, validation: bool = False, **settings: Any):
    """Run to the end; the closed descent."""
    optimizer = optimizer or thalweg.AdamW(model.parameters(), lr=0.01)
    task = task_of(model, has_validation=validation)
    with descend(task, optimizer, **{"batch_size": 8, "until": budget(steps=20), **settings}) as d:
        for _ in d:
            pass
    return d


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def equal(model: nn.Module, other: nn.Module) -> bool:
    """Are all weights equal to the bit?"""
    return bool(torch.equal(weights(model), weights(other)))


# The full batch.


@pytest.mark.parametrize("chunk", [1, 7, 13, 39, 40, 41])
def test_full_is_the_exact_gradient(chunk, monkeypatch):
    """One step of plain descent from the gradient of all 40 samples at once; 40 = 5 * 7 + 5."""
    monkeypatch.setattr(batches, "CHUNK", chunk)
    model, other = net(), net()
    optimizer = thalweg.SGD(model.parameters(), lr=0.5)
    descent = train(model, optimizer=optimizer, batch_size="full", until=budget(steps=1))

    x, y = samples()
    loss = nn.functional.mse_loss(other(x).squeeze(-1), y)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in other.parameters()])
    assert torch.allclose(weights(model), weights(other) - 0.5 * gradient, rtol=1e-13, atol=1e-14)

    steps = descent.record.history().steps
    assert steps["loss"][0] == pytest.approx(loss.item(), rel=1e-13)
    assert steps["gradient_norm"][0] == pytest.approx(gradient.norm().item(), rel=1e-6)
    assert steps["samples"][0] == 40
    assert steps["epoch"][0] == 1


def test_half_the_data_is_not_the_exact_gradient():
    model, other = net(), net()
    for each, size in ((model, "full"), (other, 20)):
        optimizer = thalweg.SGD(each.parameters(), lr=0.5)
        train(each, optimizer=optimizer, batch_size=size, until=budget(steps=1))
    assert not torch.allclose(weights(model), weights(other), rtol=1e-6)


def test_a_chunk_never_holds_a_lone_sample(monkeypatch):
    """Batch statistics need two."""
    monkeypatch.setattr(batches, "CHUNK", 13)
    train(normed(), batch_size="full", until=budget(steps=2))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()


INEXACT = {
    "batch norm over chunks": (normed, "full", 13, True),
    "batch norm over one chunk": (normed, "full", 40, False),
    "a lone sample that joins": (normed, "full", 39, False),
    "batch norm over batches": (normed, 8, 13, False),
    "no batch norm": (net, "full", 13, False),
}


@pytest.mark.parametrize(("build", "batch_size", "chunk", "is_told"), INEXACT.values(), ids=INEXACT)
def test_a_full_batch_that_is_not_exact_is_told(build, batch_size, chunk, is_told, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", chunk)
    descent = train(build(), batch_size=batch_size, until=budget(steps=1))
    notices = [event.text for event in descent.record.history().events if event.kind == "notice"]
    assert [text.startswith("not exact") for text in notices] == [True] * is_told


# The same seed, the same bits.

BATCH_SIZES = (1, 8, "full")


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_same_seed_same_bits(batch_size):
    runs = [net(dropout=0.5) for _ in range(2)]
    for model, draws in zip(runs, (0, 5), strict=True):
        torch.rand(draws)
        train(model, batch_size=batch_size, seed=4)
    assert equal(*runs)


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
def test_another_seed_other_bits(batch_size):
    runs = [net(dropout=0.5) for _ in range(2)]
    for seed, model in enumerate(runs):
        train(model, batch_size=batch_size, seed=seed)
    assert not equal(*runs)


@pytest.mark.parametrize("at", [1, 4, 7])
def test_two_halves_are_one_whole(at):
    whole, halves = net(dropout=0.5), net(dropout=0.5)
    expected = train(whole, schedule=warmup(3) >> cosine(), validation=True, evaluate_every=3)

    optimizer = thalweg.AdamW(halves.parameters(), lr=0.01)
    settings = {"schedule": warmup(3) >> cosine(), "evaluate_every": 3, "batch_size": 8}
    task = task_of(halves, has_validation=True)
    with descend(task, optimizer, until=budget(steps=20), **settings) as descent:
        for step in descent:
            if step.number == at:
                break
        numbers = [step.number for step in descent]
    assert numbers == list(range(at + 1, 21))
    assert equal(whole, halves)
    assert same_but_time(descent, expected)


def same_but_time(descent, other) -> bool:
    """Do two descents tell the same steps and evaluations, the seconds apart?"""
    own, theirs = descent.record.history(), other.record.history()
    names = own.steps.keys() - {"seconds"}
    columns, others = ([row.steps[name].tolist() for name in names] for row in (own, theirs))
    looks, more = (
        [(r.number, r.values, r.noise) for r in row.evaluations] for row in (own, theirs)
    )
    return columns == others and looks == more


def test_telling_the_same_can_fail():
    first, second = (train(net(), seed=seed) for seed in (0, 1))
    assert same_but_time(first, first)
    assert not same_but_time(first, second)


def test_what_the_body_draws_changes_nothing():
    quiet, loud = net(dropout=0.5), net(dropout=0.5)
    train(quiet)
    optimizer = thalweg.AdamW(loud.parameters(), lr=0.01)
    with descend(task_of(loud), optimizer, batch_size=8, until=budget(steps=20)) as descent:
        for step in descent:
            torch.rand(step.number)
            torch.manual_seed(step.number)
    assert equal(quiet, loud)


@pytest.mark.parametrize("has_failed", [False, True])
def test_the_generator_is_put_back(has_failed):
    model = net(dropout=0.5)
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    if has_failed:
        with pytest.raises(RuntimeError, match="body"):
            fail_in_body(model)
    else:
        train(model)
    assert torch.equal(torch.rand(3), expected)


def fail_in_body(model):
    optimizer = thalweg.AdamW(model.parameters())
    with descend(task_of(model), optimizer, until=budget(steps=3)) as descent:
        for _ in descent:
            raise RuntimeError("body")


def test_a_gradient_from_before_does_not_count():
    clean, stained = net(), net()
    for p in stained.parameters():
        p.grad = torch.full_like(p, 7.0)
    train(clean)
    train(stained)
    assert equal(clean, stained)


# Optimizers of torch's own.


def test_torch_sgd_takes_the_same_way():
    ours, theirs = net(), net()
    train(ours, optimizer=thalweg.SGD(ours.parameters(), lr=0.05, momentum=0.9))
    train(theirs, optimizer=torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9))
    assert torch.allclose(weights(ours), weights(theirs), rtol=1e-12, atol=1e-14)


OPTIMIZERS = {
    "thalweg SGD": thalweg.SGD,
    "thalweg AdamW": thalweg.AdamW,
    "torch SGD": torch.optim.SGD,
    "torch Adam": torch.optim.Adam,
}
every_optimizer = pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)


# When it ends.


@dataclass(frozen=True)
class Size:
    """Sizes of a run whose horizon must be right, down to the step."""

    size: int
    batch_size: int | str


RUNS = [
    Size(40, 8),
    Size(40, 7),
    Size(10, 3),
    Size(35, 32),
    Size(33, 32),
    Size(5, "full"),
    Size(3, 1),
]
BUDGETS = {
    "steps": budget(steps=13),
    "an epoch": budget(epochs=1),
    "epochs": budget(epochs=7),
    "half an epoch": budget(epochs=0.5),
    "a bit of one": budget(epochs=2.65),
    "samples": budget(samples=100),
    "two": budget(epochs=3, samples=1000),
    "or": budget(epochs=3) | budget(steps=11),
    "and": budget(epochs=3) & budget(steps=11),
}


@pytest.mark.parametrize("run", RUNS, ids=str)
@pytest.mark.parametrize("until", BUDGETS.values(), ids=BUDGETS)
def test_the_horizon_is_where_it_ends(run, until):
    model = net(width=1)
    optimizer = thalweg.SGD(model.parameters(), lr=0.01)
    task = task_of(model, size=run.size)
    with descend(task, optimizer, batch_size=run.batch_size, until=until) as descent:
        *_, last = descent
    assert last.number == descent.horizon
    assert descent.ending.status == "budget"


@pytest.mark.parametrize("build", [thalweg.AdamW, torch.optim.AdamW])
def test_a_budget_of_time_is_measured_on_a_copy(build):
    """The steps that are timed leave model, optimizer and generator alone."""
    model, untouched = net(dropout=0.5), net(dropout=0.5)
    optimizer = build(model.parameters(), lr=0.01)
    torch.manual_seed(3)
    with descend(task_of(model), optimizer, schedule=cosine(), until=budget(time=30)) as descent:
        assert descent.horizon is not None
        assert descent.horizon >= 1
    assert equal(model, untouched)
    assert not optimizer.state
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(3)))


def test_a_given_horizon_comes_first():
    descent = train(net(), horizon=50, schedule=linear())
    assert descent.horizon == 50
    assert descent.record.history().steps["lr"][-1] == pytest.approx(0.01 * (1 - 19 / 50))


def test_without_an_end_it_goes_on():
    model = net()
    optimizer = thalweg.SGD(model.parameters())
    with descend(task_of(model), optimizer, batch_size=1) as descent:
        for step in descent:
            if step.number == 300:
                break
        assert descent.ending is None


def test_time_ends_it(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("thalweg.loop.descent.time.perf_counter", lambda: float(next(clock)))
    descent = train(net(), until=budget(time=30))
    assert descent.ending.status == "budget"
    assert "30 seconds" in descent.ending.reason


def test_convergence_ends_it_and_the_best_weights_come_back():
    """With far too large a rate at the end, the last weights are not the best ones."""
    model = net()
    optimizer = thalweg.SGD(model.parameters(), lr=0.05)
    task = task_of(model, has_validation=True)
    settings = {"evaluate_every": 2, "restore_best": True, "until": converged(patience=4)}
    seen = {}
    with descend(task, optimizer, batch_size=8, **settings) as descent:
        for step in descent:
            if step.number == 10:
                optimizer.param_groups[0]["lr"] = 0.5
            if step.evaluation and descent.ending is None:
                seen[step.number] = weights(model)
    best = min(descent.evaluations, key=lambda row: row.values["loss"])
    assert descent.ending.status == "converged"
    assert best.number < step.number
    assert torch.equal(weights(model), seen[best.number])
    assert [event.kind for event in step.events] == ["best", "stop"]
    assert step.events[0].number == best.number


@pytest.mark.parametrize("guard", ["off", "advise", "act"])
def test_an_evaluation_that_is_not_finite_is_never_the_best(guard):
    calls = iter(range(10**6))

    def loss(outputs, targets):
        value = (outputs.squeeze(-1) - targets).square().mean()
        is_third = not outputs.requires_grad and next(calls) == 2
        return value * NAN if is_third else value

    model = net()
    optimizer = thalweg.SGD(model.parameters(), lr=0.05)
    task = task_of(model, has_validation=True, loss=loss)
    settings = {"evaluate_every": 2, "restore_best": True, "until": budget(steps=10)}
    with descend(task, optimizer, batch_size=8, guard=guard, **settings) as descent:
        numbers = [step.number for step in descent]
    assert numbers[-1] == 10
    assert math.isnan(descent.evaluations[2].values["loss"])
    assert descent.best.number != 6
    kinds = [event.kind for event in descent.events if event.number == 6]
    assert kinds == ([] if guard == "off" else ["rollback"])


def test_a_skipped_step_leaves_no_nan_in_batch_norm():
    inputs = torch.full((8, 3), NAN)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1)
    )
    task = thalweg.Task(model, (inputs, torch.ones(8)), loss="mse")
    before = [value.clone() for value in model.state_dict().values()]
    settings = {"batch_size": 8, "guard": "act"}
    with descend(task, thalweg.SGD(model.parameters()), **settings) as descent:
        *_, step = descent
    assert descent.ending.status == "stopped"
    assert descent.ending.reason.startswith(f"the data of {step.number} steps in a row held")
    floats = [b for b in before if b.is_floating_point()]
    after = [b for b in model.state_dict().values() if b.is_floating_point()]
    assert all(map(torch.equal, after, floats))


def test_data_of_random_items_is_a_function_of_the_seed():
    class Noisy:
        def __len__(self):
            return 16

        def __getitem__(self, i):
            return torch.randn(3, dtype=torch.float32), torch.tensor(float(i))

    def last_loss():
        torch.rand(int(torch.randint(1, 50, ())))
        model = net().float()
        task = thalweg.Task(model, Noisy(), loss="mse")
        with descend(
            task, thalweg.SGD(model.parameters()), until=budget(steps=4), seed=3
        ) as descent:
            return [step.loss for step in descent]

    assert last_loss() == last_loss()


# Non-finite steps.


def poisoned(number: int, *, in_gradient: bool, value: float):
    """A loss that is spoilt at one step: itself, or its gradient alone."""
    calls = iter(range(1, 10**6))

    def loss(outputs, targets):
        sound = (outputs.squeeze(-1) - targets).square().mean()
        if not outputs.requires_grad or next(calls) != number:
            return sound
        if in_gradient:
            outputs.register_hook(lambda grad: grad * value)
            return sound
        return sound * value

    return loss


@every_optimizer
@pytest.mark.parametrize("in_gradient", [False, True], ids=["loss", "gradient"])
@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("guard", ["advise", "act"])
def test_a_nonfinite_step_is_not_applied(build, in_gradient, value, guard):
    model, sound = net(), net()
    loss = poisoned(6, in_gradient=in_gradient, value=value)
    optimizer = build(model.parameters(), lr=0.01)
    settings = {"batch_size": 8, "until": budget(steps=9), "guard": guard}
    with descend(task_of(model, loss=loss), optimizer, **settings) as descent:
        seen = {step.number: weights(model) for step in descent}
    train(sound, optimizer=build(sound.parameters(), lr=0.01), until=budget(steps=5))

    assert torch.equal(seen[6], seen[5])
    assert torch.equal(seen[5], weights(sound))
    assert not torch.equal(seen[7], seen[6])
    history = descent.record.history()
    assert [(event.number, event.kind) for event in history.events] == [
        (6, "nonfinite"),
        (9, "stop"),
    ]
    assert "step 6" in history.events[0].text
    name = "gradient_norm" if in_gradient else "loss"
    assert [math.isfinite(norm) for norm in history.steps[name]] == [n != 6 for n in range(1, 10)]


def test_without_a_guard_it_is_applied():
    model = net()
    task = task_of(model, loss=poisoned(6, in_gradient=False, value=NAN))
    optimizer = thalweg.SGD(model.parameters(), lr=0.01)
    until = budget(steps=7)
    with descend(task, optimizer, batch_size=8, until=until, guard="off") as descent:
        list(descent)
    assert bool(torch.isnan(weights(model)).all())
    assert [event.kind for event in descent.events] == ["stop"]


@pytest.mark.parametrize("guard", ["off", "advise", "act"])
def test_an_fp16_overflow_is_no_step_guard_or_not(guard):
    model = net().float()
    x, y = (part.float() for part in samples())
    optimizer = thalweg.SGD(model.parameters(), lr=0.01)
    task = thalweg.Task(model, (x, 1e4 * y), loss="mse")
    settings = {"precision": "fp16", "until": budget(steps=20), "guard": guard}
    with descend(task, optimizer, batch_size=8, **settings) as descent:
        steps = list(descent)
    scales = [step.measured()["loss_scale"] for step in steps]
    assert not math.isfinite(steps[0].gradient_norm)
    assert scales[0] == 65536
    assert scales[-1] < 65536
    assert np.isfinite(weights(model).numpy()).all()


def test_a_run_that_is_nothing_but_nan_is_stopped():
    model = net()
    task = task_of(model, loss=lambda outputs, targets: outputs.mean() * NAN)
    before = weights(model)
    optimizer = thalweg.SGD(model.parameters(), lr=0.01)
    with descend(task, optimizer, batch_size=8, guard="act") as descent:
        steps = [step.number for step in descent]
    assert len(steps) < 200
    assert descent.ending.status == "stopped"
    assert descent.events[0].kind == "nonfinite"
    assert torch.equal(weights(model), before)


def test_a_block_is_judged_at_its_end():
    """On a GPU several steps are drained at once, and told at the end of their block."""
    model = net()
    task = task_of(model, loss=poisoned(3, in_gradient=False, value=NAN))
    optimizer = thalweg.SGD(model.parameters(), lr=0.01)
    with descend(task, optimizer, batch_size=8, until=budget(steps=8)) as descent:
        descent._drain.every = 8
        events = {step.number: [event.kind for event in step.events] for step in descent}
    assert events.pop(8) == ["nonfinite", "stop"]
    assert not any(events.values())
    assert descent.events[0].number == 3
    assert np.isfinite(weights(model).numpy()).all()


# The learning rate.


@every_optimizer
def test_the_schedule_sets_the_rate(build):
    model = net()
    optimizer = build(model.parameters(), lr=0.01)
    descent = train(model, optimizer=optimizer, schedule=warmup(4) >> cosine())
    schedule = warmup(4) >> cosine()
    expected = [0.01 * schedule(number, 20) for number in range(1, 21)]
    assert descent.record.history().steps["lr"].tolist() == pytest.approx(expected)


@every_optimizer
def test_a_rate_set_from_outside_counts_and_is_told(build):
    model = net()
    optimizer = build(model.parameters(), lr=0.01)
    task = task_of(model)
    with descend(task, optimizer, schedule=linear(), until=budget(steps=20)) as descent:
        steps = []
        for step in descent:
            steps.append(step)
            if step.number == 10:
                optimizer.param_groups[0]["lr"] = 0.5
    factor = [1 - (number - 1) / 20 for number in range(1, 21)]
    expected = [0.01 * f for f in factor[:10]] + [0.5 / factor[9] * f for f in factor[10:]]
    assert [step.lr for step in steps] == pytest.approx(expected)

    (event,) = steps[10].events
    assert (event.kind, event.number, event.data["lr"]) == ("lr", 11, 0.5)
    assert "0.5" in event.text
    assert [step.number for step in steps if step.events] == [11, 20]


def test_groups_keep_their_own_rates():
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}]
    optimizer = thalweg.SGD(groups, lr=0.01)
    with descend(task_of(model), optimizer, schedule=linear(), until=budget(steps=4)) as descent:
        for _ in descent:
            rates = [group["lr"] for group in optimizer.param_groups]
            assert rates[0] == pytest.approx(10 * rates[1])


def test_a_group_may_come_late():
    model = net()
    optimizer = thalweg.SGD(model[0].parameters(), lr=0.01)
    head = weights(model[3])
    with descend(task_of(model), optimizer, schedule=linear(), until=budget(steps=10)) as descent:
        for step in descent:
            if step.number == 5:
                assert torch.equal(weights(model[3]), head)
                optimizer.add_param_group({"params": list(model[3].parameters()), "lr": 0.1})
            elif step.number == 9:
                assert optimizer.param_groups[1]["lr"] == pytest.approx(0.1 * (1 - 8 / 10))
    assert not torch.equal(weights(model[3]), head)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1], "put back"


@every_optimizer
@pytest.mark.parametrize("begin", [warmup(0), warmup(6)], ids=str)
def test_a_plateau_looks_at_the_evaluations(build, begin):
    """The rates are the pure function of the run's own evaluations, and the run may be split."""
    schedule = begin >> plateau(0.5, patience=0, threshold=0.05)
    settings = {"schedule": schedule, "evaluate_every": 3, "until": budget(steps=40)}
    model = net()
    descent = train(
        model, optimizer=build(model.parameters(), lr=0.01), validation=True, **settings
    )
    seen = [(row.number, row.values["loss"]) for row in descent.evaluations]
    assert [number for number, _ in seen] == [*range(3, 40, 3), 40]
    expected = [0.01 * schedule(number, 40, seen) for number in range(1, 41)]
    assert descent.record.history().steps["lr"].tolist() == pytest.approx(expected, rel=1e-12)
    assert len({*expected[6:]}) > 2, "it fell more than once"


def test_a_plateau_counts_an_evaluation_that_the_body_asked_for():
    model = net()
    task, optimizer = task_of(model, has_validation=True), thalweg.SGD(model.parameters(), lr=1e-9)
    settings = {"schedule": plateau(0.5, patience=0), "until": budget(steps=12)}
    with descend(task, optimizer, evaluate_every=1000, **settings) as descent:
        rates = []
        for step in descent:
            rates.append(step.lr)
            if step.number in (2, 5):
                descent.evaluate()
    assert rates == [1e-9] * 5 + [0.5e-9] * 7


def test_a_state_loaded_within_a_descent_does_not_end_the_schedule():
    """torch gives the optimizer a new list of groups then."""
    model = net()
    optimizer = thalweg.SGD(model.parameters(), lr=0.01)
    with descend(task_of(model), optimizer, schedule=linear(), until=budget(steps=10)) as descent:
        rates = []
        for step in descent:
            rates.append(optimizer.param_groups[0]["lr"])
            if step.number == 5:
                optimizer.load_state_dict(optimizer.state_dict())
    assert rates[:9] == pytest.approx([0.01 * (1 - k / 10) for k in range(9)])


@pytest.mark.parametrize("status", ["stopped", "interrupted"])
def test_a_wish_is_not_renamed_by_the_last_look(status):
    """The evaluation after the last step meets the goal, but somebody had ended the run."""
    model = net()
    task = task_of(model, has_validation=True)
    until = budget(steps=20) | reached(loss=1e9)
    optimizer = thalweg.SGD(model.parameters())
    with descend(task, optimizer, until=until, evaluate_every=19) as descent:
        for step in descent:
            if step.number == 3:
                descent.stop("enough", status=status)
    assert descent.evaluations[-1].number == 3
    assert (descent.ending.status, descent.ending.reason) == (status, "enough")


def test_epochs_that_end_before_the_time_are_named():
    model = net()
    until = budget(epochs=2, time=1000)
    optimizer = thalweg.SGD(model.parameters())
    with descend(task_of(model), optimizer, schedule=cosine(), until=until) as descent:
        for _ in descent:
            pass
    assert descent.ending.reason == "the budget of 2 epochs was used up"


def test_lbfgs_is_refused():
    model = net()
    with pytest.raises(UsageError, match="LBFGS"):
        descend(task_of(model), torch.optim.LBFGS(model.parameters()))


def test_a_setting_without_effect_warns():
    model = net()
    task = task_of(model)
    task.validation = None
    with pytest.warns(UserWarning, match="no validation data"):
        descend(task, thalweg.SGD(model.parameters()), evaluate_every=5)


# What the body may do.


def test_stop_ends_it_at_once():
    model = net()
    optimizer = thalweg.SGD(model.parameters())
    with descend(task_of(model), optimizer, until=budget(steps=20)) as descent:
        for step in descent:
            if step.number == 7:
                descent.stop("seen enough")
    assert step.number == 7
    assert (descent.ending.status, descent.ending.reason) == ("stopped", "seen enough")
    assert descent.record.history().events[-1].text == "seen enough"


def test_stop_and_break_says_why_too():
    model = net()
    with descend(task_of(model), thalweg.SGD(model.parameters())) as descent:
        for _ in descent:
            descent.stop("seen enough", status="interrupted")
            break
    assert (descent.ending.status, descent.ending.reason) == ("interrupted", "seen enough")


def test_stop_before_the_first_step_takes_one():
    model = net()
    with descend(task_of(model), thalweg.SGD(model.parameters())) as descent:
        descent.stop()
        assert [step.number for step in descent] == [1]


def test_what_is_logged_is_recorded_at_its_step():
    model = net()
    with descend(task_of(model), thalweg.SGD(model.parameters()), until=budget(steps=3)) as descent:
        for step in descent:
            number = torch.tensor(float(step.number))
            descent.log(mine=number, other=NAN)
            number.zero_()
    scalars = descent.record.history().scalars
    assert scalars["mine"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert [number for number, value in scalars["other"] if math.isnan(value)] == [1, 2, 3]


def test_after_closing_there_are_no_more_steps():
    model = net()
    with descend(task_of(model), thalweg.SGD(model.parameters())) as descent:
        next(descent)
    with pytest.raises(UsageError, match="closed"):
        next(descent)
    descent.close()

    ended = train(net())
    assert list(ended) == []


# Evaluations.

WHEN = {
    "every 5": (5, 20, [5, 10, 15, 20]),
    "every 8": (8, 20, [8, 16, 20]),
    "beyond the end": (50, 20, [20]),
    "by default": (None, 45, [20, 40, 45]),
}


@pytest.mark.parametrize(("every", "steps", "numbers"), WHEN.values(), ids=WHEN)
def test_it_evaluates_every_so_often_and_at_the_end(every, steps, numbers):
    descent = train(net(), validation=True, evaluate_every=every, until=budget(steps=steps))
    assert [row.number for row in descent.evaluations] == numbers
    assert [row.number for row in descent.record.history().evaluations] == numbers


def test_an_evaluation_is_the_mean_over_the_set():
    model = net(dropout=0.5)
    descent = train(model, validation=True)
    x, y = samples(30, seed=1)
    with torch.no_grad():
        outputs = model.eval()(x).squeeze(-1)
    last = descent.evaluations[-1].values
    assert last["loss"] == pytest.approx((outputs - y).square().mean().item(), rel=1e-12)
    assert last["rmse"] == pytest.approx(math.sqrt(last["loss"]), rel=1e-12)


def test_one_can_ask_for_an_evaluation():
    model = net()
    task = task_of(model, has_validation=True)
    with descend(task, thalweg.SGD(model.parameters()), until=budget(steps=3)) as descent:
        for step in descent:
            if step.number == 2:
                assert descent.evaluate().number == 2
    assert [row.number for row in descent.evaluations] == [2, 3]

    with pytest.raises(UsageError, match="no validation data"):
        train(net()).evaluate()


def test_evaluating_changes_nothing():
    often, never = net(dropout=0.5), net(dropout=0.5)
    train(often, validation=True, evaluate_every=1)
    train(never)
    assert equal(often, never)


def test_modes_are_put_back_after_an_evaluation():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    model = model.double().train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    task = task_of(model, has_validation=True)
    optimizer = thalweg.SGD(model.parameters(), lr=0.01)
    frozen = model[1].running_mean.clone()
    with descend(task, optimizer, evaluate_every=1, until=budget(steps=3)) as descent:
        for step in descent:
            assert step.evaluation is not None
            assert [module.training for module in model.modules()] == modes
    assert torch.equal(model[1].running_mean, frozen)


def test_noise_is_that_of_the_change():
    """Two evaluations of one model differ by nothing, so their change has no noise."""
    model = net()
    task = task_of(model, has_validation=True)
    optimizer = thalweg.SGD(model.parameters(), lr=0.0)
    with descend(task, optimizer, evaluate_every=1, until=budget(steps=3)) as descent:
        for _ in descent:
            pass
    assert [row.noise for row in descent.evaluations] == [None, 0.0, 0.0]


# Settings.

BAD = {
    "batch_size 0": ({"batch_size": 0}, "batch_size is 0"),
    "batch_size -1": ({"batch_size": -1}, "batch_size is -1"),
    "batch_size 2.5": ({"batch_size": 2.5}, "batch_size is 2.5"),
    "batch_size true": ({"batch_size": True}, "batch_size is True"),
    "batch_size text": ({"batch_size": "all"}, "batch_size is 'all'"),
    "evaluate_every": ({"evaluate_every": 0}, "evaluate_every is 0"),
    "horizon": ({"horizon": 0}, "horizon is 0"),
    "a plateau without validation": ({"schedule": plateau()}, r"plateau\(\) looks at.*no valid"),
    "a schedule's function": ({"schedule": cosine}, r"write cosine\(\.\.\.\)"),
    "a schedule's text": ({"schedule": "cosine"}, "'cosine' is no schedule"),
    "no end": ({"schedule": cosine(), "until": None}, "no end is planned"),
    "no validation": ({"until": converged()}, "validation"),
    "no validation or": ({"until": budget(steps=3) | reached(loss=1)}, "validation"),
}


@pytest.mark.parametrize(("settings", "message"), BAD.values(), ids=BAD)
def test_a_setting_out_of_range_is_told(settings, message):
    with pytest.raises(UsageError, match=message) as caught:
        train(net(), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("optimizer", ["adamw", None, thalweg.SGD])
def test_what_is_no_optimizer_is_told(optimizer):
    task = thalweg.Task(net(), (torch.ones(4, 3), torch.ones(4, 1)), loss="mse")
    with pytest.raises(UsageError, match=r"of type \w+: it must be a torch optimizer"):
        descend(task, optimizer)


def test_a_goal_that_is_not_measured_is_told():
    with pytest.raises(UsageError, match=r"accuracy.*rmse"):
        train(net(), validation=True, until=reached(accuracy=1) | budget(steps=50))


def test_the_record_given_is_used():
    record = Memory()
    assert train(net(), record=record, schedule=constant()).record is record
    assert len(record.history().steps["loss"]) == 20
