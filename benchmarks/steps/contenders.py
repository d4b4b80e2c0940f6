"""Optimizers at work: a step with or without clipping, as contenders that can be checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from benchmarks.steps.clock import Contender
from benchmarks.steps.tensors import Set

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

LIMIT = 1.0
CLIP_EPS = 1e-6  # what clip_grad_norm_ adds to the norm
CHECKED_STEPS = 3
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Job:
    """A contender and the parameters that it moves.

    is_same: does it compute the same numbers as the others?
    """

    contender: Contender
    data: Set
    is_same: bool = True

    @property
    def name(self) -> str:
        return self.contender.name


def stepping(
    name: str,
    data: Set,
    make: Make,
    *,
    before: Callable[[], None] | None = None,
    is_same: bool = True,
) -> Job:
    """A bare step; before: what each call needs beforehand, outside the time."""
    optimizer = make(data.params)
    return Job(Contender(name, optimizer.step, before), data, is_same)


def clipping(name: str, data: Set, make: Make, *, new: bool = False, zero: bool = False) -> Job:
    """torch's clip by the norm of all gradients, and a step; zero: and forget the gradients."""
    optimizer = make(data.params)

    def work() -> None:
        clip_grad_norm_(data.params, LIMIT)
        optimizer.step()
        if zero:
            optimizer.zero_grad()

    return Job(Contender(name, work, _before(data, new=new, zero=zero)), data)


def clipped_inside(
    name: str, data: Set, make: Make, *, new: bool = False, zero: bool = False
) -> Job:
    """A step of an optimizer that clips by itself."""
    optimizer = make(data.params)

    def work() -> None:
        optimizer.step()
        if zero:
            optimizer.zero_grad()

    return Job(Contender(name, work, _before(data, new=new, zero=zero)), data)


def folded(name: str, data: Set, make: Make, *, zero: bool = False) -> Job:
    """torch's fused step with the clip folded in as a loss scale: one sweep less."""
    optimizer = make(data.params)
    optimizer.found_inf = torch.zeros(())

    def work() -> None:
        norm = get_total_norm([p.grad for p in data.params])
        optimizer.grad_scale = torch.clamp((norm + CLIP_EPS) / LIMIT, min=1.0)
        optimizer.step()
        if zero:
            optimizer.zero_grad()

    return Job(Contender(name, work, _before(data, new=False, zero=zero)), data)


def contenders(jobs: Sequence[Job]) -> list[Contender]:
    return [job.contender for job in jobs]


def check(jobs: Sequence[Job], tolerance: float = TOLERANCE) -> dict[str, float]:
    """Run some steps of each; the seconds that each one's first step took, by name.

    Raises AssertionError where one does not end where the first does.
    """
    seconds = {}
    for job in jobs:
        seconds[job.name] = job.contender.call()
        for _ in range(CHECKED_STEPS - 1):
            job.contender.call()
    first, *others = [job for job in jobs if job.is_same]
    for job in others:
        off = max(
            (p.detach() - q.detach()).abs().max().item()
            for p, q in zip(job.data.params, first.data.params, strict=True)
        )
        if not off <= tolerance:
            raise AssertionError(f"{job.name} ends {off:.2g} away from {first.name}")
    return seconds


def _before(data: Set, *, new: bool, zero: bool) -> Callable[[], None] | None:
    if new:
        return data.attach_new
    return data.attach if zero else None
