"""skorch's NeuralNet: an epoch is one `partial_fit`; its own iterators, no callbacks.

Measured: `partial_fit` for each epoch costs the same as one `fit`, and NumPy arrays are faster
through its iterators than tensors.
"""

import torch
from skorch import NeuralNet

from benchmarks.network import LR, built, criterion, predictor
from benchmarks.problem import Problem
from benchmarks.referee import Referee


def train(problem: Problem, referee: Referee, *, seed: int) -> None:
    """Train with skorch."""
    network = built(problem, seed=seed)
    predict = predictor(network, problem.kind)

    referee.start()
    net = NeuralNet(
        network,
        criterion=type(criterion(problem.kind)),
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        lr=LR,
        batch_size=problem.batch_size,
        max_epochs=1,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
    ).initialize()
    going = True
    while going:
        net.partial_fit(problem.train.x, problem.train.y)
        going = referee.epoch(predict)
