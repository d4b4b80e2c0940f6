"""The exam of the GPU kernels in Triton's interpreter: run by test_gpu.py, in a process of its own.

Needs TRITON_INTERPRET=1 from the start of the process. Blocks are small here, so that every loop
and every tail of the kernels runs on tensors of a few hundred elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import thalweg
from conformance.compare import same_bits
from thalweg.backends import gpu_launch
from thalweg.backends import numpy as reference
from thalweg.backends.base import Backend, Group, Request, Runner
from thalweg.backends.cpu import Cpu
from thalweg.backends.gpu import Gpu
from thalweg.optim import Optimizer, optimizer
from thalweg.optim.clip import PerTensor
from thalweg.rules import RULES
from thalweg.rules.formula import compose
from thalweg.rules.options import (
    EMA,
    Adaptive,
    ByValue,
    Cautious,
    Coupled,
    Decoupled,
    DoubleArithmetic,
    Kahan,
    LowPrecisionState,
    MasterWeights,
    NearestRounding,
    TrustRatio,
    UpdateClip,
)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")  # of lanes that are masked

SIZES = (150, 5)
"""A whole block and a tail in one chunk; less than one block."""

OWN = [name for name, rule in RULES.items() if not rule.couples_tensors]
"""Rules that have kernels: what couples tensors runs on torch's operations."""

STEPS = 5
HALVES = (torch.bfloat16, torch.float16)
DTYPES = (torch.float32, torch.float64, *HALVES)
ALLOWED = {torch.float64: 64, torch.float32: 8, torch.bfloat16: 2, torch.float16: 2}
"""How far five steps may end from the reference, in ulp of a tensor's largest element."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 elements a block, 2 blocks a chunk, 2 rows a program of the prologue."""
    monkeypatch.setattr(gpu_launch, "BLOCK", 128)
    monkeypatch.setattr(gpu_launch, "chunk_length", lambda num_elements: 256)
    monkeypatch.setattr(gpu_launch, "WIDTH", 2)
    monkeypatch.setattr(gpu_launch, "LANES", 2)


# ------------------------------------------------------------ against the definition in NumPy


def group_of(rule: str, dtype: torch.dtype, *options: Any, seed: int = 3, **hyper: Any) -> Group:
    """A group of parameters, not yet moved; results are rounded to the nearest."""
    formula = compose(RULES[rule], options)
    params = [torch.randn(size).to(dtype) for size in SIZES]
    wide = torch.float32 if dtype == torch.float16 else dtype
    values = {row.name: row.default for row in formula.rule.hypers} | hyper
    starts = [
        reference.first_states(formula.rule, p.double().numpy(), options, **values) for p in params
    ]
    return Group(
        formula=formula,
        params=params,
        states={
            name: [torch.from_numpy(start[k]).to(wide) for start in starts]
            for k, name in enumerate(formula.states)
        },
        steps=torch.zeros(len(params)),
        scalars={
            name: torch.full((len(params),), first, dtype=torch.float64)
            for name, first in zip(formula.rule.scalars, first_scalars(rule), strict=True)
        },
        keys=[11, 2**62 + 5],
        seed=seed,
        rounding="nearest",
        segment=0,
        hyper=values,
    )


def first_scalars(rule: str) -> tuple[float, ...]:
    row = RULES[rule]
    hyper = {known.name: known.default for known in row.hypers}
    return tuple(row.first_scalars(hyper).values())


def gradients(params: Sequence[Tensor]) -> list[Tensor]:
    return [torch.randn(p.shape).to(p.dtype) for p in params]


