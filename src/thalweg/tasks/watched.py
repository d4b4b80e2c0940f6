"""What decides which weights are best and when to stop early: the loss, or a metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thalweg.tasks.metrics import Metric, metric_of
from thalweg.types import LOSS, Watched


def watched_of(
    metric: str | Metric | Callable[[Any, Any], Any] | None, measured: tuple[Metric, ...]
) -> tuple[Watched, tuple[Metric, ...]]:
    """What is watched, and what has to be measured: it as well. Raises UsageError for no metric."""
    if metric is None or metric == "loss":
        return LOSS, measured
    known = {row.name: row for row in measured}
    row = known.get(metric) if isinstance(metric, str) else None
    if row is None:
        row = metric_of(metric)
    if row.name not in known:
        measured = (*measured, row)
    return Watched(row.name, row.rises), measured
