"""The table of metrics: what is measured of predictions besides the loss.

Inputs are outputs of a model and targets, torch tensors of n samples; a result is a float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Metric:
    """rises: larger is better; measure(outputs, targets) -> float; words: what it means."""

    name: str
    rises: bool
    measure: Callable[[Any, Any], float]
    words: str


def _accuracy(outputs: Any, targets: Any) -> float:
    return float((outputs.argmax(dim=1) == targets).double().mean())


def _rmse(outputs: Any, targets: Any) -> float:
    return float((outputs - targets).double().square().mean().sqrt())


def _r2(outputs: Any, targets: Any) -> float:
    targets = targets.double()
    spread = float((targets - targets.mean()).square().sum())
    error = float((outputs.double() - targets).square().sum())
    return 1 - error / spread if spread > 0 else float("nan")


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _accuracy, "share of the rows whose class is predicted right"),
        Metric("rmse", False, _rmse, "typical size of an error, in the target's own unit"),
        Metric("r2", True, _r2, "share of the target's variation that is explained"),
    )
}


def metrics_of(kind: str | None, deviation: float = 1.0) -> tuple[Metric, ...]:
    """The metrics of a kind of task; rmse in the target's own unit, whose deviation is given."""
    if kind is None:
        return ()
    if kind == "classification":
        return (METRICS["accuracy"],)
    own = METRICS["rmse"]

    def measure(outputs: Any, targets: Any) -> float:
        return own.measure(outputs, targets) * deviation

    return (Metric(own.name, own.rises, measure, own.words), METRICS["r2"])
