"""Looks at the validation set: when they are due, what they found, and the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from thalweg.health.improvement import num_without_improvement
from thalweg.loop.evaluate import Evaluator
from thalweg.state.weights import Weights
from thalweg.tasks.task import Task
from thalweg.types import Evaluation, Source


class Looks:
    """The evaluations of a descent.

    every: steps between them; keeps_best: are the best weights kept, by what the task watches?
    shown: a context in which the model holds the weights to look at
    evaluations: oldest first; num_stale: those since the last that improved beyond its noise; of
    a run that was changed on purpose those since then count alone
    """

    def __init__(
        self,
        task: Task,
        validation: Source,
        *,
        every: int,
        keeps_best: bool,
        shown: Callable[[], AbstractContextManager[None]],
    ):
        self.every = every
        self.evaluations: list[Evaluation] = []
        self.num_stale = 0
        self._counted_from = 0
        self.best: Weights | None = None
        self._model = task.model
        self._watched = task.watched
        self._keeps_best = keeps_best
        self._shown = shown
        self._evaluator = Evaluator(task, validation, "validation")

    def is_due(self, number: int) -> bool:
        return number % self.every == 0

    def was_made(self, number: int) -> bool:
        """Was the set looked at after this step already?"""
        return bool(self.evaluations) and self.evaluations[-1].number == number

    def look(self, number: int) -> Evaluation:
        """Evaluate the set now, after step `number`."""
        start = time.perf_counter()
        with self._shown():  # it may take as long as the look itself, and is counted with it
            evaluation = self._evaluator(number)
            self._keep_if_best(evaluation)
        evaluation = replace(evaluation, seconds=time.perf_counter() - start)
        self.evaluations.append(evaluation)
        self._count()
        return evaluation

    def count_from(self, number: int) -> None:
        """Patience begins anew: what was seen up to this step says nothing of what comes."""
        self._counted_from = number
        self._count()

    def _count(self) -> None:
        counted = [row for row in self.evaluations if row.number > self._counted_from]
        self.num_stale = num_without_improvement(counted, self._watched)

    def _keep_if_best(self, evaluation: Evaluation) -> None:
        if self._keeps_best and self._watched.cost(evaluation.values) < self._best_cost:
            loss = evaluation.values["loss"]
            self.best = Weights.of(self._model, evaluation.number, loss)

    @property
    def _best_cost(self) -> float:
        """Of the weights that are kept: what the evaluation of their step has measured."""
        best = self.best
        if best is None:
            return math.inf
        rows = [row for row in self.evaluations if row.number == best.number]
        return self._watched.cost(rows[-1].values) if rows else math.inf

    def said_of_best(self) -> str:
        """What the weights that are kept are the best of, in words with the number."""
        assert self.best is not None
        if self._watched.is_loss:
            return f"of the lowest validation loss, {self.best.loss:.4g}"
        side, cost = ("highest", -1) if self._watched.rises else ("lowest", 1)
        return f"of the {side} validation {self._watched.name}, {cost * self._best_cost:.4g}"

    def to_tree(self) -> dict[str, Any]:
        """All that a resumed run needs of them."""
        return {
            "evaluations": [
                [row.number, row.split, dict(row.values), row.noise, row.seconds, row.noise_watched]
                for row in self.evaluations
            ],
            "best": None if self.best is None else self.best.to_tree(),
            "evaluator": self._evaluator.to_tree(),
            "counted_from": self._counted_from,
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        self.evaluations[:] = [Evaluation(*row) for row in tree["evaluations"]]
        self.count_from(tree.get("counted_from", 0))  # an older state has none
        self.best = None if tree["best"] is None else Weights.from_tree(tree["best"])
        self._evaluator.restore(tree["evaluator"])
