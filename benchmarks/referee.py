"""The referee: runs each contender's clock, scores it, and says when to stop, for all alike."""

import math
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.network import Predict
from benchmarks.problem import CLASSIFICATION, Part, Problem

PATIENCE = 10

# Below this a probability counts as this, so that one sure and wrong row costs at most 27.6.
SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class Score:
    """Loss: cross-entropy, or squared error of the standardised target.

    Metric: accuracy, or root mean squared error in the target's own unit.
    """

    loss: float
    metric: float


@dataclass(frozen=True)
class Mark:
    """One epoch's end: training seconds so far without evaluation, and the validation score."""

    seconds: float
    validation: Score


def score(predict: Predict, part: Part, problem: Problem) -> Score:
    """Score predictions on a part, in float64."""
    predicted = predict(part.x)
    if problem.kind == CLASSIFICATION:
        chosen = predicted[np.arange(len(part.y)), part.y]
        loss = -np.log(np.maximum(chosen, SMALLEST_PROBABILITY)).mean()
        return Score(float(loss), float((predicted.argmax(axis=1) == part.y).mean()))

    squared = float(np.square(predicted.reshape(-1, 1) - part.y.astype(np.float64)).mean())
    return Score(squared, problem.unit * squared**0.5)


class Referee:
    """Watches one run: `start()`, then `epoch(predict)` after each epoch, until it says False.

    trace: a mark for each epoch
    best_epoch: its index with the lowest validation loss, and `test` the score of that epoch
    cpu_seconds: processor time of all threads, where the marks have wall time
    """

    def __init__(self, problem: Problem, *, num_epochs: int):
        self.trace: list[Mark] = []
        self.best_epoch = 0
        self.test = Score(math.nan, math.nan)
        self.cpu_seconds = 0.0
        self._problem = problem
        self._num_epochs = num_epochs
        self._seconds = 0.0
        self._since = 0.0
        self._cpu_since = 0.0

    @property
    def best_loss(self) -> float:
        """The lowest validation loss so far."""
        return self.trace[self.best_epoch].validation.loss

    def start(self) -> None:
        """Start the clock."""
        self._cpu_since = time.process_time()
        self._since = time.perf_counter()

    def epoch(self, predict: Predict) -> bool:
        """Score an epoch while the clock stands still; whether the run goes on.

        ArithmeticError if the validation loss is not finite: such a run compares with nothing.
        """
        self._seconds += time.perf_counter() - self._since
        self.cpu_seconds += time.process_time() - self._cpu_since
        mark = Mark(self._seconds, score(predict, self._problem.validation, self._problem))
        self.trace.append(mark)
        if not math.isfinite(mark.validation.loss):
            raise ArithmeticError(f"validation loss not finite at epoch {len(self.trace)}")

        if mark.validation.loss <= self.best_loss:
            self.best_epoch = len(self.trace) - 1
            self.test = score(predict, self._problem.test, self._problem)

        goes_on = len(self.trace) < self._num_epochs
        patient = len(self.trace) - 1 - self.best_epoch < PATIENCE
        self.start()
        return goes_on and patient

    def seconds_to(self, loss: float) -> float:
        """Training seconds at the first epoch whose validation loss is at most `loss`.

        ValueError if there is none.
        """
        return min(mark.seconds for mark in self.trace if mark.validation.loss <= loss)
