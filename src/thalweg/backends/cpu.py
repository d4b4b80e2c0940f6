"""The CPU backend: generated kernels, all groups of a step in one launch.

Groups of one formula and one layout share a `Launch` (`cpu_launch.py`); here a whole step is put
together: norms, the decision to skip, coefficients, the update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from thalweg.backends.base import Group, Request, Totals
from thalweg.backends.cpu_launch import Launch, Shared
from thalweg.backends.cpu_words import Ask
from thalweg.backends.layout import by_kernel


class Cpu:
    """Own kernels, compiled by Numba: one sweep over memory, all tensors in one call."""

    name = "numba"

    def bind(self, groups: Sequence[Group]) -> CpuRunner:
        return CpuRunner(groups)


class CpuRunner:
    """Groups bound to their kernels."""

    def __init__(self, groups: Sequence[Group]):
        self._num_groups = len(groups)
        self._shared = Shared(1 + max((group.segment for group in groups), default=0))
        alike = by_kernel(groups)
        self._members = [members for _, members in alike]
        self._launches = [
            Launch([groups[i] for i in members], layout, self._shared) for layout, members in alike
        ]

    def is_current(self) -> bool:
        """Do all parameters still lie where they lay when the groups were bound?"""
        return all(launch.memory.is_current() for launch in self._launches)

    def step(self, grads: Sequence[Sequence[Tensor | None]], request: Request) -> None:
        """One update of all groups."""
        for launch, members in zip(self._launches, self._members, strict=True):
            given = (
                grads[members[0]] if len(members) == 1 else [g for i in members for g in grads[i]]
            )
            launch.take(given)
            launch.set_hyper()
            launch.memory.copy_in()
        self._ask(request)
        if len(self._launches) == 1 and self._launches[0].is_small:
            self._launches[0].counter[0] = 0
            self._launches[0].run("whole")
        else:
            self._step_by_step()
        for launch in self._launches:
            launch.memory.finish()

    def _ask(self, request: Request) -> None:
        """Write down for the kernels what this step is asked for."""
        shared = self._shared
        is_clipped = False
        for k, (limit, own) in enumerate(zip(request.limits, request.per_tensor, strict=True)):
            shared.limits[k] = math.inf if limit is None else limit
            shared.own_limits[k] = math.inf if own is None else own
            is_clipped = is_clipped or limit is not None or own is not None
        ask = shared.request
        ask[Ask.SCALE] = request.inverse_scale
        ask[Ask.SKIP] = request.skip
        ask[Ask.SKIPS_NONFINITE] = request.skip_nonfinite
        ask[Ask.FACTOR] = 1.0
        ask[Ask.NEEDS_NORM] = is_clipped or request.skip_nonfinite or request.outlier < math.inf
        ask[Ask.OUTLIER] = request.outlier
        ask[Ask.CLIP_TO] = request.clip_to

    def _step_by_step(self) -> None:
        """Several launches, or much work: each kernel on as many threads as it can use."""
        shared = self._shared
        shared.squares[:] = 0.0
        if shared.request[Ask.NEEDS_NORM]:
            for launch in self._launches:
                launch.sweep("norm")
                launch.run("total")
        for launch in self._launches:
            launch.run("settle")
        if not shared.request[Ask.SKIPPED]:
            for launch in self._launches:
                launch.update()

    def totals(self) -> Totals:
        """What the last step measured; a skipped one moved nothing."""
        ask = self._shared.request
        is_skipped = bool(ask[Ask.SKIPPED])
        factors = [launch.smallest_clip() for launch in self._launches if launch.formula.clips]
        parts = [launch.sums for launch in self._launches]
        sums = np.add.reduce(parts[0] if len(parts) == 1 else np.concatenate(parts)).tolist()
        return Totals(
            gradient_norm=abs(float(ask[Ask.SCALE])) * math.sqrt(sums[0]),
            update_norm=0.0 if is_skipped else math.sqrt(sums[1]),
            parameter_norm=None if is_skipped else math.sqrt(sums[2]),
            clip_factor=1.0 if is_skipped else min([*factors, float(ask[Ask.FACTOR])]),
            num_nonfinite=round(sums[3]),
        )

    def per_tensor(self) -> list[np.ndarray]:
        """Per group, an array (n, 4): sums of g², step², p², and g's elements not finite.

        A step that was skipped moved nothing; its p is looked at here.
        """
        scale = float(self._shared.request[Ask.SCALE])
        is_skipped = bool(self._shared.request[Ask.SKIPPED])
        found: dict[int, np.ndarray] = {}
        for launch, members in zip(self._launches, self._members, strict=True):
            rows = launch.per_tensor()
            rows[:, 0] *= scale**2
            if is_skipped:  # the sweep that measures the other two was not made
                rows[:, 1] = 0.0
                rows[:, 2] = [float(torch.linalg.vector_norm(p)) ** 2 for p in launch.memory.params]
            for i, part in zip(members, launch.parts, strict=True):
                found[i] = rows[part.at]
        return [found[i] for i in range(self._num_groups)]
