"""The CPU backend: generated kernels, all groups of a step in one launch.

Groups of one formula and one layout share a `Launch` (`cpu_launch.py`); here a whole step is put
together: norms, the decision to skip, clip factors, the update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from thalweg.backends.base import CLIP_EPS, Group, Request, Totals
from thalweg.backends.cpu_launch import Launch, layout_of

class Cpu:
    """Own kernels, compiled by Numba: one sweep over memory, all tensors in one call."""

    name = "numba"

    def bind(self, groups: Sequence[Group]) -> CpuRunner:
        return CpuRunner(groups)


class CpuRunner:
    """Groups bound to their kernels."""

    def __init__(self, groups: Sequence[Group]):
        self._groups = groups
        by_kernel: dict[Any, list[int]] = {}
        for i, group in enumerate(groups):
            by_kernel.setdefault((group.formula, layout_of(group)), []).append(i)
        self._members = list(by_kernel.values())
        self._launches = [
            Launch([groups[i] for i in members], layout)
            for (_, layout), members in by_kernel.items()
        ]
        self._num_segments = 1 + max((group.segment for group in groups), default=0)
        self._factor = 1.0
        self._scale = 1.0
        self._was_skipped = False

    def is_current(self) -> bool:
        """Do all parameters still lie where they lay when the groups were bound?"""
        return all(launch.is_current() for launch in self._launches)

    def step(self, grads: Sequence[Sequence[Tensor | None]], request: Request) -> None:
        for launch, members in zip(self._launches, self._members, strict=True):
            launch.take([g for i in members for g in grads[i]])
        scale = self._scale = float(request.inverse_scale)
        limits, per_tensor = request.limits, request.per_tensor
        is_clipped = any(limit is not None for limit in (*limits, *per_tensor))
        norms: list[float] = []
        if is_clipped or request.skip_nonfinite:
            norms = self._norms(scale)
        is_bad = request.skip_nonfinite and not all(map(math.isfinite, norms))
        self._was_skipped = is_bad or bool(request.skip)
        if self._was_skipped:
            return

        factors = [scale * _clip_factor(*pair) for pair in zip(limits, norms, strict=False)]
        self._factor = min(factors, default=scale) / scale if scale else 1.0
        for launch in self._launches:
            launch.set_factors(factors or [scale] * self._num_segments)
            if is_clipped:
                launch.clip_tensors(per_tensor, scale, CLIP_EPS)
            launch.update()

    def _norms(self, scale: float) -> list[float]:
        """Per segment, the norm of its gradients; NaN where an element is not finite."""
        squares = np.zeros(self._num_segments)
        for launch in self._launches:
            launch.run("norm")
            squares += launch.squares(self._num_segments)
        return [scale * math.sqrt(square) for square in squares.tolist()]

    def totals(self) -> Totals:
        """What the last step measured; a skipped one moved nothing."""
        sums = sum((launch.sums.sum(axis=0) for launch in self._launches), np.zeros(4)).tolist()
        return Totals(
            gradient_norm=abs(self._scale) * math.sqrt(sums[0]),
            update_norm=0.0 if self._was_skipped else math.sqrt(sums[1]),
            parameter_norm=None if self._was_skipped else math.sqrt(sums[2]),
            clip_factor=self._factor,
            num_nonfinite=round(sums[3]),
        )

    def per_tensor(self) -> list[np.ndarray]:
        """Per group, an array (n, 4): sums of g², step², p², and g's elements not finite."""
        found: dict[int, np.ndarray] = {}
        for launch, members in zip(self._launches, self._members, strict=True):
            rows = launch.per_tensor()
            rows[:, 0] *= self._scale**2
            for i, part in zip(members, launch.parts, strict=True):
                found[i] = rows[part.at]
        return [found[i] for i in range(len(self._groups))]


def _clip_factor(limit: float | None, norm: float) -> float:
    """What the gradients are multiplied with, at most 1; NaN for a norm that is not finite."""
    if limit is None:
        return 1.0
    factor = limit / (norm + CLIP_EPS)
    return factor if not factor > 1.0 else 1.0
