"""Rows 1, 2 and 8: AdamW where memory is what costs, with and without clipping."""

from collections.abc import Iterator
from functools import partial

import torch

import thalweg
from benchmarks.steps.bandwidth import BYTES_AN_ELEMENT, Sweep
from benchmarks.steps.clock import Contender, measured
from benchmarks.steps.contenders import (
    LIMIT,
    TOLERANCE,
    check,
    clipped_inside,
    clipping,
    contenders,
    folded,
    stepping,
)
from benchmarks.steps.report import Row, Setting, about, compared, microseconds
from benchmarks.steps.tensors import Set, Shapes, described, gpt_like, one

NORM_TOLERANCE = 1e-5
"""Where torch clips a very large tensor: it adds up squares in float32, and the norm of 50 million
comes out 0.4% too small (ours within 1e-8).
"""

OURS, FUSED, FOLDED, MEMORY = "thalweg", "torch fused", "torch fused, clip folded", "bare sweep"

fused = partial(torch.optim.AdamW, fused=True)
clipped = partial(thalweg.AdamW, clip=LIMIT)


def large(setting: Setting) -> Shapes:
    return one(1_000_000 if setting.is_quick else 50_000_000)


def mix(setting: Setting) -> Shapes:
    return gpt_like(width=64, layers=2, words=500) if setting.is_quick else gpt_like()


def plain(setting: Setting) -> Iterator[Row]:
    """Row 1: the step on one large tensor, against torch fused and against memory's bandwidth."""
    shapes = large(setting)
    size = shapes[0][0]
    jobs = [
        stepping(OURS, Set(shapes), thalweg.AdamW),
        stepping(FUSED, Set(shapes), fused),
    ]
    check(jobs)
    sweep = Sweep(size, max(setting.threads))
    what = f"AdamW, {described(shapes)}"
    for threads in setting.threads:
        torch.set_num_threads(threads)
        bare = Contender(MEMORY, sweep.of(threads))
        timings = measured([*contenders(jobs), bare], setting.plan)
        yield compared(
            timings, ours=OURS, peers=[FUSED], number=1, what=what, threads=threads, goal=1.05
        )
        share = timings[MEMORY].median / timings[OURS].median
        rate = size * BYTES_AN_ELEMENT / timings[MEMORY].median / 1e9
        yield Row(
            number=1,
            what=f"{what}, of the bandwidth",
            threads=threads,
            value=round(share, 4),
            unit="share",
            goal=0.85,
            is_floor=True,
            peer=MEMORY,
            ours_us=microseconds(timings[OURS]),
            peer_us=microseconds(timings[MEMORY]),
            note=f"a bare sweep moves {rate:.1f} GB/s",
            **about(timings, [OURS, MEMORY]),
        )
    sweep.close()


def with_clip(setting: Setting) -> Iterator[Row]:
    """Rows 2 and 8: clip by the norm, step, forget the gradients; torch in two ways."""
    for shapes, goal, tolerance in (
        (large(setting), 0.75, NORM_TOLERANCE),
        (mix(setting), 0.62, TOLERANCE),
    ):
        jobs = [
            clipped_inside(OURS, Set(shapes), clipped, zero=True),
            clipping(FUSED, Set(shapes), fused, zero=True),
            folded(FOLDED, Set(shapes), fused, zero=True),
        ]
        check(jobs, tolerance)
        what = f"clip + AdamW + zero, {described(shapes)}"
        for threads in setting.threads:
            torch.set_num_threads(threads)
            timings = measured(contenders(jobs), setting.plan)
            row = partial(compared, timings, ours=OURS, threads=threads)
            yield row(
                peers=[FUSED],
                number=2,
                what=what,
                goal=goal,
                note="each tensor's statistics are there afterwards; torch measures none",
            )
            yield row(peers=[FOLDED], number=8, what=f"{what}, torch's folded")
