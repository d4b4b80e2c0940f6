"""A small real task, the loops that learn it, soundly and not, and trials of them."""

from __future__ import annotations

import random
from itertools import cycle

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from thalweg.trials.trial import trial

DIGITS = load_digits()
ORDER = torch.randperm(len(DIGITS.data), generator=torch.Generator().manual_seed(0))
X = torch.tensor(DIGITS.data / 16 - 0.3, dtype=torch.float32)[ORDER]
Y = torch.tensor(DIGITS.target)[ORDER]
SHUFFLED = Y[torch.randperm(len(Y), generator=torch.Generator().manual_seed(5))]


def batches_of(x, y):
    return list(zip(x.split(32), y.split(32), strict=True))


def mlp(*more):
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), *more)


def normed():
    hidden = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3))
    return nn.Sequential(hidden, nn.Linear(64, 10))


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def softmax():
    return mlp(nn.Softmax(1))


def dead():
    model = mlp()
    nn.init.constant_(model[0].bias, -50.0)
    return model


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=3e-3)


def slow(lr):
    return lambda model: sgd(model, lr)


class Cut(nn.Module):
    """Its lower layer gets no gradient and passes nothing on."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(0.0 * torch.relu(self.body(x)).detach())


def loss_by(model):
    return lambda batch: functional.cross_entropy(model(batch[0]), batch[1])


class Loop:
    """Somebody's own loop over the digits."""

    def __init__(self, make=mlp, optimizer=sgd, y=Y, zeroes=True):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        self.model = make()
        self.optimizer = optimizer(self.model)
        self.loss_of = loss_by(self.model)
        self.number = 0
        self.learnt, self.held = batches_of(X[:1440], y[:1440]), batches_of(X[1440:], y[1440:])
        self._batches = cycle(self.learnt)
        self._zeroes = zeroes

    def steps(self, count):
        for _ in range(count):
            self.backward()
            self.optimizer.step()
        return self

    def backward(self):
        """All of a step but the update."""
        if self._zeroes:
            self.optimizer.zero_grad()
        self.last = next(self._batches)
        self.loss_of(self.last).backward()
        self.number += 1

    def tried(self, **more):
        given = {"batches": self.learnt, "held": self.held, "number": self.number, **more}
        return trial(self.model, self.optimizer, loss_of=self.loss_of, **given)
