"""The GPU backend: generated kernels, all groups of a step in one launch, nothing waited for.

Groups of one formula and one layout share a `Launch` (`gpu_launch.py`); here a whole step is put
together: norms where they are needed, the decision to skip and the coefficients, the update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import Group, Request, Totals
from thalweg.backends.gpu_launch import Launch, Shared
from thalweg.backends.gpu_words import Ask
from thalweg.backends.layout import by_kernel


class Gpu:
    """Own kernels, compiled by Triton: one sweep over memory, all tensors in one launch."""

    name = "triton"

    def bind(self, groups: Sequence[Group]) -> GpuRunner:
        return GpuRunner(groups)


class GpuRunner:
    """Groups bound to their kernels."""

    def __init__(self, groups: Sequence[Group]):
        self._num_groups = len(groups)
        self._device = groups[0].params[0].device if groups else torch.device("cpu")
        alike = by_kernel(groups)
        self._members = [members for _, members in alike]
        in_order = [groups[i] for members in self._members for i in members]
        segments = [group.segment for group in in_order for _ in group.params]
        self._shared = Shared(segments, self._device)
        counts = [sum(len(groups[i].params) for i in members) for members in self._members]
        firsts = accumulate(counts, initial=0)
        self._launches = [
            Launch([groups[i] for i in members], layout, self._shared, first)
            for (layout, members), first in zip(alike, firsts, strict=False)
        ]
        self._shared.inbox.open()
        for launch in self._launches:
            launch.open()

    def is_current(self) -> bool:
        """Do all parameters still lie where they lay when the groups were bound?"""
        return all(launch.memory.is_current() for launch in self._launches)

    def step(self, grads: Sequence[Sequence[Tensor | None]], request: Request) -> None:
        """One update of all groups."""
        with self._on_device():
            for launch, members in zip(self._launches, self._members, strict=True):
                launch.take([g for i in members for g in grads[i]])
                launch.memory.copy_in()
            needs_norm = self._ask(request)
            if needs_norm:
                for launch in self._launches:
                    launch.norm()
            for launch in self._launches:
                launch.settle()
            for launch in self._launches:
                launch.update()
                launch.memory.finish()

    def _ask(self, request: Request) -> bool:
        """Tell the device what this step is asked for; is the norm needed before the update?"""
        limits = [*request.limits, *request.per_tensor]
        is_clipped = any(limit is not None for limit in limits) or request.outlier < math.inf
        needs_norm = request.skip_nonfinite or is_clipped
        inbox, at = self._shared.inbox, self._shared.ask.start
        inbox.put(at + Ask.SCALE, request.inverse_scale)
        inbox.put(at + Ask.SKIP, request.skip)
        inbox.put(at + Ask.SKIPS_NONFINITE, request.skip_nonfinite)
        inbox.put(at + Ask.NEEDS_NORM, needs_norm)
        inbox.put(at + Ask.OUTLIER, request.outlier)
        inbox.put(at + Ask.CLIP_TO, request.clip_to)
        inbox.numbers[self._shared.limits] = [math.inf if x is None else x for x in limits]
        inbox.send()
        return needs_norm

    def totals(self) -> Totals:
        """What the last step measured, on the device; a skipped one moved nothing.

        The norm of the parameters is NaN then: it was not measured.
        """
        with self._on_device():
            sums = torch.stack([launch.sums.sum(1) for launch in self._launches]).sum(0)
            norms = sums.sqrt()
            is_skipped = self._shared.outcome[0] != 0
            return Totals(
                gradient_norm=self._scale().abs() * norms[0],
                update_norm=norms[1],
                parameter_norm=norms[2],
                clip_factor=torch.where(is_skipped, 1.0, self._smallest_clip()),
                num_nonfinite=sums[3],
            )

    def _smallest_clip(self) -> Tensor:
        """The least that a gradient was multiplied with."""
        own = [launch.clips() for launch in self._launches if launch.formula.clips]
        return torch.cat([self._shared.clips, *own]).min() if own else self._shared.clips.min()

    def per_tensor(self) -> list[Tensor]:
        """Per group, a tensor (n, 4): sums of g², step², p², and g's elements not finite."""
        with self._on_device():
            for launch in self._launches:
                launch.collect(4)
            rows = self._shared.squares.T.clone()
            rows[:, 0] *= self._scale() ** 2
        sizes = [len(group.params) for launch in self._launches for group in launch.groups]
        parts = dict(zip((i for m in self._members for i in m), rows.split(sizes), strict=True))
        return [parts[i] for i in range(self._num_groups)]

    def _scale(self) -> Tensor:
        """What gradients counted in the last step."""
        return self._shared.inbox.device_numbers[self._shared.ask.start + Ask.SCALE]

    def _on_device(self) -> Any:
        """Kernels start on the device where the parameters live."""
        is_gpu = self._device.type == "cuda"
        return torch.cuda.device(self._device) if is_gpu else nullcontext()
