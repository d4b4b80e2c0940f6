"""What works beside an optimizer: schedulers, scalers, averages, hooks, sharding, compilation."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR, AveragedModel

from conformance.compare import (
    all_finite,
    assert_close,
    assert_equal,
    copies,
    run,
    set_gradients,
    twins_of,
)
from conformance.subjects import every_subject

pytestmark = every_subject


def samples(num: int = 8) -> Tensor:
    return torch.randn(num, 5, generator=torch.Generator().manual_seed(0))


def in_sequence(optimizer: Any, lr: float) -> lr_scheduler.LRScheduler:
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 2),
        lr_scheduler.CosineAnnealingLR(optimizer, 4),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, [2])


def one_cycle(optimizer: Any, lr: float) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(optimizer, lr, total_steps=8, cycle_momentum=False)


SCHEDULERS: dict[str, Callable[[Any, float], Any]] = {
    "StepLR": lambda optimizer, lr: lr_scheduler.StepLR(optimizer, 2, 0.5),
    "CosineAnnealingLR": lambda optimizer, lr: lr_scheduler.CosineAnnealingLR(optimizer, 6),
    "LambdaLR": lambda optimizer, lr: lr_scheduler.LambdaLR(optimizer, lambda k: 0.9**k),
    "ReduceLROnPlateau": lambda optimizer, lr: lr_scheduler.ReduceLROnPlateau(
        optimizer, patience=0
    ),
    "SequentialLR": in_sequence,
    "OneCycleLR": one_cycle,
}


# A scheduler in a sequence calls its parts in torch's older way.
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
def test_lr_schedulers(subject):
    params, lr = subject.fresh(), subject.lr
    for name, build in SCHEDULERS.items():
        optimizer = subject.make(params)
        scheduler = build(optimizer, lr)
        measured = (1.0,) if name == "ReduceLROnPlateau" else ()
        for k in range(5):
            run(optimizer, params, [k])
            scheduler.step(*measured)
        assert optimizer.param_groups[0]["lr"] != lr, f"{name} has no effect"
        assert all_finite(params), name


def test_onecycle_momentum(subject):
    """OneCycleLR cycles the momentum too, and looks for it in `betas` and in `momentum`."""
    params, optimizer = subject.start()
    if not {"betas", "momentum"} & optimizer.defaults.keys():
        hidden = {"beta", "beta1", "b1", "mu", "moment"} & optimizer.defaults.keys()
        assert not hidden, f"OneCycleLR does not find a momentum that is called {hidden}"
        pytest.skip("a rule without momentum")
    scheduler = lr_scheduler.OneCycleLR(optimizer, subject.lr, total_steps=8)
    seen = [momentum_of(optimizer)]
    for k in range(4):
        run(optimizer, params, [k])
        scheduler.step()
        seen.append(momentum_of(optimizer))
    assert len(set(seen)) > 2, seen
    assert all_finite(params)


def momentum_of(optimizer: Any) -> float:
    group = optimizer.param_groups[0]
    return group["betas"][0] if "betas" in group else group["momentum"]


def test_grad_scaler(subject):
    """A scaled run is as a plain one in which the step with an infinite gradient is left out."""
    scaled = subject.model()
    plain = copy.deepcopy(scaled)
    by_scaler, optimizer = subject.make(scaled.parameters()), subject.make(plain.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    x = samples()
    for k in range(4):
        by_scaler.zero_grad()
        optimizer.zero_grad()
        scaler.scale(scaled(x).pow(2).mean()).backward()
        plain(x).pow(2).mean().backward()
        before = copies(scaled.parameters())
        if k == 1:
            next(scaled.parameters()).grad.view(-1)[0] = float("inf")
        scaler.step(by_scaler)
        scaler.update()
        if k == 1:
            assert_equal(scaled.parameters(), before, "a step with an infinity was taken")
        else:
            optimizer.step()
    pair = scaled.parameters(), plain.parameters()
    assert_close(*pair, "a scaled run goes another way", rtol=1e-4, atol=1e-6)


def test_post_accumulate_grad_hook(subject):
    """One optimizer for each parameter, stepping during backward, is as the ordinary loop."""
    plain = subject.model()
    hooked = copy.deepcopy(plain)
    before = copies(hooked.parameters())
    optimizer = subject.make(plain.parameters())
    optimizers = {p: subject.make([p]) for p in hooked.parameters()}

    def step_one(p: Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in hooked.parameters():
        p.register_post_accumulate_grad_hook(step_one)
    x = samples()
    for _ in range(3):
        optimizer.zero_grad()
        plain(x).pow(2).mean().backward()
        optimizer.step()
        hooked(x).pow(2).mean().backward()

    if subject.couples_tensors:
        assert all_finite(hooked.parameters())
        for p, start in zip(hooked.parameters(), before, strict=True):
            assert not torch.equal(p, start)
    else:
        assert_close(plain.parameters(), hooked.parameters(), "stepping during backward differs")


def test_ema_model_and_swa(subject):
    model = subject.model()
    params = list(model.parameters())
    optimizer = subject.make(params)
    average = AveragedModel(model)
    goal = 0.3 * subject.lr
    scheduler = SWALR(optimizer, goal, anneal_epochs=3)
    seen = []
    for k in range(5):
        run(optimizer, params, [k])
        average.update_parameters(model)
        scheduler.step()
        seen.append(copies(params))
    assert abs(optimizer.param_groups[0]["lr"] - goal) < 1e-9, "SWALR did not reach its rate"
    means = [torch.stack(path).mean(0) for path in zip(*seen, strict=True)]
    assert_close(average.module.parameters(), means, "AveragedModel", rtol=1e-5, atol=1e-6)


def test_train_eval_swap(subject):
    """eval() shows the average, train() goes back, either twice is as once, and both resume."""
    if not subject.averages_weights:
        pytest.skip("no train() and eval()")
    params, optimizer = subject.start()
    run(optimizer, params, range(5))
    base = copies(params)
    optimizer.train()
    assert_equal(params, base, "train() in train mode moved the weights")
    optimizer.eval()
    average = copies(params)
    optimizer.eval()
    assert_equal(params, average, "eval() twice is not as once")
    pairs = zip(average, base, strict=True)
    same = all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)
    assert not same, "eval() shows the weights of train()"

    saved = copy.deepcopy(optimizer.state_dict())
    others = twins_of(params)
    optimizer.train()
    assert_close(params, base, "train() after eval() does not go back", rtol=1e-5, atol=1e-6)
    resumed = subject.build(others, **subject.settings)
    resumed.load_state_dict(saved)
    resumed.train()
    assert_close(
        others, base, "loaded in eval mode, train() does not go back", rtol=1e-5, atol=1e-6
    )
    run(optimizer, params, range(5, 9))
    run(resumed, others, range(5, 9))
    assert_close(others, params, "resumed from a save in eval mode", rtol=1e-5, atol=1e-6)


@contextlib.contextmanager
def mesh_of_one() -> Iterator[DeviceMesh]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without distributed")
def test_dtensor(subject):
    """A sharded parameter goes as a plain one, and its state is sharded as well."""
    plain = subject.fresh()[0]
    with mesh_of_one() as mesh:
        sharded = nn.Parameter(distribute_tensor(plain.detach().clone(), mesh, [Shard(0)]))
        optimizer, by_shards = subject.make([plain]), subject.make([sharded])
        for k in range(3):
            set_gradients([plain], k)
            sharded.grad = distribute_tensor(plain.grad.clone(), mesh, [Shard(0)])
            optimizer.step()
            by_shards.step()
        whole = sharded.detach().full_tensor()
        kept = [v for v in by_shards.state[sharded].values() if isinstance(v, Tensor) and v.ndim]
        are_sharded = any(isinstance(v, DTensor) for v in kept)
    atol = max(1e-6, subject.product_atol())
    assert_close([whole], [plain], "sharding changes the path", rtol=1e-5, atol=atol)
    assert are_sharded or not kept, "the state of a sharded parameter is not sharded"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own internals
def test_compile(subject):
    compilers = (os.environ.get("CXX", "g++"), "clang++")
    if not any(shutil.which(name) for name in compilers):
        pytest.skip("no C++ compiler")
    params, optimizer = subject.start()
    others = subject.fresh()
    try:
        compiled = subject.make(others, lr=torch.tensor(subject.lr))
    except (ValueError, TypeError):
        compiled = subject.make(others)
    torch._dynamo.reset()
    step = torch.compile(compiled.step)
    for k in range(6):
        run(optimizer, params, [k])
        set_gradients(others, k)
        step()
    assert_close(others, params, "a compiled step goes another way", rtol=1e-4, atol=1e-5)


def test_no_python_attrs_needed(subject):
    """torch pickles defaults, state and groups; what else there is must come back by itself."""
    _, optimizer = subject.start()
    twin = pickle.loads(pickle.dumps(optimizer))
    public = [name for name in vars(optimizer) if not name.startswith("_")]
    lost = [name for name in public if not hasattr(twin, name)]
    assert not lost, f"attributes lost by pickle: {lost}"
    assert repr(twin) == repr(optimizer)
    twin.state_dict()
    twin.zero_grad()


def test_goes_downhill(subject):
    model = subject.model()
    optimizer = subject.make(model.parameters())
    x = samples(64)
    y = x[:, :3].sin()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x) - y).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
