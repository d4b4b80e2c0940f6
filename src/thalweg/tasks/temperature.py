"""What outputs are divided by, so that the probabilities they become are as often right as stated.

A model that was trained on labels of which a share is spread over all classes, or to care little
for rows that it answers well, states too little; one number, chosen on rows that it did not learn
from, sets that right (Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks,
ICML 2017).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thalweg.tasks.measure import Seen
from thalweg.tasks.reading import Reading

LOWEST, HIGHEST = 0.02, 50.0
HALVINGS = 24
"""Of what is left between them, on a logarithmic scale: to a millionth."""


def chosen_temperature(reading: Reading, seen: Seen) -> float | None:
    """The temperature of the least surprise at the rows seen; None where outputs are no
    probabilities.

    Right counts as (n + 1) / (n + 2) of n rows and not as certain, as in Platt's scaling (1999): a
    model that knows all of them would otherwise promise, at a temperature near 0, never to err.
    """
    if seen.outputs is None or seen.targets is None or not torch.isfinite(seen.outputs).all():
        return None
    outputs = seen.outputs.double().reshape(len(seen.outputs), -1)
    truths = _truths(reading, outputs, seen.targets)
    if truths is None:
        return None
    weights = torch.ones(len(outputs)) if seen.weights is None else seen.weights
    return _least(outputs, truths, weights.double(), of_labels=reading.link == "sigmoid")


def said_of(temperature: float) -> str:
    """In a line."""
    return (
        f"outputs are divided by {temperature:.3g} before they become probabilities, so that these "
        "are as often right as they say on the validation rows"
    )


def _truths(reading: Reading, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """What each output should say: shares of the classes, or of 1, (n, outputs)."""
    doubt = 1 / (len(outputs) + 2)
    if reading.link == "softmax" and outputs.shape[1] > 1:
        truths = torch.full_like(outputs, doubt / (outputs.shape[1] - 1))
        return truths.scatter_(1, targets.long().reshape(-1, 1), 1 - doubt)
    if reading.link == "sigmoid":
        return targets.double().reshape(outputs.shape) * (1 - 2 * doubt) + doubt
    return None


def _least(outputs: Tensor, truths: Tensor, weights: Tensor, *, of_labels: bool) -> float:
    """Where the slope of the surprise by the inverse temperature is 0; it rises with the latter."""

    def rises(inverse: float) -> bool:
        if of_labels:
            stated = torch.sigmoid(outputs * inverse)
        else:
            stated = torch.softmax(outputs * inverse, dim=1)
        return float((((stated - truths) * outputs).sum(dim=1) * weights).sum()) > 0

    low, high = math.log(1 / HIGHEST), math.log(1 / LOWEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if rises(math.exp(middle)) else (middle, high)
    return math.exp(-(low + high) / 2)
