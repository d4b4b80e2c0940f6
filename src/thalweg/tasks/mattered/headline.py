"""The one measure in which it is said what mattered: the one that heads the result."""

from __future__ import annotations

from thalweg.tasks.metrics import Metric
from thalweg.tasks.scores import Answers, mean
from thalweg.tasks.task import Task

FIRST = ("accuracy", "rmse")


def headline_of(task: Task) -> Metric:
    """The metric that is watched, else the accuracy or the rmse, else any; without one the loss."""
    known = {row.name: row for row in task.metrics}
    names = (task.watched.name, *FIRST, *known)
    return next((known[name] for name in names if name in known), loss_of(task))


def loss_of(task: Task) -> Metric:
    """The task's loss as a metric."""

    def score(answers: Answers) -> float:
        losses = task.objective.each(answers.outputs, answers.targets)
        return float(mean(losses, answers.weights)) if losses.dim() else float(losses)

    def measure(outputs, targets) -> float:
        return score(Answers(outputs, targets, task.reading))

    return Metric("loss", False, measure, "what was minimised", (), score, task.reading)


def worsening(metric: Metric, now: float, before: float) -> float:
    """By how much a value is worse than the one before; below 0 where it is better."""
    return before - now if metric.rises else now - before
