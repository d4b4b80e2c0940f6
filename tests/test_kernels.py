"""The table of addresses: threads, a fork, changed pointers, gradients that come and go."""

from __future__ import annotations

import collections
import gc
import math
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from torch import nn

from conformance.compare import copies, same_bits
from definition import BACKENDS, gradients, make, parameters
from thalweg.backends.cpu_launch import CHUNK
from thalweg.errors import UsageError
from thalweg.optim.clip import PerTensor

every_backend = pytest.mark.parametrize("backend", BACKENDS)
SHAPES = ((6, 4), (5,), (2 * CHUNK + 3,))


def stepped(optimizer: Any, params: list[Any], steps: range) -> None:
    for k in steps:
        gradients(params, k)
        optimizer.step()


# Threads.

ON_THREADS = """
import sys, hashlib, torch, thalweg
torch.set_num_threads(int(sys.argv[1]))
source = torch.Generator().manual_seed(0)
digest = hashlib.sha256()
for dtype in (torch.float32, torch.bfloat16):
    params = [torch.randn(n, generator=source).to(dtype).requires_grad_() for n in (300_001, 7)]
    optimizer = thalweg.AdamW(params, clip=0.1, options=[thalweg.rules.options.UpdateClip(0.5)])
    for _ in range(3):
        for p in params:
            p.grad = torch.randn(p.shape, generator=source).to(dtype)
        measured = optimizer.apply(torch.tensor(1.0))
        digest.update(repr(sorted(measured.items())).encode())
    for p in params:
        for t in (p, *optimizer.state[p].values()):
            digest.update(t.detach().float().numpy().tobytes())
print(optimizer.backend.name, torch.get_num_threads(), digest.hexdigest())
"""