def assert_equals_the_definition(group: Group, **given: Any) -> None:
    """Five steps of the kernels and of NumPy, which rounds to the stored types after each step."""
    formula = group.formula
    stored = [
        [p, *(group.states[name][i] for name in formula.states)] for i, p in enumerate(group.params)
    ]
    wanted = [[t.double().numpy().copy() for t in row] for row in stored]
    scalars: list[Sequence[float]] = [first_scalars(formula.rule.name)] * len(wanted)
    runner = Gpu().bind([group])
    for t in range(1, STEPS + 1):
        grads = gradients(group.params)
        runner.step([grads], Request(limits=[None], per_tensor=[None], **given))
        for i, row in enumerate(wanted):
            made = reference.update(
                formula.rule,
                t,
                row[0],
                grads[i].double().numpy(),
                *row[1:],
                scalars=scalars[i],
                options=formula.options,
                **group.hyper,
            )
            wanted[i] = [as_stored(a, like) for a, like in zip(made, stored[i], strict=False)]
            scalars[i] = made[len(row) :]
    assert group.steps.tolist() == [STEPS] * len(stored)
    for i, row in enumerate(stored):
        for name, actual, expected in zip(("p", *formula.states), row, wanted[i], strict=True):
            assert distance(actual, expected) <= ALLOWED[actual.dtype], f"{name} of tensor {i}"
    for k, values in enumerate(group.scalars.values()):
        assert values.tolist() == pytest.approx([s[k] for s in scalars], rel=1e-12)


def as_stored(array: np.ndarray, like: Tensor) -> np.ndarray:
    return torch.from_numpy(np.asarray(array)).to(like.dtype).double().numpy()


def distance(actual: Tensor, expected: np.ndarray) -> float:
    """In ulp of the largest element."""
    largest = np.abs(expected).max()
    ulp = torch.finfo(actual.dtype).eps * 2.0 ** math.floor(math.log2(largest)) if largest else 1.0
    return float(np.abs(actual.double().numpy() - expected).max() / ulp)


@pytest.mark.parametrize("rule", OWN)
def test_every_rule_equals_its_definition(rule):
    assert_equals_the_definition(group_of(rule, torch.float32))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("rule", OWN)
def test_every_rule_equals_its_definition_in_every_type(rule, dtype):
    assert_equals_the_definition(group_of(rule, dtype))


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("rule", ["adamw", "rmsprop_centered_momentum"])
def test_some_rules_equal_their_definition_in_every_type(rule, dtype):
    assert_equals_the_definition(group_of(rule, dtype))


OPTIONS = {
    "coupled": (Coupled(),),
    "decoupled": (Decoupled(),),
    "by value": (ByValue(0.3),),
    "adaptive": (Adaptive(0.02),),
    "cautious": (Cautious(),),
    "update clip": (UpdateClip(0.5),),
    "trust ratio": (TrustRatio(),),
    "ema": (EMA(0.9),),
    "by value and cautious": (ByValue(0.3), Cautious()),
    "adaptive and cautious": (Adaptive(0.02), Cautious()),
    "update clip and ema": (UpdateClip(0.5), EMA(0.9)),
    "cautious and trust ratio": (Cautious(), TrustRatio()),
    "all": (ByValue(0.3), Coupled(), Cautious(), UpdateClip(0.5), TrustRatio(), EMA(0.9)),
}
TAKING = [rule for rule in OWN if not RULES[rule].averages_weights]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_equals_its_definition(options):
    assert_equals_the_definition(group_of("adam", torch.float32, *options, weight_decay=0.1))


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("rule", TAKING)
def test_every_rule_takes_every_option(rule, options):
    assert_equals_the_definition(group_of(rule, torch.float32, *options, weight_decay=0.1))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("rule", TAKING)
def test_every_rule_takes_all_options_in_every_type(rule, dtype):
    assert_equals_the_definition(group_of(rule, dtype, *OPTIONS["all"], weight_decay=0.1))


def test_a_planted_difference_is_seen():
    group = group_of("adamw", torch.float32)
    before = group.params[1].double().numpy()
    assert distance(group.params[1], before) == 0
    group.params[1][2] *= 1 + 1e-5
    assert distance(group.params[1], before) > ALLOWED[torch.float32]


# ------------------------------------------------------------ a step as the device decides it


def one_step(group: Group, grads: Sequence[Tensor | None], **given: Any) -> Runner:
    runner = Gpu().bind([group])
    runner.step([grads], Request(**{"limits": [None], "per_tensor": [None], **given}))
    return runner


