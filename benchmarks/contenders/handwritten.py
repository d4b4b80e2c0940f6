"""A hand-written torch loop, batched by index: what any library on torch is measured against."""

import torch

from benchmarks.network import built, criterion, fused_adamw, predictor
from benchmarks.problem import Problem
from benchmarks.referee import Referee


def train(problem: Problem, referee: Referee, *, seed: int) -> None:
    """Train with a plain loop."""
    network = built(problem, seed=seed)
    loss_of = criterion(problem.kind)
    optimizer = fused_adamw(network)
    predict = predictor(network, problem.kind)
    x = torch.from_numpy(problem.train.x)
    y = torch.from_numpy(problem.train.y)

    referee.start()
    going = True
    while going:
        for rows in torch.randperm(len(x)).split(problem.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss_of(network(x[rows]), y[rows]).backward()
            optimizer.step()
        going = referee.epoch(predict)
