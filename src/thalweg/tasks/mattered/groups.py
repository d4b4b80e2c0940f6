"""Errors by group: the headline metric of each group of a set's rows, beside that of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.tasks.mattered.chance import LEVEL, interval_of, level_of_each
from thalweg.tasks.mattered.headline import Measure, headline_of, loss_of
from thalweg.tasks.measure import Sights
from thalweg.tasks.sources import rows_of
from thalweg.tasks.study import Study
from thalweg.tasks.table.by import groups_of


@dataclass(frozen=True, slots=True)
class Group:
    """value: of the metric, None where it cannot be told; low, high: its interval

    is_worse: beyond chance than the whole set
    """

    name: str
    rows: int
    value: float | None
    low: float | None
    high: float | None
    loss: float | None
    is_worse: bool


def errors_by(study: Study, sights: Sights, name: str) -> dict[str, Any] | None:
    """Of the groups that the study's column makes of a set, as they stand in the result's JSON.

    All intervals hold at once at LEVEL (Bonferroni): a group is worse where its own lies beyond the
    value of the whole.
    """
    seen = None if study.by is None else sights.of(name)
    if study.by is None or seen is None:
        return None
    task, source = sights.task, sights.sets[name]
    if seen.outputs is None or seen.targets is None:
        return None
    groups = groups_of(study.by.gather(rows_of(source, np.arange(len(source)))))
    rows = _Rows(headline_of(task), loss_of(task), seen.outputs, seen.targets, seen.weights)
    level = level_of_each(LEVEL, len(groups.names))
    found = list(rows.groups(groups.names, groups.ids, level))
    whole = rows.value(rows.metric, slice(None))
    return {
        "column": study.by.name,
        "kind": groups.kind,
        "set": name,
        "metric": rows.metric.name,
        "rises": rows.metric.rises,
        "value": whole,
        "rows": len(source),
        "level": LEVEL,
        "interval": f"all {len(found)} at once",
        "groups": [asdict(group) for group in found],
    }


@dataclass(frozen=True, slots=True)
class _Rows:
    metric: Measure
    loss: Measure
    outputs: Tensor
    targets: Tensor
    weights: Tensor | None

    def groups(self, names: tuple[str, ...], ids: np.ndarray, level: float) -> Iterator[Group]:
        whole = self.value(self.metric, slice(None))
        for i, name in enumerate(names):
            rows = torch.from_numpy(np.flatnonzero(ids == i))
            low, high = self._interval(rows, level) or (None, None)
            yield Group(
                name,
                len(rows),
                self.value(self.metric, rows),
                low,
                high,
                self.value(self.loss, rows),
                self._is_worse(low, high, whole),
            )

    def value(self, metric: Measure, rows: Any) -> float | None:
        """None where a metric of the user's own cannot tell, or no row weighs anything."""
        with suppress(UsageError):
            return metric(*self._of(rows))
        return None

    def _of(self, rows: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        weights = None if self.weights is None else self.weights[rows]
        return self.outputs[rows], self.targets[rows], weights

    def _interval(self, rows: Tensor, level: float) -> tuple[float, float] | None:
        with suppress(UsageError):
            return interval_of(self.metric, *self._of(rows), level=level)
        return None

    def _is_worse(self, low: float | None, high: float | None, whole: float | None) -> bool:
        if low is None or high is None or whole is None:
            return False
        return high < whole if self.metric.rises else low > whole
