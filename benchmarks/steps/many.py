"""Row 3: two thousand small tensors, with new gradient tensors at every step."""

from collections.abc import Iterator
from functools import partial

import torch

import thalweg
from benchmarks.steps.clock import measured
from benchmarks.steps.contenders import (
    LIMIT,
    Job,
    check,
    clipped_inside,
    clipping,
    contenders,
    stepping,
)
from benchmarks.steps.report import Row, Setting, compared
from benchmarks.steps.tensors import Set, Shapes, alike, described, mixed

OURS = "thalweg"
TORCHS = {
    "torch fused": partial(torch.optim.AdamW, fused=True),
    "torch foreach": partial(torch.optim.AdamW, foreach=True),
}


def rows(setting: Setting) -> Iterator[Row]:
    count = 200 if setting.is_quick else 2_000
    yield from _timed(setting, "AdamW", alike(count), _bare(alike(count)), 1 / 8)
    yield from _timed(setting, "clip + AdamW", alike(count), _clipped(alike(count)), 1 / 10)
    yield from _timed(setting, "AdamW, shapes mixed", mixed(count), _bare(mixed(count)), 1 / 5)


def _bare(shapes: Shapes) -> list[Job]:
    jobs = []
    for name, make in {OURS: thalweg.AdamW, **TORCHS}.items():
        data = Set(shapes)
        jobs.append(stepping(name, data, make, before=data.attach_new))
    return jobs


def _clipped(shapes: Shapes) -> list[Job]:
    ours = clipped_inside(OURS, Set(shapes), partial(thalweg.AdamW, clip=LIMIT), new=True)
    return [ours, *(clipping(name, Set(shapes), make, new=True) for name, make in TORCHS.items())]


def _timed(
    setting: Setting, what: str, shapes: Shapes, jobs: list[Job], goal: float
) -> Iterator[Row]:
    check(jobs)
    for threads in setting.threads:
        torch.set_num_threads(threads)
        yield compared(
            measured(contenders(jobs), setting.plan),
            ours=OURS,
            peers=list(TORCHS),
            number=3,
            what=f"{what}, {described(shapes)}",
            threads=threads,
            goal=goal,
        )