def tensors_of(group: Group) -> list[Tensor]:
    states = [s for states in group.states.values() for s in states]
    return [t.clone() for t in (*group.params, *states, group.steps, *group.scalars.values())]


@pytest.mark.parametrize(
    "given", [{"skip": True}, {"skip": torch.tensor([1.0])}, {"skip_nonfinite": True}], ids=str
)
def test_a_skipped_step_changes_nothing_and_is_not_counted(given):
    group = group_of("nadam", torch.float32)
    before = tensors_of(group)
    grads = gradients(group.params)
    grads[0][149] = math.inf
    runner = one_step(group, grads, **given)
    assert same_bits(tensors_of(group), before)
    totals = runner.totals()
    assert (totals.update_norm, totals.num_nonfinite, totals.clip_factor) == (0, 1, 1)
    assert totals.gradient_norm == math.inf
    assert torch.isnan(totals.parameter_norm)

    runner.step([gradients(group.params)], Request([None], [None], skip_nonfinite=True))
    assert group.steps.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_the_no_op_a_bad_gradient_is_applied_and_counted(dtype):
    group = group_of("sgd", dtype)
    grads = gradients(group.params)
    grads[0][3] = math.nan
    assert one_step(group, grads).totals().num_nonfinite == 1
    assert torch.isnan(group.params[0][3])
    assert group.params[1].isfinite().all()


def test_lr_and_loss_scale_are_read_where_they_live():
    plain, live = (group_of("adamw", torch.float32, lr=0.25) for _ in range(2))
    for mine, other in zip(live.params, plain.params, strict=True):
        mine.copy_(other)
    lr = torch.tensor(0.0)
    live.hyper = {**live.hyper, "lr": lr}
    runner = Gpu().bind([live])
    for t in range(2):
        grads = gradients(plain.params)
        lr.fill_(0.25)
        one_step(plain, grads, inverse_scale=0.5)
        runner.step([grads], Request([None], [None], inverse_scale=torch.tensor(0.5)))
        assert same_bits(tensors_of(live), tensors_of(plain)), f"step {t}"


def test_a_number_after_a_tensor_is_sent_again():
    group = group_of("sgd", torch.float32)
    runner = one_step(group, gradients(group.params), skip=False)
    for skip, steps in ((torch.tensor(1.0), 1), (False, 2), (True, 2), (torch.tensor(False), 3)):
        runner.step([gradients(group.params)], Request([None], [None], skip=skip))
        assert group.steps.tolist() == [steps] * 2


