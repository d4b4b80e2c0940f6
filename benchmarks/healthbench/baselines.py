"""What others would say of a run, from the same columns: each a rule `log -> is there an alarm?`

Their thresholds are the ones that they are shipped with.
"""

from collections.abc import Callable

import numpy as np

from thalweg.record.foreign.log import LOSS, NORM, VALIDATION, Log


def _values(log: Log, role: str) -> np.ndarray:
    series = log.get(role)
    return np.empty(0) if series is None else series.values


def not_a_number(log: Log) -> bool:
    """A check for NaN and infinity in the losses."""
    return any(not np.isfinite(_values(log, role)).all() for role in (LOSS, VALIDATION))


def six_sigma(log: Log) -> bool:
    """OLMo-core's SkipStepOptimizer: a loss or norm 6 standard deviations above the mean of 128."""
    for role in (LOSS, NORM):
        values = _values(log, role)
        for i in range(128, len(values)):
            before = values[i - 128 : i]
            if values[i] > before.mean() + 6 * before.std():
                return True
    return False


def lightning_spike(log: Log) -> bool:
    """Lightning's SpikeDetection: a loss at least 3 times the mean of the last 10."""
    values = _values(log, LOSS)
    for i in range(10, len(values)):
        mean = values[i - 10 : i].mean()
        if not np.isfinite(values[i]) or values[i] > 3 * mean:
            return True
    return False


def lightning_early_stopping(log: Log) -> bool:
    """Lightning's EarlyStopping at its defaults: 3 evaluations of the validation loss without an
    improvement, or one that is not finite.
    """
    best, waited = np.inf, 0
    for value in _values(log, VALIDATION):
        if not np.isfinite(value):
            return True
        waited = 0 if value < best else waited + 1
        best = min(best, value)
        if waited >= 3:
            return True
    return False


def sagemaker(log: Log) -> bool:
    """SageMaker Debugger's built-in rules on scalars: LossNotDecreasing (10% in 10 steps),
    Overfit (validation 10% above training) and ExplodingTensor.
    """
    loss, validation = _values(log, LOSS), _values(log, VALIDATION)
    if not np.isfinite(loss).all():
        return True
    stuck = any(loss[i] > 0.9 * loss[i - 10] and loss[i] > 0 for i in range(10, len(loss), 10))
    tail = loss[-max(1, len(loss) // 20) :].mean() if len(loss) else np.nan
    overfit = bool(len(validation)) and validation[-1] > 1.1 * tail
    return stuck or overfit


BASELINES: dict[str, Callable[[Log], bool]] = {
    "a NaN check": not_a_number,
    "6-sigma skip (OLMo-core)": six_sigma,
    "SpikeDetection (Lightning)": lightning_spike,
    "EarlyStopping (Lightning)": lightning_early_stopping,
    "SageMaker's thresholds": sagemaker,
}
