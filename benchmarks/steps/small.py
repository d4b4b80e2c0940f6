"""Row 6: what a call costs where there is next to nothing to compute."""

from collections.abc import Iterator
from functools import partial

import torch

import thalweg
from benchmarks.steps.clock import measured
from benchmarks.steps.contenders import LIMIT, check, clipped_inside, clipping, contenders
from benchmarks.steps.report import Row, Setting, about, compared, microseconds
from benchmarks.steps.tensors import Set, described, mlp

OURS, HOOKED = "thalweg", "thalweg, a hook"
WAYS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "for-loop": {"foreach": False}}
GOAL_US = 25.0

clipped = partial(thalweg.AdamW, clip=LIMIT)


def rows(setting: Setting) -> Iterator[Row]:
    """Microseconds of clip + step; with a hook on ours and torch's as information."""
    shapes = mlp()
    torchs = {f"torch {way}": partial(torch.optim.AdamW, **given) for way, given in WAYS.items()}
    makes = {**torchs, "torch fused, a hook": partial(_hooked, torchs["torch fused"])}
    jobs = [
        clipped_inside(OURS, Set(shapes), clipped),
        clipped_inside(HOOKED, Set(shapes), partial(_hooked, clipped)),
        *(clipping(name, Set(shapes), make) for name, make in makes.items()),
    ]
    check(jobs)
    what = f"clip + AdamW, MLP 64-64-10, {described(shapes)}"
    for threads in setting.threads:
        torch.set_num_threads(threads)
        timings = measured(contenders(jobs), setting.plan)
        yield Row(
            number=6,
            what=what,
            threads=threads,
            value=microseconds(timings[OURS]),
            unit="us",
            goal=GOAL_US,
            ours_us=microseconds(timings[OURS]),
            peer_us=min(microseconds(timings[name]) for name in torchs),
            peer=min(torchs, key=lambda name: timings[name].median),
            **about(timings, [OURS]),
        )
        yield compared(
            timings,
            ours=HOOKED,
            peers=["torch fused, a hook"],
            number=6,
            what=f"{what}, with a step hook",
            threads=threads,
        )


def _hooked(make, params):
    """An optimizer with one hook after its step."""
    optimizer = make(params)
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer
