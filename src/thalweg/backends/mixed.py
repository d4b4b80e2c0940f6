"""Matrix rules beside element-wise ones on the CPU: each by what runs it fastest, as one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from thalweg.backends.base import Group, Request, Runner, Totals
from thalweg.backends.cpu import Cpu
from thalweg.backends.torch import Eager, norm_of, skip_flag
from thalweg.backends.torch_store import clip_factor, limit_of
from thalweg.rules.matrix import MatrixRule

Grads = Sequence[Sequence[Tensor | None]]


class Mixed:
    """Own kernels for element-wise rules, torch's operations for matrix rules."""

    name = "mixed"

    def bind(self, groups: Sequence[Group]) -> Runner:
        """Groups that are clipped apart are all run by torch's operations."""
        if len({group.segment for group in groups}) > 1:
            return Eager().bind(groups)
        return MixedRunner(groups)


class MixedRunner:
    """Groups with one clip limit, which is found over all of them before any moves."""

    def __init__(self, groups: Sequence[Group]):
        is_matrix = [isinstance(group.formula, MatrixRule) for group in groups]
        self._parts: list[tuple[Runner, list[int]]] = []
        for backend, kind in ((Cpu(), False), (Eager(), True)):
            places = [i for i, wanted in enumerate(is_matrix) if wanted is kind]
            if places:
                self._parts.append((backend.bind([groups[i] for i in places]), places))
        self._num_groups = len(groups)
        self._norm: Any = None
        self._applied: Any = 1.0

    def is_current(self) -> bool:
        return all(runner.is_current() for runner, _ in self._parts)

    def step(self, grads: Grads, request: Request) -> None:
        (limit,) = request.limits
        self._norm = None
        if limit is not None or request.skip_nonfinite or request.measure:
            scale = float(request.inverse_scale)
            self._norm = scale * norm_of([g for given in grads for g in given if g is not None])
        norms = [] if self._norm is None else [self._norm]
        skip = skip_flag(request, norms)
        self._applied = (
            1.0 if skip is True else clip_factor(limit_of(limit, self._norm, request), self._norm)
        )
        settled = replace(
            request,
            limits=[None],
            outlier=math.inf,
            inverse_scale=request.inverse_scale * self._applied,
            skip=skip,
        )
        for runner, places in self._parts:
            runner.step([grads[i] for i in places], settled)

    def totals(self) -> Totals:
        parts = [runner.totals() for runner, _ in self._parts]
        return Totals(
            gradient_norm=self._norm,
            update_norm=_together([part.update_norm for part in parts]),
            parameter_norm=_together([part.parameter_norm for part in parts]),
            clip_factor=self._applied * min(part.clip_factor for part in parts),
            num_nonfinite=sum(part.num_nonfinite for part in parts),
        )

    def per_tensor(self) -> list[Any]:
        rows: dict[int, Any] = {}
        for runner, places in self._parts:
            rows.update(zip(places, runner.per_tensor(), strict=True))
        for i in rows if self._applied > 0 else ():  # the parts were given the clip as a scale
            rows[i] = np.asarray(rows[i]) * [self._applied**-2.0, 1.0, 1.0, 1.0]
        return [rows[i] for i in range(self._num_groups)]


def _together(norms: Sequence[float | None]) -> float | None:
    """The norm of all parts; None where one was not measured, as in a step that was skipped."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if len(known) == len(norms) else None