def python(code: str, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


def test_one_and_two_threads_give_the_same_bits():
    found = [python(ON_THREADS, n) for n in ("1", "2")]
    assert [run.returncode for run in found] == [0, 0], found
    words = [run.stdout.split() for run in found]
    assert [w[:2] for w in words] == [["numba", "1"], ["numba", "2"]]
    assert words[0][2] == words[1][2]


def work(optimizer: Any, params: list[Any]) -> None:
    stepped(optimizer, params, range(8))


def test_optimizers_in_several_threads_do_not_meet():
    alone, together = [], []
    for many in (alone, together):
        for _ in range(4):
            params = parameters(SHAPES, torch.float32)
            many.append((make(params, "adamw", "numba", clip=1.0), params))
    for pair in alone:
        work(*pair)
    threads = [threading.Thread(target=work, args=pair) for pair in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (_, ours), (_, theirs) in zip(alone, together, strict=True):
        assert same_bits(ours, theirs)


AFTER_FORK = """
import os, torch, thalweg
torch.set_num_threads(2)
p = torch.ones(400_000, requires_grad=True)
optimizer = thalweg.SGD([p], lr=0.1)
p.grad = torch.ones(400_000)
optimizer.step()
child = os.fork()
if child == 0:
    optimizer.step()
    os._exit(0 if abs(float(p.detach()[-1]) - 0.8) < 1e-6 else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), round(float(p.detach()[-1]), 3))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_steps_after_the_parent_has_used_the_threads():
    found = python(AFTER_FORK)
    assert found.stdout.split() == ["0", "0.9"], found


# Pointers that change.


@every_backend
@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_a_parameter_that_was_given_other_memory_moves_there(rule, backend):
    params = parameters(SHAPES, torch.float32)
    optimizer = make(params, rule, backend)
    stepped(optimizer, params, range(2))
    old = [p.data for p in params]
    before = copies(params)
    for p in params:
        p.data = p.data.clone()
    stepped(optimizer, params, range(2, 4))
    assert same_bits(old, before), "wrote into memory that is the parameter's no more"
    others = parameters(SHAPES, torch.float32)
    stepped(make(others, rule, backend), others, range(4))
    assert same_bits(params, others)


@every_backend
def test_a_model_that_changed_its_type_goes_on_in_it(backend):
    model = nn.Linear(4, 3)
    optimizer = make(model.parameters(), "adamw", backend)
    stepped(optimizer, list(model.parameters()), range(2))
    model.to(torch.float64)
    before = copies(model.parameters())
    stepped(optimizer, list(model.parameters()), range(2, 4))
    assert all(p.dtype == torch.float64 for p in model.parameters())
    assert not same_bits(list(model.parameters()), before)


@every_backend
def test_a_parameter_turned_in_its_memory_is_seen(backend):
    """The same address and size, other strides."""
    p = nn.Parameter(torch.arange(12.0).view(3, 4))
    optimizer = make([p], "sgd", backend, lr=1.0, weight_decay=0.0)
    p.grad = torch.zeros(3, 4)
    optimizer.step()
    p.data = p.data.t()
    p.grad = torch.arange(12.0).view(4, 3)
    optimizer.step()
    expected = torch.arange(12.0).view(3, 4).t() - torch.arange(12.0).view(4, 3)
    assert torch.equal(p.detach(), expected)


LAYOUTS = {
    "in order": lambda g: g,
    "turned": lambda g: g.t().contiguous().t(),
    "with gaps": lambda g: torch.stack([g, g], dim=-1)[..., 0],
    "expanded": lambda g: g[:1].clone().expand(3, 4),
    "negated": lambda g: torch._neg_view(-g),
    "of float64": lambda g: g.double(),
}


@every_backend
@pytest.mark.parametrize("later", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_gradients_may_lie_otherwise_in_every_step(first, later, backend):
    p = nn.Parameter(torch.zeros(3, 4))
    optimizer = make([p], "sgd", backend, lr=1.0, weight_decay=0.0)
    given = torch.arange(12.0).view(3, 4)
    expected = torch.zeros(3, 4)
    p.grad_dtype = None
    for layout in (first, later, first):
        p.grad = LAYOUTS[layout](given)
        expected -= p.grad.float()
        optimizer.step()
    assert torch.equal(p.detach(), expected)


@every_backend
@pytest.mark.parametrize("clip", [1.0, PerTensor(1.0)], ids=["by norm", "per tensor"])
def test_an_infinite_norm_clips_to_nothing(clip, backend):
    """As torch's: what is finite goes to zero, and the infinite element itself to NaN."""
    params = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = make(params, "sgd", backend, lr=1.0, weight_decay=0.0, clip=clip)
    params[0].grad = torch.tensor([1.0, math.inf, 2.0])
    params[1].grad = torch.zeros(3)
    optimizer.step()
    assert repr(params[0].tolist()) == "[1.0, nan, 1.0]"
    assert params[1].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("seed", [-1, 2**53 + 1, 2**63, 2**64 - 1, 2**64 + 5, 10**30])
def test_every_bit_of_a_seed_counts_alike_on_all_backends(seed):
    found = []
    for backend, own in (*((name, seed) for name in BACKENDS), ("torch", seed ^ 1)):
        p = nn.Parameter(torch.ones(1001, dtype=torch.bfloat16))
        optimizer = make([p], "sgd", backend, lr=0.001, weight_decay=0.0, seed=own)
        p.grad = torch.ones_like(p)
        optimizer.step()
        found.append(p.detach())
    *alike, other = found
    assert all(same_bits([alike[0]], [p]) for p in alike)
    assert not same_bits([alike[0]], [other])


def test_a_parameter_of_another_shape_is_told():
    p = nn.Parameter(torch.ones(4))
    optimizer = make([p], "momentum", "numba")
    p.grad = torch.ones(4)
    optimizer.step()
    p.data = torch.ones(6)
    p.grad = torch.ones(6)
    with pytest.raises(UsageError, match=r"shape \(4,\)"):
        optimizer.step()


@every_backend
@pytest.mark.parametrize("rule", ["sgd", "momentum"])
def test_a_gradient_of_another_shape_is_no_reading_outside(rule, backend):
    """Torch checks a gradient's shape when it is set; a parameter can be changed behind it."""
    p = nn.Parameter(torch.ones(4))
    optimizer = make([p], rule, backend)
    p.grad = torch.ones(4)
    p.data = torch.ones(60_000)
    with pytest.raises((UsageError, RuntimeError), match=r"shape|size"):
        optimizer.step()


@every_backend
def test_a_loaded_state_is_the_one_that_is_used(backend):
    ours, theirs = (parameters(SHAPES, torch.float32) for _ in range(2))
    optimizer, other = make(ours, "momentum", backend), make(theirs, "momentum", backend)
    stepped(optimizer, ours, range(3))
    stepped(other, theirs, range(5, 8))
    optimizer.load_state_dict(other.state_dict())
    with torch.no_grad():
        for p, q in zip(ours, theirs, strict=True):
            p.copy_(q)
    stepped(optimizer, ours, range(8, 10))
    stepped(other, theirs, range(8, 10))
    assert same_bits(ours, theirs)


@every_backend
def test_a_state_changed_in_place_is_used(backend):
    p = nn.Parameter(torch.ones(3))
    optimizer = make([p], "momentum", backend, lr=1.0, momentum=0.5, weight_decay=0.0)
    p.grad = torch.ones(3)
    optimizer.step()
    optimizer.state[p]["momentum_buffer"].zero_()
    p.grad = torch.zeros(3)
    optimizer.step()
    assert torch.equal(p.detach(), torch.zeros(3))


def replace_entry(optimizer: Any, p: Any) -> None:
    optimizer.state[p]["momentum_buffer"] = torch.zeros(3)


def clear_entry(optimizer: Any, p: Any) -> None:
    optimizer.state[p] = {}


def clear_all(optimizer: Any, p: Any) -> None:
    optimizer.state = collections.defaultdict(dict)


@every_backend
@pytest.mark.parametrize("change", [replace_entry, clear_entry, clear_all])
def test_a_state_that_the_user_replaced_is_used(change, backend):
    p = nn.Parameter(torch.ones(3))
    optimizer = make([p], "momentum", backend, lr=1.0, momentum=0.5, weight_decay=0.0)
    p.grad = torch.ones(3)
    optimizer.step()
    change(optimizer, p)
    p.grad = torch.zeros(3)
    optimizer.step()
    assert torch.equal(p.detach(), torch.zeros(3)), "the old momentum goes on"


@every_backend
def test_groups_changed_by_hand(backend):
    """A parameter put in, taken out, and put in the place of another."""
    params = parameters(((4,), (3,), (2,)), torch.float64)
    optimizer = make(params[:1], "momentum", backend)
    group = optimizer.param_groups[0]["params"]
    stepped(optimizer, params, range(1))
    before = copies(params)
    group.append(params[1])
    stepped(optimizer, params, range(1, 2))
    assert not torch.equal(params[1], before[1])
    assert torch.equal(params[2], before[2])
    before = copies(params)
    group[0] = params[2]
    stepped(optimizer, params, range(2, 3))
    assert torch.equal(params[0], before[0])
    assert not torch.equal(params[2], before[2])


# Gradients.


@every_backend
@pytest.mark.parametrize("rule", ["sgd", "adamw", "nadam"])
def test_gradients_come_late_and_stay_away(rule, backend):
    """Each parameter goes as if alone, over the steps in which it had a gradient."""
    params = parameters(SHAPES, torch.float32)
    optimizer = make(params, rule, backend)
    there = ((0, 1, 2, 5), (3, 4), (1, 5, 6))
    for k in range(7):
        gradients(params, k)
        for p, steps in zip(params, there, strict=True):
            p.grad = p.grad if k in steps else None
        optimizer.step()
    alone = parameters(SHAPES, torch.float32)
    for i, steps in enumerate(there):
        single = make(alone[i : i + 1], rule, backend)
        for k in steps:
            gradients(alone, k)
            single.step()
    assert same_bits(params, alone)


@every_backend
def test_gradients_are_let_go_after_the_step(backend):
    """Else zero_grad() would free nothing, and the next backward pass takes that much again."""
    import weakref

    params = parameters(SHAPES, torch.float32)
    optimizer = make(params, "adamw", backend)
    gradients(params, 0)
    optimizer.step()
    watched = [weakref.ref(p.grad) for p in params]
    optimizer.zero_grad()
    gc.collect()
    assert [ref() for ref in watched] == [None] * len(params)


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_memory_that_was_given_back_is_not_touched(rule):
    """Freed gradients' places are taken by tensors full of 7: neither read nor written."""
    params, twins = (parameters(((CHUNK + 1,), (64, 64)), torch.float32) for _ in range(2))
    optimizer, twin = make(params, rule, "numba"), make(twins, rule, "numba")
    poison: list[Any] = []
    for k in range(6):
        gradients(params, k)
        optimizer.step()
        optimizer.zero_grad()
        poison += [torch.full_like(p, 7.0) for p in params]
        stepped(twin, twins, range(k, k + 1))
    assert all(bool((t == 7.0).all()) for t in poison)
    assert same_bits(params, twins)


@every_backend
def test_a_view_leaves_its_surroundings(backend):
    base = torch.full((40, 3 * 64), 7.0)
    p = base[:, 64:128:2].requires_grad_()
    optimizer = make([p], "adamw", backend)
    p.grad = torch.ones(40, 32)
    optimizer.step()
    changed = base != 7.0
    assert bool(changed[:, 64:128:2].all())
    assert int(changed.sum()) == p.numel()


@every_backend
def test_a_gradient_that_is_one_number_for_all(backend):
    ours, theirs = (nn.Parameter(torch.ones(50, 3)) for _ in range(2))
    for p, grad in ((ours, torch.tensor(0.5).expand(50, 3)), (theirs, torch.full((50, 3), 0.5))):
        optimizer = make([p], "momentum", backend)
        p.grad = grad
        optimizer.step()
    assert torch.equal(ours, theirs)