class NoReading(TorchDispatchMode):
    """Inside, to read a tensor's number on the host is an error: on a device it would wait."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def test_nothing_in_a_step_waits_for_the_device():
    group = group_of("nadam", torch.bfloat16, Cautious(), TrustRatio())
    group.hyper = {**group.hyper, "lr": torch.tensor(0.1)}
    runner = Gpu().bind([group])
    skip, scale = torch.tensor([0.0]), torch.tensor(0.5)
    grads: list[Tensor | None] = [None, torch.randn(5, 2).T[0]]
    with NoReading():
        runner.step([grads], Request([1.0], [1.0], scale, skip_nonfinite=True, skip=skip))
        totals, rows = runner.totals(), runner.per_tensor()
    assert group.steps.tolist() == [0, 1]
    assert all(isinstance(getattr(totals, name), Tensor) for name in totals.__slots__)
    assert [tuple(row.shape) for row in rows] == [(2, 4)]
    with NoReading(), pytest.raises(AssertionError, match="waits"):
        scale.item()


def test_large_gradients_are_summed_without_overflow():
    group = group_of("sgd", torch.float32)
    grads = [torch.full_like(p, 1e30) for p in group.params]
    totals = one_step(group, grads).totals()
    assert float(totals.gradient_norm) == pytest.approx(1e30 * math.sqrt(sum(SIZES)))
    assert totals.num_nonfinite == 0


# ------------------------------------------------------------ whole optimizers, against the CPU's


class Pair:
    """The same optimizer twice: on the GPU kernels and on the CPU kernels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, params: Sequence[Tensor], **settings: Any):
        self._patch = monkeypatch
        self.both: list[tuple[Backend, Optimizer]] = []
        for backend in (Gpu(), Cpu()):
            mine = [twin(p) for p in params]
            groups = settings.get("groups") or [{}] * len(params)
            given = [{"params": [p], **group} for p, group in zip(mine, groups, strict=True)]
            rest = {k: v for k, v in settings.items() if k not in ("rule", "groups")}
            self.both.append((backend, Optimizer(given, settings.get("rule", "adamw"), **rest)))

    def step(self, grads: Sequence[Tensor | None], *, steps: int = 3) -> None:
        for _ in range(steps):
            for backend, mine in self.both:
                self._patch.setattr(optimizer, "pick", lambda *_, b=backend: (b, "of the exam"))
                params = [p for group in mine.param_groups for p in group["params"]]
                for p, g in zip(params, grads, strict=True):
                    p.grad = None if g is None else g.to(p.dtype)
                mine.apply(torch.tensor(0.5))

    def check(self) -> None:
        """Parameters, states and statistics agree, to the last bit or so."""
        gpu, cpu = (list(tensors_in(mine)) for _, mine in self.both)
        for a, b in zip(gpu, cpu, strict=True):
            assert torch.equal(a.isnan(), b.isnan())
            real = [torch.view_as_real(x) if x.is_complex() else x for x in (a, b)]
            if a.numel():
                allowed = 1 if a.dtype in HALVES else ALLOWED[torch.float32]
                assert distance(real[0], real[1].double().numpy()) <= allowed
        rows = [mine.statistics() for _, mine in self.both]
        for mine, its in zip(*rows, strict=True):
            if math.isnan(mine["parameter_norm"]):  # the device did not look at a skipped step's
                its["parameter_norm"] = math.nan
            assert mine == pytest.approx(its, rel=1e-5, nan_ok=True)
        gpu, cpu = (mine._bound.runner.totals() for _, mine in self.both if mine._bound)
        for name in cpu.__slots__:
            if getattr(cpu, name) is not None:
                expected = pytest.approx(getattr(cpu, name), rel=1e-5, nan_ok=True)
                assert float(getattr(gpu, name)) == expected, name

    def num_differing(self) -> int:
        """Elements stored as bfloat16 that are not the same."""
        pairs = zip(*(tensors_in(mine) for _, mine in self.both), strict=True)
        return sum(int((a != b).sum()) for a, b in pairs if a.dtype == torch.bfloat16)


def twin(p: Tensor) -> Tensor:
    """A parameter in the same layout, gaps included."""
    whole = p if p._base is None else p._base
    return whole.clone().as_strided(p.shape, p.stride(), p.storage_offset()).requires_grad_()


def tensors_in(mine: Optimizer) -> Iterator[Tensor]:
    for group in mine.param_groups:
        for p in group["params"]:
            yield p.detach()
            yield from (v for v in mine.state[p].values() if isinstance(v, Tensor))


def some(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(shape).to(dtype) for shape in ((20, 15), (5,), (), (0, 3), (128,))]


def slowly(**settings: Any) -> Any:
    """Settings whose CPU kernel takes a while to compile."""
    return pytest.param(settings, marks=pytest.mark.slow)


