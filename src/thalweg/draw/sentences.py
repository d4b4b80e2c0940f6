"""One plain sentence for each figure of the report, computed from the run's own numbers.

Pure functions: a run's columns, evaluations or results in, words out that are wrong on another run.
`steps` is a history's columns by name: masked arrays of shape (n,), masked where not measured, NaN
and infinity kept as such. `evaluations` are those of one run, oldest first. Texts are not escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thalweg.types import Evaluation

METRICS = {
    "accuracy": ("accuracy", True),
    "rmse": ("rmse (the typical error, in the target's own units)", False),
    "r2": ("R² (the share of the target's spread that is explained)", True),
    "balanced_accuracy": ("balanced accuracy (every class counts alike)", True),
    "f1": ("F1 (finding the rarer class without crying wolf)", True),
    "auc": ("AUC (how well the classes are ranked apart; 0.5 is a coin)", True),
    "average_precision": ("average precision (share of true finds down the ranking)", True),
    "log_loss": ("log loss (surprise at the true class)", False),
    "calibration_error": ("calibration error (stated probability against share right)", False),
    "mae": ("mae (the mean error, in the target's own units)", False),
    "bits_per_character": ("surprise at a character, in bits", False),
    "bits_per_byte": ("surprise at a byte, in bits", False),
    "pinball": ("pinball loss (of the quantiles, in the target's own units)", False),
}
"""By name: the words for a metric, and whether higher is better."""

SHARES = ("accuracy", "balanced_accuracy")
"""Metrics that are shown as a percentage."""

NOT_FINITE = "not a finite number (NaN or infinity)"
LEAST_CHECKS = 5
"""Evaluations that it takes to say that a model memorised."""
RISE = 0.05
"""A change of loss by a smaller share than this is not called a rise or a fall."""


def number(value: float) -> str:
    """Three digits, or all before the point: `1,260`, `1.92`, `0.083`, `4.1e-7`."""
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if 100 <= size < 1e9:
        return f"{value:,.0f}"
    if size == 0 or 1e-3 <= size < 100:
        return f"{value:.3g}"
    return _power(value)


def percent(share: float) -> str:
    """A share as a percentage, one decimal at most: `97.8%`; `100%` only if it is all."""
    if not math.isfinite(share):
        return "not finite"
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    return f"{text.removesuffix('.0')}%"


def rate(value: float) -> str:
    """A learning rate as people type it: `0.1`, `1e-3`, `2.1e-4`."""
    return number(value) if value == 0 or abs(value) >= 0.01 else _power(value)


def metric_value(name: str, value: float) -> str:
    """A metric's value in its own manner: an accuracy as a percentage, others as numbers."""
    return percent(value) if name in SHARES else number(value)


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def several(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 step`, `1,260 steps`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def measured(steps: Mapping[str, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Step numbers and values where `name` was measured, NaN and infinity included: shape (k,)."""
    if name not in steps:
        return np.zeros(0), np.zeros(0)
    there = ~np.ma.getmaskarray(steps[name])
    values = np.ma.getdata(steps[name])[there].astype(np.float64)
    return np.ma.getdata(steps["number"])[there].astype(np.int64), values


def validation(evaluations: Sequence[Evaluation], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Step numbers and values of a measure on the validation set, NaN and infinity included."""
    found = [e for e in evaluations if e.split == "validation" and e.values.get(name) is not None]
    numbers = np.array([e.number for e in found], dtype=np.int64)
    return numbers, np.array([e.values[name] for e in found], dtype=np.float64)


def _finite(numbers: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = np.isfinite(values)
    return numbers[keep], values[keep]


@np.errstate(over="ignore")
def loss(steps: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> str:
    """How the losses moved, where validation was lowest, and what came after."""
    numbers, values = measured(steps, "loss")
    if not len(values):
        return "No training step was recorded, so there is no loss to show."
    broken = _broken(numbers, values)
    if not np.isfinite(values).any():
        return broken
    at, losses = validation(evaluations, "loss")
    finite = np.isfinite(losses)
    ended = np.isfinite(values[-1]) and finite[-1:].all()
    noise = (evaluations[-1].noise if evaluations else None) or 0.0
    story = _story(steps, at[finite], losses[finite], ended=bool(ended), noise=noise)
    lost = len(losses) - int(finite.sum())
    unread = f" {several(lost, 'evaluation')} gave a loss that was {NOT_FINITE}." if lost else ""
    return f"{broken} {story}{unread}".strip()


def _broken(numbers: np.ndarray, values: np.ndarray) -> str:
    """Where the training loss was not finite; empty if it always was."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return ""
    first = int(numbers[bad][0])
    if bad.all():
        return f"The training loss was {NOT_FINITE} at every recorded step: nothing was learned."
    if bad[np.argmax(bad) :].all():
        return f"From step {first:,} on, the training loss was {NOT_FINITE}: the run broke there."
    where = f"{several(int(bad.sum()), 'step')} of {len(values):,}"
    return f"At {where}, first at step {first:,}, the training loss was {NOT_FINITE}."


def _story(
    steps: Mapping[str, Any], at: np.ndarray, losses: np.ndarray, *, ended: bool, noise: float
) -> str:
    """The finite losses in words.

    ended: the run ended with finite losses
    noise: standard error of the last change of the validation loss, 0 where it is not known
    """
    numbers, values = _finite(*measured(steps, "loss"))
    if len(at) == 0:
        return f"{_trained(numbers, values)}; without validation data, memorising would not show."
    if len(at) == 1:
        once = f"Validation loss was measured once: {number(losses[0])} at step {at[0]:,}"
        return f"{once}. {_trained(numbers, values)}."
    best = int(np.argmin(losses))
    if best == 0:
        return _never_fell(values, at, losses)
    where = f"step {at[best]:,} of {_last(steps):,}{_epoch(steps, int(at[best]))}"
    fell = f"Validation loss fell from {number(losses[0])} to {number(losses[best])}"
    if best == len(losses) - 1:
        more = ": the last evaluation, so more training may lower it further" if ended else ""
        return f"{fell}, its lowest, at {where}{more}."
    after = f"in the last {several(int(at[-1] - at[best]), 'step')}"
    if losses[-1] - losses[best] < 2 * noise:
        return f"{fell} and was lowest at {where}; {after} it did not change beyond its own noise."
    return f"{fell} and was lowest at {where}; {after} {_aftermath(numbers, values, at, losses)}."


def _last(steps: Mapping[str, Any]) -> int:
    return int(np.ma.getdata(steps["number"])[-1])


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Mean of the first and of the last tenth of the values (at most ten values each)."""
    width = min(10, max(1, len(values) // 10))
    return float(values[:width].mean()), float(values[-width:].mean())


def _trained(numbers: np.ndarray, values: np.ndarray) -> str:
    if len(values) == 1:
        return f"Training loss was measured once: {number(values[0])} at step {numbers[0]:,}"
    first, last = _ends(values)
    moved = "fell" if last < first else "rose" if last > first else "went"
    over = several(len(values), "step")
    return f"Training loss {moved} from {number(first)} to {number(last)} over {over}"


def _never_fell(values: np.ndarray, at: np.ndarray, losses: np.ndarray) -> str:
    lowest = f"{number(losses[0])} at step {at[0]:,}, and {number(losses[-1])} at the end"
    text = f"Validation loss was lowest at its first measurement, {lowest}"
    first, last = _ends(values)
    moved = f"from {number(first)} to {number(last)}"
    if first - last > RISE * abs(first) and len(losses) >= LEAST_CHECKS and last < losses[0]:
        return f"{text}, while training loss fell {moved}: the model memorised the training rows."
    if first - last > RISE * abs(first):
        return f"{text}; training loss fell {moved}."
    return f"{text}; training loss went {moved}: little was learned."


def _epoch(steps: Mapping[str, Any], at: int) -> str:
    numbers, epochs = measured(steps, "epoch")
    match = np.flatnonzero(numbers == at)
    return f" (epoch {round(float(epochs[match[0]]), 1):g})" if len(match) else ""


def _aftermath(numbers: np.ndarray, values: np.ndarray, at: np.ndarray, losses: np.ndarray) -> str:
    """What followed the lowest validation loss: a plateau, or a rise and what training did."""
    best = int(np.argmin(losses))
    rise = float(losses[-1] - losses[best]) / (abs(float(losses[best])) or 1e-12)
    if rise < RISE:
        ended = f"{percent(rise)} above" if rise >= 0.005 else "level with"
        return f"it improved no further and ended {ended} that"
    risen = f"it rose {percent(rise)}" if rise < 1 else f"it rose to {number(losses[-1])}"
    if _kept_falling(values[numbers <= at[best]], values[numbers > at[best]]):
        return f"{risen} while training loss kept falling: the model had begun to memorise"
    return f"{risen}, and training loss fell no further either"


def _kept_falling(before: np.ndarray, after: np.ndarray) -> bool:
    width = max(1, len(after) // 2)
    if not len(before) or not len(after):
        return False
    return float(after[-width:].mean()) < float(before[-width:].mean()) * 0.98


def metric(evaluations: Sequence[Evaluation], name: str, *, rises: bool | None = None) -> str:
    """How a validation metric moved, where it was best, and how soon most of the gain came.

    rises: is larger better? None: as the table has it
    """
    at, values = _finite(*validation(evaluations, name))
    if not len(values):
        return "No validation metric was measured in this run."
    words, higher = METRICS.get(name, (name, True))
    higher = higher if rises is None else rises
    shown = [metric_value(name, value) for value in values]
    if len(values) == 1:
        return f"Validation {words} was measured once: {shown[0]} at step {at[0]:,}."
    best = int(np.argmax(values) if higher else np.argmin(values))
    if best == 0:
        start = f"was best at its first measurement, {shown[0]} at step {at[0]:,}"
        return f"Validation {words} {start}, and {shown[-1]} at the last, step {at[-1]:,}."
    moved = "rose" if higher else "fell"
    text = f"Validation {words} {moved} from {shown[0]} to {shown[best]} at step {at[best]:,}"
    text += ", its best"
    text += "" if shown[-1] == shown[best] else f", and was {shown[-1]} at the last evaluation"
    gain = (values - values[0]) / (values[best] - values[0])
    soon = int(np.argmax(gain >= 0.9))
    if soon == best:
        return f"{text}."
    return f"{text}; nine tenths of the gain had come by step {at[soon]:,}."


def learning_rate(steps: Mapping[str, Any]) -> str:
    """How long the learning rate rose, how high, and where it was at the end."""
    numbers, values = _finite(*measured(steps, "lr"))
    if not len(values):
        return "The learning rate was not recorded in this run."
    top, last = float(values.max()), float(values[-1])
    if len(values) == 1 or math.isclose(values.min(), top, rel_tol=1e-9):
        return f"The learning rate stayed at {rate(top)} for {_all_steps(len(values))}."
    peak = int(np.argmax(values >= top * (1 - 1e-9)))
    if peak == 0:
        began = f"began at {rate(top)}, its highest"
        return f"The learning rate {began}, and was at {rate(last)} when the run ended."
    rose = f"The learning rate rose over {several(int(numbers[peak]), 'step')} to {rate(top)}"
    if peak == len(values) - 1:
        return f"{rose} and was still rising when the run ended."
    if math.isclose(last, top, rel_tol=1e-9):
        return f"{rose} and stayed there to the end, step {numbers[-1]:,}."
    return f"{rose} and was at {rate(last)} when the run ended, at step {numbers[-1]:,}."


def _all_steps(count: int) -> str:
    return "the only step" if count == 1 else f"all {count:,} steps"


def gradient_norm(steps: Mapping[str, Any]) -> str:
    """The usual size of the gradient, its highest, and its size near the end."""
    numbers, norms = measured(steps, "gradient_norm")
    if not len(norms):
        return "The gradient's norm was not measured in this run."
    at, values = _finite(numbers, norms)
    lost = len(norms) - len(values)
    if not len(values):
        return f"The gradient's norm was {NOT_FINITE} at all {several(lost, 'step')} measured."
    text = f"The gradient's norm (how steep the loss is) {_usual(at, values)}"
    if lost:
        first = int(numbers[~np.isfinite(norms)][0])
        text += f"; at {several(lost, 'step')}, first at step {first:,}, it was {NOT_FINITE}"
    return f"{text}."


def _usual(at: np.ndarray, values: np.ndarray) -> str:
    if len(values) == 1:
        return f"was measured once: {number(values[0])} at step {at[0]:,}"
    median, peak = float(np.median(values)), int(np.argmax(values))
    highest, tenth = number(values[peak]), max(1, len(values) // 10)
    late = f"{number(float(np.median(values[-tenth:])))} in the last tenth of the run"
    if peak < tenth:
        start = f"was highest near the start ({highest} at step {at[peak]:,})"
        return f"{start}, {number(median)} at the median and {late}"
    if values[peak] > 10 * median > 0:
        times = f"{number(values[peak] / median)} times that"
        jumped = f"jumped to {highest}, {times}, at step {at[peak]:,}"
        return f"was {number(median)} at the median but {jumped}; it was {late}"
    usual = f"was {number(median)} at the median and never above {highest} (step {at[peak]:,})"
    return f"{usual}; it was {late}"


def confusion(classes: Sequence[str], matrix: np.ndarray) -> str:
    """The most frequent mistake and the best recognised class.

    `matrix` counts rows of the test set, int of shape (k, k): true classes down, answers across.
    """
    support, total = matrix.sum(axis=1), int(matrix.sum())
    if total == 0:
        return "The test set had no rows, so nothing can be said of mistakes."
    answered = np.flatnonzero(matrix.sum(axis=0))
    if len(answered) == 1 and np.count_nonzero(support) > 1:
        only = classes[answered[0]]
        return f"The model gave one answer, “{only}”, for all {several(total, 'test row')}."
    wrong = matrix - np.diag(np.diag(matrix))
    if not wrong.any():
        return f"No mistake: all {several(total, 'test row')} were recognised."
    return f"{_worst_pair(classes, wrong, support)}; {_best_class(classes, matrix, support)}."


def _worst_pair(classes: Sequence[str], wrong: np.ndarray, support: np.ndarray) -> str:
    true, said = divmod(int(np.argmax(wrong)), len(classes))
    count, rows = int(wrong[true, said]), int(support[true])
    mistakes = several(int(wrong.sum()), "mistake")
    if count == 1 and wrong.sum() > 1:
        return f"There were {mistakes}, no two of them alike"
    were = "was" if count == 1 else "were"
    taken = f"{count:,} of {several(rows, 'row')} of class “{classes[true]}” {were}"
    return f"The most frequent mistake: {taken} taken for “{classes[said]}”"


def _best_class(classes: Sequence[str], matrix: np.ndarray, support: np.ndarray) -> str:
    right = np.diag(matrix) / np.maximum(support, 1)
    perfect = int(np.count_nonzero((right == 1) & (support > 0)))
    best = int(np.lexsort((support, right))[-1])
    share = f"{matrix[best, best]:,} of {support[best]:,}, {percent(float(right[best]))}"
    text = f"best recognised: “{classes[best]}” ({share})"
    if perfect > 1:
        text = f"{perfect:,} of {several(len(classes), 'class', 'classes')} without a mistake"
    missed = np.flatnonzero((support > 0) & (np.diag(matrix) == 0))
    never = f"; never recognised: “{classes[missed[0]]}”" if len(missed) else ""
    more = f" and {len(missed) - 1:,} more" if len(missed) > 1 else ""
    return f"{text}{never}{more}"


def residuals(actual: np.ndarray, predicted: np.ndarray, unit: str = "") -> str:
    """How far off half of the predictions are at most, the worst one, and a lean to one side."""
    keep = np.isfinite(actual) & np.isfinite(predicted)
    lost = int((~keep).sum())
    if not keep.any():
        return (
            f"Every prediction on the test set was {NOT_FINITE}." if lost else "No row was tested."
        )
    text = f"{_misses(actual[keep], predicted[keep], unit)}{_lean(predicted[keep] - actual[keep])}"
    return f"{text}; {several(lost, 'prediction')} {NOT_FINITE}." if lost else f"{text}."


def _misses(actual: np.ndarray, predicted: np.ndarray, unit: str) -> str:
    size = abs(predicted - actual)
    worst = int(np.argmax(size))
    unit = f" {unit}" if unit else ""
    half = f"Half of the predictions are within {number(float(np.median(size)))}{unit}"
    pair = f"{number(predicted[worst])} for {number(actual[worst])}"
    return f"{half} of the true value; the worst is off by {number(size[worst])}{unit} ({pair})"


def _lean(error: np.ndarray) -> str:
    low, high = float((error < 0).mean()), float((error > 0).mean())
    if max(low, high) < 0.65:
        return ""
    return f"; {percent(low)} are too low" if low > high else f"; {percent(high)} are too high"
