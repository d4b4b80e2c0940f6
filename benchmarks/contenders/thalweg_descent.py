"""thalweg's descend, record in memory, everything else at its defaults.

The task has no validation part: the referee evaluates between two steps, as for all contenders.
"""

import thalweg
from benchmarks.network import LR, built, predictor
from benchmarks.problem import CLASSIFICATION, Problem
from benchmarks.referee import Referee


def train(problem: Problem, referee: Referee, *, seed: int) -> None:
    """Train with thalweg's descend."""
    network = built(problem, seed=seed)
    predict = predictor(network, problem.kind)
    loss = "cross_entropy" if problem.kind == CLASSIFICATION else "mse"

    referee.start()
    task = thalweg.Task(network, (problem.train.x, problem.train.y), loss=loss)
    optimizer = thalweg.AdamW(network.parameters(), lr=LR)
    with thalweg.descend(
        task,
        optimizer,
        batch_size=problem.batch_size,
        seed=seed,
        until=thalweg.budget(epochs=problem.num_epochs),
        record=None,
    ) as descent:
        for step in descent:
            is_epoch_end = step.epoch.is_integer()
            if is_epoch_end and not referee.epoch(predict):
                break