SETTINGS = {
    "plain": {},
    "clip": {"clip": 0.5},
    "clip that does nothing": {"clip": 1e6},
    "per tensor": {"clip": PerTensor(0.5)},
    "by value": slowly(clip=ByValue(0.2)),
    "adaptive": slowly(clip=Adaptive(0.02)),
    "maximize": {"maximize": True},
    "double": slowly(options=[DoubleArithmetic()]),
    "cautious": {"options": [Cautious(), UpdateClip()], "clip": 0.5},
    "running scalars": slowly(rule="nadam"),
    "averaged": slowly(rule="schedulefree_adamw"),
    "several groups": {
        "groups": [
            {"lr": 0.1},
            {"lr": 0.2, "weight_decay": 0.3, "seed": -1},
            {"maximize": True, "clip": 0.5},
            {"clip": PerTensor(0.1)},
            {"options": [EMA(0.5)]},
        ]
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_an_optimizer_equals_that_of_the_cpu(monkeypatch, settings):
    pair = Pair(monkeypatch, params := some(), **settings)
    pair.step(gradients(params))
    pair.check()


CHANCES = {
    "stochastic": {},
    "low precision": {"options": [LowPrecisionState()]},
    "kahan": {"options": [Kahan()]},
    "master": {"options": [MasterWeights()]},
    "nearest": slowly(options=[NearestRounding()]),
    "double": slowly(options=[DoubleArithmetic()]),
    "seed": {"seed": -12345},
    "momentum": slowly(rule="momentum"),
    "centered": {"rule": "rmsprop_centered_momentum"},
}


@pytest.mark.parametrize("settings", CHANCES.values(), ids=CHANCES)
def test_bfloat16_is_rounded_with_the_bits_of_the_cpu(monkeypatch, settings):
    pair = Pair(monkeypatch, params := some(torch.bfloat16), **settings)
    pair.step(gradients(params))
    pair.check()
    assert pair.num_differing() <= 4, "only where float32 differed in its last bit"


def test_low_precision_state_beside_float32_parameters(monkeypatch):
    pair = Pair(monkeypatch, params := some(), options=[LowPrecisionState()])
    pair.step(gradients(params))
    assert pair.num_differing() <= 4


def test_parameters_without_a_gradient_wait_and_keep_their_own_count(monkeypatch):
    pair = Pair(monkeypatch, params := some(), rule="nadam", clip=0.5)
    grads: list[Tensor | None] = [*gradients(params)]
    pair.step(grads, steps=2)
    pair.step([None, *grads[1:]], steps=1)
    pair.step([*grads[:4], None], steps=1)
    pair.check()
    steps = [float(v["step"]) for v in pair.both[0][1].state.values()]
    assert steps == [3, 4, 4, 4, 3]


def test_a_skipped_step_equals_that_of_the_cpu(monkeypatch):
    pair = Pair(monkeypatch, params := some(), skip_nonfinite=True)
    grads = gradients(params)
    pair.step(grads)
    grads[0][19, 14] = math.nan
    pair.step(grads, steps=1)
    pair.check()
    assert all(float(v["step"]) == 3 for v in pair.both[0][1].state.values())


def test_layouts_and_types_of_gradients(monkeypatch):
    holder = torch.randn(12, 20)
    params = [holder[::2, 1:9], torch.randn(6, 8).T, torch.randn(3, 5, dtype=torch.complex64)]
    pair = Pair(monkeypatch, params)
    pair.step([torch.randn(8, 6).T, torch.randn(6, 8).T, params[2].detach().clone().conj()])
    pair.step([torch.randn(6, 8), torch.randn(8, 6), params[2].detach().clone()])
    pair.check()
    outside = [mine.param_groups[0]["params"][0]._base for _, mine in pair.both]
    assert torch.equal(outside[0][1::2], holder[1::2])
    assert torch.equal(outside[0][:, 9:], holder[:, 9:])


@pytest.mark.parametrize("backend", [Gpu(), Cpu()], ids=["gpu", "cpu"])
def test_a_parameter_that_moved_is_noticed(backend):
    group = group_of("sgd", torch.float32)
    runner = backend.bind([group])
    assert runner.is_current()
    group.params[0].data = group.params[0].detach().clone()
    assert not runner.is_current()


def test_the_public_class_runs_on_it(monkeypatch):
    monkeypatch.setattr(optimizer, "pick", lambda *_: (Gpu(), "of the exam"))
    x = torch.tensor([3.0], requires_grad=True)
    mine = thalweg.AdamW([x], lr=0.1)
    for _ in range(3):
        mine.zero_grad()
        (x * x).sum().backward()
        mine.step()
    assert x.item() == pytest.approx(2.7, abs=0.01)
