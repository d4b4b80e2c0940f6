"""Row 5: everything in bfloat16 with stochastic rounding: its cost, and whether it is unbiased."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

import thalweg
from benchmarks.steps.clock import measured
from benchmarks.steps.contenders import Job, contenders, stepping
from benchmarks.steps.large import mix
from benchmarks.steps.report import Row, Setting, compared
from benchmarks.steps.tensors import Set, described
from thalweg.rules.options import LowPrecisionState

HALF = (
    "bfloat16 parameters and moments, stochastic rounding; float32 elements, float64 coefficients"
)
MOMENTS = "float32 parameters, bfloat16 moments, stochastic rounding; float64 coefficients"
OURS, OUR_MOMENTS = "thalweg bf16", "thalweg bf16 moments"
FUSED, FUSED_HALF = "torch fused fp32", "torch fused bf16"
ULP = 2.0**-7  # a bfloat16 step, relative, at most
LR = 1e-3

fused = partial(torch.optim.AdamW, fused=True)


def rows(setting: Setting) -> Iterator[Row]:
    yield from _times(setting)
    yield from _biases(setting)


def _times(setting: Setting) -> Iterator[Row]:
    shapes = mix(setting)
    low = partial(thalweg.AdamW, options=[LowPrecisionState()])
    jobs = [
        stepping(OURS, Set(shapes, torch.bfloat16), thalweg.AdamW),
        stepping(OUR_MOMENTS, Set(shapes), low),
        stepping(FUSED, Set(shapes), fused),
        stepping(FUSED_HALF, Set(shapes, torch.bfloat16), fused),
    ]
    _check(jobs)
    for threads in setting.threads:
        torch.set_num_threads(threads)
        timings = measured(contenders(jobs), setting.plan)
        row = partial(compared, timings, number=5, threads=threads)
        what = f"AdamW all bf16, {described(shapes)}"
        yield row(ours=OURS, peers=[FUSED], what=what, goal=0.55, arithmetic=HALF)
        yield row(ours=OURS, peers=[FUSED_HALF], what=f"{what}, torch's bf16 too", arithmetic=HALF)
        what = f"AdamW bf16 moments, {described(shapes)}"
        yield row(ours=OUR_MOMENTS, peers=[FUSED], what=what, arithmetic=MOMENTS)


def _check(jobs: list[Job]) -> None:
    """After a step, every result is two bfloat16 steps or less from torch's in float32."""
    start = [p.detach().clone() for p in jobs[-1].data.params]
    for job in jobs:
        job.contender.call()
    expected = next(job for job in jobs if job.name == FUSED)
    for job in jobs:
        for p, q, before in zip(job.data.params, expected.data.params, start, strict=True):
            off = (p.detach().float() - q.detach()).abs()
            room = 2 * ULP * (before.float().abs() + LR)
            if not bool((off <= room).all()):
                raise AssertionError(f"{job.name} is {off.max().item():.2g} off after one step")


def _biases(setting: Setting) -> Iterator[Row]:
    """How far the mean displacement is from that of the same run in float32."""
    steps, size = (100, 10_000) if setting.is_quick else (1_000, 100_000)
    exact = _displacement(fused, torch.float32, steps, size)
    for name, make, goal in ((OURS, thalweg.AdamW, 0.02), (FUSED_HALF, fused, None)):
        found = _displacement(make, torch.bfloat16, steps, size)
        along = (found * exact.sign()).mean() / exact.abs().mean()
        spread = (found - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        yield Row(
            number=5,
            what=f"{name}: displacement after {steps:,} steps at lr 1e-3, against float32",
            threads=torch.get_num_threads(),
            value=round(abs(along.item() - 1), 5),
            unit="bias",
            goal=goal,
            arithmetic=HALF if goal else "bfloat16 parameters and moments, rounded to the nearest",
            note=f"mean {along.item():.4f} of float32's; element by element rms {spread:.3f} off",
        )


def _displacement(
    make: Callable[..., torch.optim.Optimizer], dtype: torch.dtype, steps: int, size: int
) -> Tensor:
    """Where the parameters went. They start at size 1; gradients are a direction and noise."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(size, generator=generator).bfloat16()
    direction = torch.randn(size, generator=generator)
    p = nn.Parameter(start.to(dtype, copy=True))
    optimizer = make([p], lr=LR)
    for _ in range(steps):
        noise = torch.randn(size, generator=generator)
        p.grad = (0.01 * (direction + noise)).bfloat16().to(dtype)
        optimizer.step()
    return p.detach().float() - start.float()
