"""NaN that Hugging Face's Trainer hides from its log, uncovered.

With `logging_nan_inf_filter`, which is on by default, a step whose loss is NaN or infinite counts
as the mean of those since the last line of the log. Where all of them are, that mean is 0.0: a run
that is dead looks as if it had learnt everything. A loss of exactly 0 is read as NaN where

- the gradient's norm beside it is NaN or infinite, or
- the losses stay at 0 to the end, and the loss of an evaluation from then on is NaN, or
- they do so from a value that was nowhere near 0, and no norm was logged that says otherwise.

A loss that falls to 0 by and by (texts learnt by heart, rounded to four digits) is left as it is,
and so is one that is 0 from the first line on (a policy's) beside norms that are finite, and all
where the run's settings say that the filter was off.
"""

from __future__ import annotations

import numpy as np

from thalweg.record.foreign.log import LOSS, NORM, VALIDATION, Log, Series

FAR_FROM_ZERO = 0.05
"""A mean loss that is above this does not become 0.0 from one line of the log to the next."""


def uncover(log: Log) -> None:
    """In a Trainer's log, makes the zeros that stand for NaN what they were, and notes it."""
    loss = log.get(LOSS) if log.tool == "huggingface" else None
    hidden = _hidden(loss, log.get(NORM), log.get(VALIDATION)) if loss is not None else None
    if loss is None or hidden is None or not hidden.any() or not log.settings.get("nan_filter", 1):
        return
    log.series[LOSS] = Series(loss.name, loss.steps, np.where(hidden, np.nan, loss.values))
    first, count = loss.steps[hidden][0], int(hidden.sum())
    before = _mixed(loss, log.get(NORM), hidden)
    log.notes.insert(
        0,
        f"the loss is logged as 0.0 from {log.unit} {first:,g} on ({count:,} times), which is what "
        f"logging_nan_inf_filter makes of NaN: it is read as NaN{before}",
    )


def _hidden(loss: Series, norm: Series | None, validation: Series | None) -> np.ndarray | None:
    zero = loss.values == 0.0
    beside = _at(norm, loss.steps)
    is_bad = np.array([value is not None and not np.isfinite(value) for value in beside], bool)
    told = zero & is_bad
    tail = _tail(zero)
    if not tail.any():
        return told
    norms = [value for value, is_last in zip(beside, tail, strict=True) if is_last]
    if any(value is not None and np.isfinite(value) and value > 0 for value in norms):
        return told
    if (told & tail).any() or _is_lost(validation, loss.steps[tail][0]):
        return told | tail
    start = int(np.argmax(tail))
    is_sudden = start > 0 and loss.values[start - 1] > FAR_FROM_ZERO and tail.sum() >= 2
    return told | tail if is_sudden and all(value is None for value in norms) else told


def _tail(zero: np.ndarray) -> np.ndarray:
    """The zeros at the end."""
    return np.logical_and.accumulate(zero[::-1])[::-1]


def _at(series: Series | None, steps: np.ndarray) -> list[float | None]:
    known = {} if series is None else dict(zip(series.steps, series.values, strict=True))
    return [known.get(step) for step in steps]


def _is_lost(validation: Series | None, first: float) -> bool:
    """Is every loss of an evaluation NaN from a step on?"""
    if validation is None:
        return False
    after = validation.values[validation.steps >= first]
    return bool(len(after)) and not np.isfinite(after).any()


def _mixed(loss: Series, norm: Series | None, hidden: np.ndarray) -> str:
    """What is to be said of the line before, whose steps may have been NaN in part."""
    start = int(np.argmax(hidden))
    before = _at(norm, loss.steps[start - 1 : start])
    if start == 0 or before[0] is None or np.isfinite(before[0]):
        return ""
    step, value = loss.steps[start - 1], loss.values[start - 1]
    return f" (and the {value:.4g} at {step:,g}, whose gradient was NaN, may hide some too)"
