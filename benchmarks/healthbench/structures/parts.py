"""What the programs are put together from: batches of real data, networks, the usual step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]

NUM_BATCHES, BATCH_SIZE, WINDOW, NUM_SYMBOLS = 8, 64, 16, 128


@dataclass
class Built:
    """A program. optimizer: the one to be watched; others: further ones that it steps, too

    train_step: one step on a batch, with everything in it that the program does, and its loss;
    an iterator where the loss is shown before its backward pass, which goes on after it was shown
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    batches: list[Batch]
    train_step: Callable[[Batch], Tensor]
    others: list[torch.optim.Optimizer] = field(default_factory=list)


@dataclass(frozen=True)
class Structure:
    """codes: true findings, the main one first; none where it is sound; build: a fresh program."""

    name: str
    codes: tuple[str, ...]
    build: Callable[[], Built]


# ------------------------------------------------------------------ batches


@cache
def _table(name: str) -> tuple[np.ndarray, np.ndarray]:
    load = {"digits": load_digits, "cancer": load_breast_cancer, "diabetes": load_diabetes}[name]
    x, y = load(return_X_y=True)
    return np.asarray(x, np.float32), np.asarray(y)


def _batches(x: Tensor, y: Tensor) -> list[Batch]:
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    num = min(NUM_BATCHES, len(x) // BATCH_SIZE)
    parts = [rows[i * BATCH_SIZE : (i + 1) * BATCH_SIZE] for i in range(num)]
    return [(x[part], y[part]) for part in parts]


def _standardised(x: np.ndarray) -> np.ndarray:
    deviation = x.std(0)
    return (x - x.mean(0)) / np.where(deviation == 0, 1, deviation)


def digits(*, is_raw: bool = False) -> list[Batch]:
    """(64, 64) pixels and ten classes; some pixels are the same everywhere."""
    x, y = _table("digits")
    return _batches(torch.from_numpy(x if is_raw else _standardised(x)), torch.from_numpy(y).long())


def pictures() -> list[Batch]:
    """The digits as (64, 1, 8, 8)."""
    return [(x.view(-1, 1, 8, 8), y) for x, y in digits()]


def cancer(*, is_raw: bool = False) -> list[Batch]:
    """(64, 30) numbers and two classes; raw, the columns reach from 0.001 to 4,000."""
    x, y = _table("cancer")
    return _batches(torch.from_numpy(x if is_raw else _standardised(x)), torch.from_numpy(y).long())


def yes_or_no() -> list[Batch]:
    """Cancer with targets (64, 1) of 0.0 and 1.0."""
    return [(x, y[:, None].float()) for x, y in cancer()]


def diabetes(*, is_raw: bool = False) -> list[Batch]:
    """(64, 10) numbers and a number (64, 1), standardised or as it came: 25 to 346."""
    x, y = _table("diabetes")
    y = y[:, None].astype(np.float32)
    y = y if is_raw else _standardised(y)
    return _batches(torch.from_numpy(_standardised(x)), torch.from_numpy(y))


def text() -> list[Batch]:
    """(64, 16) bytes of a Python file, and those that follow."""
    symbols = np.frombuffer(Path(__file__).read_bytes(), np.uint8).astype(np.int64) % NUM_SYMBOLS
    starts = np.arange(0, len(symbols) - WINDOW - 1, 7)
    windows = torch.from_numpy(symbols[starts[:, None] + np.arange(WINDOW + 1)])
    return _batches(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())


# ----------------------------------------------------------------- networks


def mlp(
    *widths: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Linear layers of these widths; between them a normalisation, an activation, dropout."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after)]
        layers += [norm(after)] if norm else []
        layers += [activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def convnet(*, norm: bool = True, depth: int = 2) -> nn.Sequential:
    """(n, 1, 8, 8) -> (n, 10)."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(1 if i == 0 else 8, 8, 3, padding=1)]
        layers += [nn.BatchNorm2d(8)] if norm else []
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 10))


class Recurrent(nn.Module):
    """(n, t) -> (n, t, symbols)."""

    def __init__(self, width: int = 32, *, is_tied: bool = False):
        super().__init__()
        self.embedding = nn.Embedding(NUM_SYMBOLS, width)
        self.body = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, NUM_SYMBOLS, bias=not is_tied)
        if is_tied:
            self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(x))[0])


class Transformer(nn.Module):
    """(n, t) -> (n, t, symbols), two layers that look back."""

    def __init__(self, width: int = 32, *, dropout: float = 0.0):
        super().__init__()
        self.embedding = nn.Embedding(NUM_SYMBOLS, width)
        self.places = nn.Parameter(torch.randn(WINDOW, width) * 0.02)
        layer = partial(nn.TransformerEncoderLayer, width, 2, 64, dropout, batch_first=True)
        self.body = nn.ModuleList(layer(norm_first=True) for _ in range(2))
        self.head = nn.Linear(width, NUM_SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        mask = torch.full((t, t), float("-inf")).triu(1)
        h = self.embedding(x) + self.places[:t]
        for layer in self.body:
            h = layer(h, src_mask=mask)
        return self.head(h)


class Residual(nn.Module):
    """(n, inputs) -> (n, outputs): many layers, each added to what it was given."""

    def __init__(self, inputs: int, outputs: int, depth: int, width: int = 32):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.body = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())
            for _ in range(depth)
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for layer in self.body:
            h = h + layer(h)
        return self.head(h)


# -------------------------------------------------------------------- steps

ADAM = partial(torch.optim.Adam, lr=1e-3)
ADAMW = partial(torch.optim.AdamW, lr=1e-3)
SGD = partial(torch.optim.SGD, lr=0.05)
MOMENTUM = partial(torch.optim.SGD, lr=0.02, momentum=0.9)
RMSPROP = partial(torch.optim.RMSprop, lr=1e-3)

ENTROPY = nn.CrossEntropyLoss()


def by_symbol(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy over all places."""
    return ENTROPY(outputs.flatten(0, 1), y.flatten())


def program(
    model: nn.Module,
    batches: list[Batch],
    loss: Loss = ENTROPY,
    *,
    optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer] = ADAM,
) -> Built:
    """The usual step."""
    return stepping(model, optimizer(model.parameters()), batches, loss)


def stepping(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[Batch],
    loss: Loss = ENTROPY,
    *,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
    is_zeroed: bool = True,
) -> Built:
    """zero_grad, forward, loss, backward, step; `before` comes first, `after` last."""

    def train_step(batch: Batch) -> Tensor:
        x, y = batch
        if before:
            before()
        if is_zeroed:
            optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        if after:
            after()
        return value

    return Built(model, optimizer, loss, batches, train_step)
